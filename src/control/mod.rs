//! The control socket: what is said over it, what a director answers, and the side that asks.
//!
//! Never touches a packet or a device.

mod answer;
mod client;
pub mod protocol;
mod socket;

pub use answer::answer;
pub use client::{Client, Unreachable, strange};
pub use socket::open;
