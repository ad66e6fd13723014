//! Addresses of real servers and local addresses, stored once and named by a small index.
//!
//! An index stays true while a record holds it; then it may come to name another address. Servers come and go (containers:
//! a new address each), so those that no record holds are reused when all indexes have been given out.

use std::collections::HashMap;
use std::net::IpAddr;

use super::key::Secret;
use crate::base::{Array, FastHash, Packed, siphash13};

/// Different addresses that can be named.
pub(super) const ADDRESSES: usize = 1 << 16;

/// An interned address: its halves, and a check.
pub type AddressLine = [u64; 4];

/// An interned address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AddrId(pub u16);

/// The store.
pub(super) struct Addresses {
    list: Vec<Packed>,
    /// The same, for a later process.
    lines: Array<AddressLine>,
    secret: Secret,
    known: HashMap<IpAddr, AddrId, FastHash>,
    /// How many records hold each.
    holders: Vec<u32>,
    /// Indexes that no record held when all were looked at.
    unheld: Vec<AddrId>,
    /// The index given out last: its record is still to come.
    last: Option<AddrId>,
    /// Where an address with these last bits was found: there are few servers, each asked for often.
    found: [AddrId; FOUND],
}

const FOUND: usize = 64;

impl Addresses {
    /// Those that `lines` names; after the first that cannot be trusted, none.
    pub(super) fn new(lines: Array<AddressLine>, secret: Secret) -> Addresses {
        let mut addresses = Addresses {
            list: Vec::new(),
            lines,
            secret,
            known: HashMap::default(),
            holders: Vec::new(),
            unheld: Vec::new(),
            last: None,
            found: [AddrId(0); FOUND],
        };
        for id in (0..=u16::MAX).take(addresses.lines.len()) {
            if !addresses.lines.commit(usize::from(id) + 1) {
                break;
            }
            let line = addresses.lines[usize::from(id)];
            let addr = Packed::from_halves([line[0], line[1]]);
            if line != line_of(AddrId(id), addr, secret) {
                break;
            }
            addresses.list.push(addr);
            addresses.holders.push(0);
            addresses.known.insert(addr.into(), AddrId(id));
        }
        addresses
    }

    /// What a later process finds, for tests.
    #[cfg(test)]
    pub(super) fn lines(&self) -> &[AddressLine] {
        &self.lines
    }

    /// How many records hold each, for tests.
    #[cfg(test)]
    pub(super) fn holders(&self) -> &[u32] {
        &self.holders
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// True if all indexes name the same there, where there may be more.
    pub(super) fn is_beginning_of(&self, other: &Addresses) -> bool {
        other.list.starts_with(&self.list)
    }

    /// Takes how many records hold each from what is the beginning of these.
    pub(super) fn inherit_holders(&mut self, from: &Addresses) {
        self.holders[..from.holders.len()].copy_from_slice(&from.holders);
    }

    /// The index of `addr`, new or known; `None` while records hold 65,536 different ones.
    #[inline]
    pub(super) fn intern(&mut self, addr: IpAddr) -> Option<AddrId> {
        let packed = Packed::from(addr);
        let place = packed.halves()[1] as usize % FOUND;
        let id = self.found[place];
        if self.list.get(usize::from(id.0)) != Some(&packed) {
            self.found[place] = self.look_up(addr)?;
        }
        self.last = Some(self.found[place]);
        self.last
    }

    fn look_up(&mut self, addr: IpAddr) -> Option<AddrId> {
        match self.known.get(&addr) {
            Some(id) => Some(*id),
            None => self.add(addr),
        }
    }

    #[cold]
    fn add(&mut self, addr: IpAddr) -> Option<AddrId> {
        let id = if self.list.len() < self.lines.len() && self.lines.commit(self.list.len() + 1) {
            self.list.push(addr.into());
            self.holders.push(0);
            AddrId((self.list.len() - 1) as u16)
        } else {
            let id = self.reuse()?;
            self.known.remove(&self.packed(id).into());
            self.list[usize::from(id.0)] = addr.into();
            id
        };
        self.lines[usize::from(id.0)] = line_of(id, addr.into(), self.secret);
        self.known.insert(addr, id);
        Some(id)
    }

    /// An index that no record holds. All are looked at once for as many as are found.
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

/// An address with its check.
fn line_of(id: AddrId, addr: Packed, secret: Secret) -> AddressLine {
    let [upper, lower] = addr.halves();
    [upper, lower, siphash13(secret, [u64::from(id.0), upper, lower]).max(1), 0]
}

#[cfg(test)]
mod tests {
    use super::ADDRESSES as MOST;
    use super::*;

    fn addr(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    #[test]
    fn servers_may_come_and_go_for_ever_and_what_is_held_stays() {
        let mut addresses = Addresses::new(Array::zeroed(MOST), [1, 2]);
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
    fn a_small_table_goes_on_with_few_lines() {
        let mut addresses = Addresses::new(Array::zeroed(4), [1, 2]);
        for number in 0..1000 {
            let pair = [0, 5000].map(|more| addresses.intern(addr(number + more)).unwrap());
            pair.into_iter().for_each(|id| addresses.hold(id));
            pair.into_iter().for_each(|id| addresses.release(id));
        }
    }

    #[test]
    fn more_than_can_be_named_are_refused_until_one_goes() {
        let mut addresses = Addresses::new(Array::zeroed(MOST), [1, 2]);
        for number in 0..MOST as u32 {
            let id = addresses.intern(addr(number)).unwrap();
            addresses.hold(id);
        }
        assert_eq!(addresses.intern(addr(70_000)), None);
        addresses.release(AddrId(7));
        assert_eq!(addresses.intern(addr(70_000)), Some(AddrId(7)));
    }
}
