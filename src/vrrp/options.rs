//! What the configuration says of a virtual router.

use std::net::IpAddr;

use super::Name;
use super::machine::Rank;
use super::track::Track;
use crate::base::{Family, LinkId, Mac};
use crate::wire::vrrp::{Covers, Version};

/// What the configuration says of a virtual router.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The link that it is on.
    pub link: LinkId,
    /// Its number.
    pub id: u8,
    /// The message's version, and the password of version 2.
    pub version: Version,
    /// Priority, interval, preemption.
    pub rank: Rank,
    /// Its addresses' family.
    pub family: Family,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// It has the addresses of all services that no other one has, whatever services come and go. Without any it rests.
    pub follows: bool,
    /// Other routers that are told one by one; none: the group.
    pub peers: Vec<IpAddr>,
    /// Who alone is heeded; none: everybody, or the peers.
    pub from: Vec<IpAddr>,
    /// It takes packets to its addresses that are for no service (RFC 9568 6.1, Accept_Mode).
    pub accept: bool,
    /// The addresses have the MAC of RFC 9568 7.3, not the link's.
    pub virtual_mac: bool,
    /// What the checksum covers.
    pub covers: Covers,
    /// What it depends on.
    pub tracks: Vec<Track>,
    /// Those of a group change together.
    pub group: Option<String>,
    /// A program that is told of each change, and its arguments; empty without one.
    pub notify: Vec<String>,
    /// Who it runs as, where that was said.
    pub user: Option<String>,
}

impl Options {
    /// Which virtual router it is.
    pub fn name(&self) -> Name {
        (self.link, self.id, self.family)
    }

    /// True for options of the same virtual router.
    pub fn is_of(&self, other: &Options) -> bool {
        self.name() == other.name()
    }

    /// RFC 9568 7.3.
    pub(super) fn mac(&self) -> Option<Mac> {
        let family = if self.family == Family::V4 { 1 } else { 2 };
        self.virtual_mac.then_some(Mac([0, 0, 0x5e, 0, family, self.id]))
    }
}
