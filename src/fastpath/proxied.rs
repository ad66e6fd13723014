//! What the program knows of services behind the SYN proxy, whose SYNs it answers, and of the ways back to clients, as bytes.
//!
//! As in `abi.rs`. Never makes a cookie.

use super::bytes::{In, Out};
use crate::base::Prefix;

/// Bytes of a service.
pub const PROXIED_LEN: usize = 56;
/// Where in them is how many SYNs were answered.
const ANSWERED_AT: usize = 40;
/// Bytes of a prefix.
pub const PREFIX_LEN: usize = 20;
/// Bytes of a way back.
pub const REACH_LEN: usize = 8;

/// A service whose SYNs the program answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proxied {
    /// The secret of cookies.
    pub cookie_key: [u64; 2],
    /// What places clients with conns (`conn::Clients`).
    pub client_key: [u64; 2],
    /// The director's time is that of the kernel's monotonic clock less so many milliseconds.
    pub epoch: u64,
    /// Of a segment, what is not its client's.
    pub reserved: u16,
    /// Options come back in timestamps.
    pub timestamps: bool,
}

/// The way back to clients of a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    /// Place of the next hop among the neighbours; 0 if SYNs from there are left to user space.
    pub neighbour: u32,
    /// The largest packet.
    pub mtu: u16,
}

impl Proxied {
    /// As the kernel has it, with no SYN answered.
    pub fn to_bytes(self) -> [u8; PROXIED_LEN] {
        let mut out = Out::<PROXIED_LEN>::new();
        let numbers = self.cookie_key.iter().chain(&self.client_key).chain([&self.epoch, &0]);
        numbers.for_each(|number| out.put(&number.to_ne_bytes()));
        out.put(&self.reserved.to_ne_bytes());
        out.put(&[u8::from(self.timestamps)]);
        out.bytes
    }
}

/// How many SYNs of a service were answered, of the kernel's bytes.
pub fn answered(bytes: &[u8; PROXIED_LEN]) -> u64 {
    u64::from_ne_bytes(In(&bytes[ANSWERED_AT..]).take())
}

impl Reach {
    /// As the kernel has it.
    pub fn to_bytes(self) -> [u8; REACH_LEN] {
        let mut out = Out::<REACH_LEN>::new();
        out.put(&self.neighbour.to_ne_bytes());
        out.put(&self.mtu.to_ne_bytes());
        out.bytes
    }
}

/// A prefix as the kernel has it.
pub fn prefix(to: &Prefix) -> [u8; PREFIX_LEN] {
    let mut out = Out::<PREFIX_LEN>::new();
    let before = if to.addr.is_ipv4() { 96 } else { 0 };
    out.put(&(before + u32::from(to.len)).to_ne_bytes());
    out.address(to.addr);
    out.bytes
}
