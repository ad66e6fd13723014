//! The fast path: established flows are forwarded by a program in the kernel, which repeats what the director decided.
//!
//! `abi` is what both share, `entry` makes it of a conn, `program.c` is the program. Sans-I/O: the system calls are in `io::bpf`.

pub mod abi;
mod entry;
pub mod program;

pub use entry::{Entries, Facts, Hop, Unfit, entries};
