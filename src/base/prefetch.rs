//! Asking memory for a cache line before it is read.
//!
//! Only a hint: it reads nothing into the program and never faults.

/// Prefetches the cache line in which `place` begins; does nothing where the processor has no such instruction here.
#[inline]
#[allow(unsafe_code)]
pub fn prefetch<T>(place: &T) {
    #[cfg(test)]
    prefetched::note(place);
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction is a hint for any address, and this one is that of a live value.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// What was prefetched, for tests.
#[cfg(test)]
pub(crate) mod prefetched {
    use std::cell::RefCell;
    use std::collections::HashSet;

    thread_local! {
        static PLACES: RefCell<HashSet<usize>> = RefCell::default();
    }

    pub(super) fn note<T>(place: &T) {
        PLACES.with_borrow_mut(|places| _ = places.insert(std::ptr::from_ref(place).addr()));
    }

    /// The addresses since the last call.
    pub(crate) fn take() -> HashSet<usize> {
        PLACES.take()
    }
}
