//! Addresses of real servers and local addresses, stored once and named by a small index.
//!
//! They are configured, so there are few; they are never forgotten, so an index stays true.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::base::{FastHash, Packed};

/// An interned address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AddrId(pub u16);

/// The store.
#[derive(Default)]
pub(super) struct Addresses {
    list: Vec<Packed>,
    known: HashMap<IpAddr, AddrId, FastHash>,
}

impl Addresses {
    /// The index of `addr`, new or known; `None` when 65,536 different ones are stored.
    pub(super) fn intern(&mut self, addr: IpAddr) -> Option<AddrId> {
        if let Some(id) = self.known.get(&addr) {
            return Some(*id);
        }
        let id = AddrId(u16::try_from(self.list.len()).ok()?);
        self.list.push(addr.into());
        self.known.insert(addr, id);
        Some(id)
    }

    /// The packed form of an interned address.
    #[inline]
    pub(super) fn packed(&self, id: AddrId) -> Packed {
        self.list[usize::from(id.0)]
    }
}
