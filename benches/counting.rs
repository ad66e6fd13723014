//! The system's allocator, counting: how often it is asked, and how many bytes are out.
//!
//! For a test and a bench; never part of the program.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

thread_local! {
    // Of each thread alone: a test's harness has one of its own, which asks when it likes.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}
static BYTES: AtomicI64 = AtomicI64::new(0);

/// `#[global_allocator] static ALLOCATOR: Counting = Counting;`
pub struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        BYTES.fetch_add(layout.size() as i64, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as i64, Relaxed);
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        BYTES.fetch_add(size as i64 - layout.size() as i64, Relaxed);
        unsafe { System.realloc(block, layout, size) }
    }
}

fn count() {
    // A thread that ends has no counter any more, and nobody asks for it.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

/// How often this thread asked for memory so far.
pub fn calls() -> u64 {
    CALLS.get()
}

/// Bytes that are out now.
pub fn bytes() -> i64 {
    BYTES.load(Relaxed)
}
