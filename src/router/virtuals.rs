//! Addresses that move between directors (VRRP): which are here now, and at which MAC.
//!
//! Never decides where one belongs.

use std::net::IpAddr;

use crate::base::{LinkId, Mac};

struct Virtual {
    addr: IpAddr,
    link: LinkId,
    /// Its own MAC; the link's without one.
    mac: Option<Mac>,
    here: bool,
}

/// All of them. There are few: a list is searched.
#[derive(Default)]
pub struct Virtuals {
    list: Vec<Virtual>,
    has_away: bool,
    changes: u64,
}

impl Virtuals {
    /// Says where an address is.
    pub fn put(&mut self, addr: IpAddr, link: LinkId, mac: Option<Mac>, here: bool) {
        self.list.retain(|known| known.addr != addr);
        self.list.push(Virtual { addr, link, mac, here });
        self.recount();
    }

    /// An address that does not move any more.
    pub fn forget(&mut self, addr: IpAddr) {
        self.list.retain(|known| known.addr != addr);
        self.recount();
    }

    fn recount(&mut self) {
        self.changes += 1;
        self.has_away = self.list.iter().any(|known| !known.here);
    }

    /// How often an address has come, gone or moved.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The MACs of their own that addresses have that are here on a link.
    pub fn macs(&self, link: LinkId) -> impl Iterator<Item = Mac> {
        self.list.iter().filter(move |known| known.here && known.link == link).filter_map(|known| known.mac)
    }

    /// True while any address is at another director.
    #[inline]
    pub fn any_away(&self) -> bool {
        self.has_away
    }

    /// True unless other directors have all of them.
    pub fn are_not_all_away(&self) -> bool {
        self.list.is_empty() || self.list.iter().any(|known| known.here)
    }

    /// True for an address that another director has now.
    #[inline]
    pub fn is_away(&self, addr: IpAddr) -> bool {
        self.has_away && self.list.iter().any(|known| !known.here && known.addr == addr)
    }

    /// True for an address that is here now.
    pub fn is_here(&self, addr: IpAddr) -> bool {
        self.list.iter().any(|known| known.here && known.addr == addr)
    }

    /// True for the MAC of an address that is here now.
    pub fn is_mac(&self, link: LinkId, mac: Mac) -> bool {
        self.list.iter().any(|known| known.here && known.link == link && known.mac == Some(mac))
    }

    /// The MAC of an address that is here and has one of its own.
    pub fn mac_of(&self, link: LinkId, addr: IpAddr) -> Option<Mac> {
        let of = |known: &&Virtual| known.here && known.link == link && known.addr == addr;
        self.list.iter().find(of)?.mac
    }
}
