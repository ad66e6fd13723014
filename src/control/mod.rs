//! The control socket: what is said over it, what a director answers, and the side that asks.
//!
//! Never touches a packet or a device.

mod answer;
mod client;
mod families;
mod health;
mod metrics;
pub mod protocol;
mod socket;
mod told;

pub use answer::answer;
pub use client::{Client, Unreachable, strange};
pub use health::{health, steer};
pub use metrics::Scrape;
pub use socket::open;
pub use told::Shown;
