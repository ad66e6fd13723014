//! Advertisements of other routers: which are meant for a virtual router, and which are believed.
//!
//! What follows from one is the state machine's matter.

use std::net::IpAddr;
use std::time::Duration;

use super::Change;
use super::machine::{Heard, OWNER};
use super::options::Options;
use super::virtual_router::VirtualRouter;
use crate::base::{Family, Instant, LinkId, Proto};
use crate::router::{Egress, Router, Turn};
use crate::wire::vrrp::{self, Advert, Fault, Version};
use crate::wire::{Ip, Packet};

/// What is wrong with others' advertisements is said this often.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// The virtual router's number that a message names, behind an authentication header too (RFC 4302 2).
pub(super) fn number(message: &[u8], proto: Proto) -> Option<u8> {
    let at = match (proto, message) {
        (Proto::AH, [_, words, ..]) => 4 * (usize::from(*words) + 2),
        _ => 0,
    };
    message.get(at + 1).copied()
}

impl VirtualRouter {
    /// True for what may be meant for it.
    pub(super) fn listens(&self, link: Option<LinkId>, ip: &Ip) -> bool {
        let family = Family::of(ip.dst) == self.options.family;
        match link {
            Some(link) => family && self.options.peers.is_empty() && link == self.options.link,
            None => family && !self.options.peers.is_empty(),
        }
    }

    /// Says that one for this virtual router goes another way than it speaks: to the group or to it alone. Neither hears the
    /// other then, and both are active.
    pub(super) fn note_other_way(&mut self, link: Option<LinkId>, id: Option<u8>, ip: &Ip, now: Instant) {
        let is_own = id == Some(self.options.id) && Family::of(ip.dst) == self.options.family;
        if is_own && link.is_none_or(|link| link == self.options.link) {
            self.refuse(if link.is_some() { "multicast" } else { "unicast" }, ip.src, now);
        }
    }

    /// An advertisement, and what follows from it. `None` for one that cannot be believed: it is counted, and changes
    /// nothing.
    pub(super) fn hear(
        &mut self,
        packet: &Packet,
        router: &mut Router,
        turn: &mut Turn<impl Egress>,
    ) -> Option<Option<Change>> {
        let ip = &*packet.ip;
        let message = &packet.frame()[ip.l4_at..ip.end];
        let advert = match self.believe(message, ip, router) {
            Ok(advert) => advert,
            Err(why) => {
                self.refuse(why, ip.src, turn.now);
                return None;
            }
        };
        self.received += 1;
        self.heard = Some((ip.src, advert.priority));
        let own = self.source(router).unwrap_or(ip.dst);
        let interval = if self.options.rank.is_v2 { self.options.rank.interval } else { advert.interval };
        let heard = Heard { priority: advert.priority, interval, from: ip.src };
        let action = self.machine.hear(heard, own, turn.now);
        let why = format!("{} advertises priority {}", ip.src, advert.priority);
        Some(self.act(action, &why, router, turn))
    }

    /// The checks of RFC 9568 7.1 and RFC 3768 7.1. Another interval or list of addresses is said and not held against the
    /// sender: two that do not heed each other would both be active.
    fn believe(&self, message: &[u8], ip: &Ip, router: &Router) -> Result<Advert, &'static str> {
        let Options { peers, from, addresses, .. } = &self.options;
        if ip.proto != Proto::VRRP {
            return Err("ah");
        }
        // One that is sent to this router alone may have passed others; keepalived sends it with 64 over IPv6.
        if peers.is_empty() && ip.ttl != vrrp::TTL {
            return Err("ttl");
        }
        let (is_named, names_any) = (peers.contains(&ip.src) || from.contains(&ip.src), peers.len() + from.len() > 0);
        if names_any && !is_named {
            return Err("stranger");
        }
        let (advert, _) = vrrp::parse(message, ip.src, ip.dst).map_err(|fault| match fault {
            Fault::Length => "length",
            Fault::Version => "version",
            Fault::Type => "type",
            Fault::Checksum => "checksum",
            Fault::Interval => "interval",
        })?;
        match (self.options.version, advert.version) {
            (Version::V2(own), Version::V2(theirs)) if own != theirs => return Err("password"),
            (Version::V2(_), Version::V2(_)) | (Version::V3, Version::V3) => {}
            _ => return Err("version"),
        }
        if self.source(router) == Some(ip.src) {
            return Err("own-address");
        }
        // The owner's addresses are its link's own, and it sends from the first of them.
        if advert.priority == OWNER && !is_named && !addresses.contains(&ip.src) {
            return Err("owner");
        }
        Ok(advert)
    }

    /// Counts one that is not heeded and is no news: other virtual routers may share the link.
    pub(super) fn count_refused(&mut self, why: &'static str) {
        *self.refused.entry(why).or_default() += 1;
    }

    fn refuse(&mut self, why: &'static str, from: IpAddr, now: Instant) {
        self.count_refused(why);
        if self.said.is_none_or(|said| now.since(said) >= SAID_EVERY) {
            self.said = Some(now);
            let more = match why {
                "owner" => {
                    ": it has priority 255 and owns none of the addresses; name it in 'from' if it is one of yours"
                }
                "stranger" => ": it is named neither in 'peers' nor in 'from'",
                "ah" => {
                    ": it is authenticated by AH, which is not read here; have all use a simple password (auth_type PASS)"
                }
                "multicast" => {
                    ": it is sent to the group, and 'peers' here says that each is told alone; have all do the same"
                }
                "unicast" => {
                    ": it is sent to this director alone, and without 'peers' the group is told here; have all do the same"
                }
                _ => "",
            };
            log::warn!("vrrp {}: an advertisement of {from} is not heeded: {why}{more}", self.options.id);
        }
    }
}
