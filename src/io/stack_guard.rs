//! Spares the program the C library's `scanf`, 0.1 MB that nothing else needs.
//!
//! The standard library asks for a thread's stack by `pthread_getattr_np`, to say "has overflowed its stack" before a process
//! is ended by SIGSEGV. The C library's reads /proc/self/maps for that by `scanf`, with all its floating-point numbers. Without
//! an answer the process is ended all the same, and the keeper names the signal.

#![allow(unsafe_code)]

use libc::{c_int, c_void, pthread_t};

/// Stands before the C library's function of that name, and has no answer.
#[unsafe(no_mangle)]
extern "C" fn pthread_getattr_np(_: pthread_t, _: *mut c_void) -> c_int {
    libc::ENOSYS
}
