//! The rooms that packets pass, as the root of a crate of their own.
//!
//! Only the compiler sees a border here, see docs/design.md: paths in all rooms begin at `crate`, in either crate.

#![deny(clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::len_without_is_empty)]

pub mod alg;
pub mod base;
pub mod conn;
pub mod director;
#[allow(dead_code, unused_imports)]
pub mod fastpath;
pub mod flows;
pub mod forward;
#[path = "io/near.rs"]
pub mod io;
pub mod outbound;
pub mod router;
pub mod sched;
pub mod service;
pub mod settings;
pub mod stack;
pub mod sync;
pub mod vrrp;
pub mod wire;
pub mod wires;
