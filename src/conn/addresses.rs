//! Addresses of real servers and local addresses, stored once and named by a small index.
//!
//! An index stays true while a record holds it; then it may come to name another address. Servers come and go (containers:
//! a new address each), so those that no record holds are reused when all indexes have been given out.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::base::{FastHash, Packed};

/// Different addresses that records can name at a time.
const MOST: usize = 1 << 16;

/// An interned address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AddrId(pub u16);

/// The store.
#[derive(Default)]
pub(super) struct Addresses {
    list: Vec<Packed>,
    known: HashMap<IpAddr, AddrId, FastHash>,
    /// How many records hold each.
    holders: Vec<u32>,
    /// Indexes that no record held when all were looked at.
    unheld: Vec<AddrId>,
    /// The index given out last: its record is still to come.
    last: Option<AddrId>,
}

impl Addresses {
    /// The index of `addr`, new or known; `None` while records hold 65,536 different ones.
    pub(super) fn intern(&mut self, addr: IpAddr) -> Option<AddrId> {
        let id = match self.known.get(&addr) {
            Some(id) => *id,
            None if self.list.len() < MOST => {
                self.list.push(addr.into());
                self.holders.push(0);
                AddrId((self.list.len() - 1) as u16)
            }
            None => {
                let id = self.reuse()?;
                self.known.remove(&self.packed(id).into());
                self.list[usize::from(id.0)] = addr.into();
                id
            }
        };
        self.known.insert(addr, id);
        self.last = Some(id);
        Some(id)
    }

    /// An index that nobody holds. All are looked at once for as many as are found.
    fn reuse(&mut self) -> Option<AddrId> {
        if self.unheld.is_empty() {
            let unheld = self.holders.iter().enumerate().filter(|(_, holders)| **holders == 0);
            self.unheld = unheld.map(|(index, _)| AddrId(index as u16)).collect();
        }
        let (holders, last) = (&self.holders, self.last);
        let is_free = |id: &AddrId| holders[usize::from(id.0)] == 0 && Some(*id) != last;
        while let Some(id) = self.unheld.pop() {
            if is_free(&id) {
                return Some(id);
            }
        }
        None
    }

    /// A record names this address from now on.
    #[inline]
    pub(super) fn hold(&mut self, id: AddrId) {
        self.holders[usize::from(id.0)] += 1;
    }

    /// The opposite of `hold`.
    #[inline]
    pub(super) fn release(&mut self, id: AddrId) {
        debug_assert!(self.holders[usize::from(id.0)] > 0);
        self.holders[usize::from(id.0)] -= 1;
    }

    /// The packed form of an interned address.
    #[inline]
    pub(super) fn packed(&self, id: AddrId) -> Packed {
        self.list[usize::from(id.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    #[test]
    fn servers_may_come_and_go_for_ever_and_what_is_held_stays() {
        let mut addresses = Addresses::default();
        let kept: Vec<AddrId> = (0..100).map(|number| addresses.intern(addr(number)).unwrap()).collect();
        kept.iter().for_each(|id| addresses.hold(*id));
        for number in 100..300_000 {
            let (real, local) =
                (addresses.intern(addr(number)).unwrap(), addresses.intern(addr(number + 1_000_000)).unwrap());
            assert_ne!(real, local);
            [real, local].into_iter().for_each(|id| addresses.hold(id));
            assert_eq!(IpAddr::from(addresses.packed(real)), addr(number));
            [real, local].into_iter().for_each(|id| addresses.release(id));
        }
        for (number, id) in kept.iter().enumerate() {
            assert_eq!(addresses.intern(addr(number as u32)), Some(*id));
        }
        assert_eq!(addresses.known.len(), MOST);
    }

    #[test]
    fn more_than_can_be_named_are_refused_until_one_goes() {
        let mut addresses = Addresses::default();
        for number in 0..MOST as u32 {
            let id = addresses.intern(addr(number)).unwrap();
            addresses.hold(id);
        }
        assert_eq!(addresses.intern(addr(70_000)), None);
        addresses.release(AddrId(7));
        assert_eq!(addresses.intern(addr(70_000)), Some(AddrId(7)));
    }
}
