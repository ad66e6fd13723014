//! Addresses of real servers and local addresses, stored once and named by a small index.
//!
//! They are configured, so there are few; they are never forgotten, so an index stays true.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::Mixing;

/// The upper 96 bits of `::ffff:a.b.c.d`.
const MAPPED: u128 = 0xffff;

/// An interned address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AddrId(pub u16);

/// The store.
#[derive(Default)]
pub(super) struct Addresses {
    list: Vec<u128>,
    known: HashMap<IpAddr, AddrId, Mixing>,
}

impl Addresses {
    /// The index of `addr`, new or known; `None` when 65,536 different ones are stored.
    pub(super) fn intern(&mut self, addr: IpAddr) -> Option<AddrId> {
        if let Some(id) = self.known.get(&addr) {
            return Some(*id);
        }
        let id = AddrId(u16::try_from(self.list.len()).ok()?);
        self.list.push(pack(addr));
        self.known.insert(addr, id);
        Some(id)
    }

    /// The packed form of an interned address.
    #[inline]
    pub(super) fn packed(&self, id: AddrId) -> u128 {
        self.list[usize::from(id.0)]
    }
}

/// Both families in one number: IPv4 as `::ffff:a.b.c.d`, which no IPv6 packet may carry (it is dropped as martian).
#[inline(always)]
pub(super) fn pack(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => MAPPED << 32 | u128::from(addr.to_bits()),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

/// The IPv4 address in a packed form, if it is one.
#[inline(always)]
pub(super) fn ipv4_bits(packed: u128) -> Option<u32> {
    (packed >> 32 == MAPPED).then_some(packed as u32)
}

/// The address behind its packed form.
#[inline(always)]
pub(super) fn unpack(packed: u128) -> IpAddr {
    match ipv4_bits(packed) {
        Some(addr) => IpAddr::V4(Ipv4Addr::from_bits(addr)),
        None => IpAddr::V6(Ipv6Addr::from_bits(packed)),
    }
}
