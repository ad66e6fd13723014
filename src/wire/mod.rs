//! Bytes to values and values to bytes: the only layer where IPv4 and IPv6 differ.
//!
//! Total and pure: no input panics, nothing is read but the buffer. Never decides where a packet goes.

mod buf;
mod vnet;

pub use buf::{HEADROOM, PacketBuf};
pub use vnet::{Gso, VNET_LEN, Vnet};
