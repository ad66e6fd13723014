//! The part of `io` that packets pass, as a room of the crate of the packet path: the rest is made for size.
//!
//! Only the compiler sees a border here, as in `core.rs`.

pub mod clock;
pub mod link;
pub mod link_config;
pub mod sys;

pub use clock::since_1970;
pub use link::{Link, ReadOutcome};
