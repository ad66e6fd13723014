//! Addresses that move between directors (VRRP): which are here now, and at which MAC.
//!
//! Never decides where one belongs.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::base::{FastHash, LinkId, Mac};

/// Where an address is, and what belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct Virtual {
    /// Its link.
    pub link: LinkId,
    /// Its own MAC; the link's without one.
    pub mac: Option<Mac>,
    /// Packets to it that are for no service are taken.
    pub accept: bool,
    /// It is at this director.
    pub here: bool,
}

/// All of them.
#[derive(Default)]
pub struct Virtuals {
    /// The operator chooses the keys.
    all: HashMap<IpAddr, Virtual, FastHash>,
    /// How many are at other directors, and how many take no packet that is for no service.
    away: usize,
    closed: usize,
    /// The MACs of those that are here, each once.
    macs: Vec<(LinkId, Mac)>,
    changes: u64,
}

impl Virtuals {
    /// Says where an address is.
    pub fn put(&mut self, addr: IpAddr, virt: Virtual) {
        let before = self.all.insert(addr, virt);
        self.note(before, Some(virt));
    }

    /// An address that does not move any more.
    pub fn forget(&mut self, addr: IpAddr) {
        let before = self.all.remove(&addr);
        self.note(before, None);
    }

    fn note(&mut self, before: Option<Virtual>, now: Option<Virtual>) {
        self.changes += 1;
        let count = |of: fn(&Virtual) -> bool| (usize::from(now.iter().any(of)), usize::from(before.iter().any(of)));
        let ((came, went), (closed, opened)) = (count(|virt| !virt.here), count(|virt| !virt.accept));
        (self.away, self.closed) = (self.away + came - went, self.closed + closed - opened);
        let mac = |virt: &Virtual| Some((virt.link, virt.mac.filter(|_| virt.here)?));
        if let Some(mac) = now.as_ref().and_then(mac)
            && !self.macs.contains(&mac)
        {
            self.macs.push(mac);
        }
        // The last address of a MAC may have gone.
        if let Some(gone) = before.as_ref().and_then(mac)
            && now.as_ref().and_then(mac) != Some(gone)
            && !self.all.values().any(|virt| mac(virt) == Some(gone))
        {
            self.macs.retain(|known| *known != gone);
        }
    }

    /// How often an address has come, gone or moved.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The MACs of their own that addresses have that are here on a link.
    pub fn macs(&self, link: LinkId) -> impl Iterator<Item = Mac> {
        self.macs.iter().filter(move |known| known.0 == link).map(|known| known.1)
    }

    /// True while any address is at another director.
    #[inline]
    pub fn any_away(&self) -> bool {
        self.away > 0
    }

    /// True unless other directors have all of them.
    pub fn are_not_all_away(&self) -> bool {
        self.all.is_empty() || self.away < self.all.len()
    }

    /// True for an address that moves, wherever it is.
    pub fn has(&self, addr: IpAddr) -> bool {
        self.all.contains_key(&addr)
    }

    /// True for an address that another director has now.
    #[inline]
    pub fn is_away(&self, addr: IpAddr) -> bool {
        self.away > 0 && self.all.get(&addr).is_some_and(|virt| !virt.here)
    }

    /// The addresses that are here now.
    pub fn here(&self) -> impl Iterator<Item = IpAddr> {
        self.all.iter().filter(|(_, virt)| virt.here).map(|(addr, _)| *addr)
    }

    /// True for an address that is here now.
    pub fn is_here(&self, addr: IpAddr) -> bool {
        self.all.get(&addr).is_some_and(|virt| virt.here)
    }

    /// True for an address that takes no packets but those for services (RFC 9568 6.1, Accept_Mode).
    pub fn is_closed(&self, addr: IpAddr) -> bool {
        self.closed > 0 && self.all.get(&addr).is_some_and(|virt| !virt.accept)
    }

    /// True for the MAC of an address that is here now.
    pub fn is_mac(&self, link: LinkId, mac: Mac) -> bool {
        self.macs.contains(&(link, mac))
    }

    /// The MAC of an address that is here and has one of its own.
    pub fn mac_of(&self, link: LinkId, addr: IpAddr) -> Option<Mac> {
        self.all.get(&addr).filter(|virt| virt.here && virt.link == link)?.mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_here_as_long_as_one_of_its_addresses() {
        let (link, mac) = (LinkId(0), Mac([0, 0, 0x5e, 0, 1, 51]));
        let addr = |last: u8| IpAddr::from([10, 0, 0, last]);
        let virt = |here| Virtual { link, mac: Some(mac), accept: here, here };
        let mut virtuals = Virtuals::default();
        assert!(virtuals.are_not_all_away());
        virtuals.put(addr(1), virt(false));
        assert!(virtuals.any_away() && !virtuals.are_not_all_away() && virtuals.is_closed(addr(1)));
        assert!(virtuals.has(addr(1)) && virtuals.is_away(addr(1)) && !virtuals.is_mac(link, mac));
        virtuals.put(addr(1), virt(true));
        virtuals.put(addr(2), virt(true));
        assert!(!virtuals.any_away() && virtuals.is_here(addr(1)) && !virtuals.is_closed(addr(1)));
        assert_eq!((virtuals.macs(link).count(), virtuals.mac_of(link, addr(2))), (1, Some(mac)));
        virtuals.put(addr(2), virt(false));
        assert!(virtuals.is_mac(link, mac) && virtuals.are_not_all_away() && virtuals.mac_of(link, addr(2)).is_none());
        virtuals.forget(addr(1));
        assert!(!virtuals.is_mac(link, mac) && !virtuals.are_not_all_away() && !virtuals.has(addr(1)));
        virtuals.forget(addr(2));
        assert!(!virtuals.any_away() && virtuals.are_not_all_away());
    }
}
