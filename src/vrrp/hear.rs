//! Advertisements of other routers: which are meant for a virtual router, and which are believed.
//!
//! What follows from one is the state machine's matter.

use std::net::IpAddr;
use std::time::Duration;

use super::Change;
use super::machine::Heard;
use super::virtual_router::VirtualRouter;
use crate::base::{Family, Instant, LinkId};
use crate::router::{Egress, Router, Turn};
use crate::wire::vrrp::{self, Advert, Fault, Version};
use crate::wire::{Ip, Packet};

/// What is wrong with others' advertisements is said this often.
const SAID_EVERY: Duration = Duration::from_secs(60);

impl VirtualRouter {
    /// True for what may be meant for it.
    pub(super) fn listens(&self, link: Option<LinkId>, ip: &Ip) -> bool {
        let family = Family::of(ip.dst) == self.options.family();
        match link {
            Some(link) => family && self.options.peers.is_empty() && link == self.options.link,
            None => family && self.options.peers.contains(&ip.src),
        }
    }

    /// An advertisement, and what follows from it. `None` for one of another virtual router, or that cannot be believed:
    /// it is counted, and changes nothing.
    pub(super) fn hear(
        &mut self,
        packet: &Packet,
        router: &mut Router,
        turn: &mut Turn<impl Egress>,
    ) -> Option<Option<Change>> {
        let ip = &*packet.ip;
        let message = &packet.frame()[ip.l4_at..ip.end];
        if message.get(1) != Some(&self.options.id) {
            return None;
        }
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
        if ip.ttl != vrrp::TTL {
            return Err("ttl");
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
        Ok(advert)
    }

    fn refuse(&mut self, why: &'static str, from: IpAddr, now: Instant) {
        *self.refused.entry(why).or_default() += 1;
        if self.said.is_none_or(|said| now.since(said) >= SAID_EVERY) {
            self.said = Some(now);
            log::warn!("vrrp {}: an advertisement of {from} is not heeded: {why}", self.options.id);
        }
    }
}
