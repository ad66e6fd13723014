//! Addresses of real servers and local addresses, stored once and named by a small index.
//!
//! They are configured, so there are few; they are never forgotten, so an index stays true.

use std::collections::HashMap;
use std::net::IpAddr;

/// An interned address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AddrId(pub u16);

/// The store.
#[derive(Default)]
pub(super) struct Addresses {
    list: Vec<[u8; 16]>,
    known: HashMap<IpAddr, AddrId>,
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
    pub(super) fn packed(&self, id: AddrId) -> &[u8; 16] {
        &self.list[usize::from(id.0)]
    }
}

/// Both families in 16 bytes: IPv4 as `::ffff:a.b.c.d`, which no IPv6 packet may carry (it is dropped as martian).
#[inline]
pub(super) fn pack(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
        IpAddr::V6(addr) => addr.octets(),
    }
}

/// The address behind its packed form.
#[inline]
pub(super) fn unpack(packed: &[u8; 16]) -> IpAddr {
    IpAddr::from(*packed).to_canonical()
}
