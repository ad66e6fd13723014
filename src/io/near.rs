//! The part of `io` that packets pass, as a room of the crate of the packet path: the rest is made for size.
//!
//! Only the compiler sees a border here, as in `core.rs`.

pub mod channel;
pub mod clock;
pub mod files;
pub mod link;
pub mod link_config;
pub mod sys;
// Where it is made for speed the compiler sees that ciphers which are not offered are not needed: 75 kB.
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
pub mod tls;
#[cfg(feature = "tls")]
pub mod tls;

pub use channel::Channel;
pub use clock::since_1970;
pub use files::read_to_string;
pub use link::{Link, ReadOutcome};
