//! The addresses of services, counted by use: virtual ones, FULL-NAT's local ones, and those of real servers.
//!
//! Asked for each packet without a conn, so an answer takes one look-up, however many services there are.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use crate::base::{FastHash, Packed};

/// What an address is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// A service's own address, or one that a mark rule names.
    Virtual,
    /// A local address of FULL-NAT.
    Local,
    /// A real server's, which is not the director's.
    Server,
}

/// Users of each kind; an address is there while it has any.
#[derive(Clone, Copy, Default)]
struct Users {
    virtual_ones: u32,
    local_ones: u32,
    servers: u32,
}

/// Addresses with their users.
#[derive(Default)]
pub(super) struct Addresses {
    all: HashMap<IpAddr, Users, FastHash>,
    /// A bit for the hash of each that is, or was, the director's own: strangers are known without a look-up.
    own: [u64; WORDS],
    /// Those that have become the director's own, or another host's, since they were last taken.
    pub(super) moved: Vec<IpAddr>,
}

const WORDS: usize = 16;

/// The place of an address among the bits.
#[inline(always)]
fn place(addr: IpAddr) -> (usize, u32) {
    // The golden ratio's digits spread neighbours (Knuth, 6.4).
    let [upper, lower] = Packed::from(addr).halves();
    let hash = (upper ^ lower).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((hash >> 60) as usize, (hash >> 54) as u32 & 63)
}

impl Addresses {
    pub(super) fn add(&mut self, addr: IpAddr, what: Use) {
        let users = self.all.entry(addr).or_default();
        let was_own = users.are_own();
        *users.of(what) += 1;
        if users.are_own() != was_own {
            self.moved.push(addr);
        }
        if what != Use::Server {
            let (word, bit) = place(addr);
            self.own[word] |= 1 << bit;
        }
    }

    pub(super) fn remove(&mut self, addr: IpAddr, what: Use) {
        let Entry::Occupied(mut entry) = self.all.entry(addr) else { return };
        let users = entry.get_mut();
        let was_own = users.are_own();
        let count = users.of(what);
        *count = count.saturating_sub(1);
        if users.are_own() != was_own {
            self.moved.push(addr);
        }
        if !users.are_own() && users.servers == 0 {
            entry.remove();
        }
    }

    #[inline]
    pub(super) fn is_own(&self, addr: IpAddr) -> bool {
        let (word, bit) = place(addr);
        self.own[word] & 1 << bit != 0 && self.all.get(&addr).is_some_and(Users::are_own)
    }

    pub(super) fn is_local(&self, addr: IpAddr) -> bool {
        self.all.get(&addr).is_some_and(|users| users.local_ones > 0)
    }

    pub(super) fn is_server(&self, addr: IpAddr) -> bool {
        self.all.get(&addr).is_some_and(|users| users.servers > 0)
    }

    /// Virtual and local ones.
    pub(super) fn own(&self) -> impl Iterator<Item = IpAddr> {
        self.all.iter().filter(|(_, users)| users.are_own()).map(|(addr, _)| *addr)
    }
}

impl Users {
    fn of(&mut self, what: Use) -> &mut u32 {
        match what {
            Use::Virtual => &mut self.virtual_ones,
            Use::Local => &mut self.local_ones,
            Use::Server => &mut self.servers,
        }
    }

    fn are_own(&self) -> bool {
        self.virtual_ones > 0 || self.local_ones > 0
    }
}
