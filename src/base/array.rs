//! Fixed arrays of plain data in memory that may be a file's and may outlive the process.
//!
//! Zeroed memory is valid, and is touched only as it is used.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Plain data: what another process may have written, or nobody.
///
/// # Safety
/// Every pattern of bits is a value, and there is no pointer and no padding in it.
pub unsafe trait Plain: Copy + 'static {}

// SAFETY: integers.
unsafe impl Plain for u8 {}
// SAFETY: integers.
unsafe impl Plain for u32 {}
// SAFETY: integers.
unsafe impl Plain for u64 {}
// SAFETY: an array of plain data.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// The bytes of some elements.
pub fn bytes_of<T: Plain>(elements: &[T]) -> &[u8] {
    // SAFETY: plain data has no padding, and the elements are borrowed for as long.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

/// Memory under arrays; it goes when the last of them does.
pub trait Backing: Send {
    /// Makes sure that memory up to this address can be touched; false if there is none left.
    fn commit(&mut self, end: usize) -> bool;
}

/// An array of a fixed length.
pub struct Array<T> {
    start: NonNull<T>,
    len: usize,
    backing: Box<dyn Backing>,
}

// SAFETY: it owns its elements, which are plain data, and its backing may be sent.
unsafe impl<T: Plain> Send for Array<T> {}

impl<T: Plain> Array<T> {
    /// Zeroed memory of this process.
    pub fn zeroed(len: usize) -> Array<T> {
        let Ok(layout) = Layout::array::<T>(len.max(1)) else { handle_alloc_error(Layout::new::<T>()) };
        // SAFETY: the layout is not empty: T has a size, and there is one element at least.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start.cast::<T>()) else { handle_alloc_error(layout) };
        Array { start, len, backing: Box::new(Owned { start: start.cast(), layout }) }
    }

    /// Memory of somebody else.
    ///
    /// # Safety
    /// `start` is aligned for T, `len` elements from there are mapped while `backing` lives, and nobody in this process
    /// uses them but by this array.
    pub unsafe fn over(start: NonNull<T>, len: usize, backing: Box<dyn Backing>) -> Array<T> {
        Array { start, len, backing }
    }

    /// Has its bytes written.
    pub fn fill<E>(&mut self, write: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<(), E> {
        let elements = &mut self[..];
        let (start, size) = (elements.as_mut_ptr().cast::<u8>(), size_of_val(elements));
        // SAFETY: the elements are borrowed exclusively for as long, and every pattern of bytes is a value of theirs.
        write(unsafe { std::slice::from_raw_parts_mut(start, size) })
    }

    /// Makes sure that the first `len` elements can be touched; false if there is no memory for them.
    pub fn commit(&mut self, len: usize) -> bool {
        debug_assert!(len <= self.len);
        let end = self.start.as_ptr() as usize + len * size_of::<T>();
        self.backing.commit(end)
    }
}

impl<T> Deref for Array<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: by construction there are `len` values from `start` on, and they are ours.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Array<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

struct Owned {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns the memory.
unsafe impl Send for Owned {}

impl Backing for Owned {
    fn commit(&mut self, _end: usize) -> bool {
        true
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and the array that used it is gone.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_array_is_zero_and_keeps_what_is_put_in() {
        let mut array = Array::<[u64; 8]>::zeroed(1000);
        assert!(array.commit(1000));
        assert!(array.iter().all(|line| *line == [0; 8]));
        array[999] = [7; 8];
        assert_eq!((array.len(), array[999][7], array[998][0]), (1000, 7, 0));
        assert_eq!(Array::<u32>::zeroed(0).len(), 0);
    }
}
