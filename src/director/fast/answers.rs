//! SYNs of services behind the SYN proxy that the kernel answers by the cookies which the director would give.
//!
//! ```text
//! services  an address with a port, with a server that takes conns, and where it is only under pressure: as long as that lasts
//! ways      to clients behind gateways, and to all behind a TUN; neighbours, and addresses that nobody may send from, have none
//! clients   those with conns are counted by the flow table, whose packets theirs are
//! ```
//! What holds for none of these is asked here, as ever. Never answers a SYN itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Fast;
use super::places::neighbour_of;
use crate::base::{Instant, Medium, Prefix, Proto};
use crate::fastpath::abi::{Key, Proxied, Reach};
use crate::service::command::{ServiceKey, SynProxy};

/// The kernel is this much behind, so that the director's clock, which stands still for a turn of the loop, is never behind what
/// a client has seen.
const BEHIND_MS: u64 = 32;
/// No host sends from here (director/martians.rs).
const NO_SENDERS: [(IpAddr, u8); 6] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 32),
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
    (IpAddr::V4(Ipv4Addr::BROADCAST), 32),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 127),
    (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
];

/// No way back to senders of a prefix.
const NONE: Option<Reach> = Some(Reach { neighbour: 0, mtu: 0 });

/// What all answers depend on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Grounds {
    /// The director would answer a SYN by looking at its service alone.
    good: bool,
    ways: u64,
    timestamps: bool,
}

/// What the kernel was told.
#[derive(Default)]
pub(super) struct Answers {
    hops: Vec<u32>,
    grounds: Option<Grounds>,
    /// The grounds are good, and the kernel has the ways.
    ready: bool,
    /// How often the kernel was told to forget all services.
    round: u32,
    /// It was told of some since.
    pub(super) given: bool,
    /// Clients with conns are counted; false where the kernel cannot have them.
    counts_clients: Option<bool>,
}

impl Fast<'_> {
    /// Tells the kernel which SYNs it answers, if anything about that has changed.
    pub(super) fn heed_proxied(&mut self) {
        if !self.flows.services.any_syn_proxy() && !self.watch.answers.given {
            return self.flows.services.forget_reproxied();
        }
        let grounds = self.grounds();
        if self.watch.answers.grounds != Some(grounds) {
            self.begin_answers(grounds);
        }
        while let Some(addr) = self.flows.services.take_reowned() {
            self.own(addr);
        }
        while let Some(key) = self.flows.services.take_reproxied() {
            self.answer_for(key);
        }
    }

    #[inline(never)]
    fn begin_answers(&mut self, grounds: Grounds) {
        self.watch.answers.grounds = Some(grounds);
        self.leave_all_syns();
        self.flows.services.forget_reproxied();
        self.watch.answers.ready = grounds.good && self.counts_clients() && self.tell_ways();
        if self.watch.answers.ready {
            self.flows.services.reproxy_all();
        }
    }

    fn grounds(&self) -> Grounds {
        let settings = &self.flows.settings;
        let by_address = self.flows.services.marks().rules().is_empty() && !settings.nat_icmp_send;
        Grounds {
            good: by_address && self.is_active(),
            ways: self.router.changes_of_ways(),
            timestamps: settings.syn_proxy_timestamps,
        }
    }

    /// The kernel answers no SYN any more.
    fn leave_all_syns(&mut self) {
        let answers = &mut self.watch.answers;
        (answers.ready, answers.given) = (false, false);
        answers.round += 1;
        if let Some(kernel) = self.path.kernel() {
            kernel.leave_all_syns();
        }
        while let Some(place) = self.watch.answers.hops.pop() {
            self.path.release_hop(place);
        }
    }

    /// Counts clients with conns, unless the kernel cannot know.
    fn counts_clients(&mut self) -> bool {
        if self.watch.answers.counts_clients.is_none() {
            let places = self.path.kernel().and_then(|kernel| kernel.clients());
            self.watch.answers.counts_clients = Some(places.is_some());
            if let Some(places) = places {
                self.flows.conns.count_clients(places);
            }
        }
        self.watch.answers.counts_clients == Some(true)
    }

    /// Tells the kernel the ways to clients; false if it does not take them.
    fn tell_ways(&mut self) -> bool {
        let mut done = true;
        let routes: Vec<_> = self.router.routes.all().collect();
        // Of two routes of one length the first is used.
        for (to, via, link) in routes.into_iter().rev() {
            let far = via.or_else(|| (self.router.medium(link) == Medium::Ip).then_some(to.addr));
            let mut reach = Reach { neighbour: 0, mtu: self.router.link(link).mtu };
            if let Some(hop) = far {
                let neighbour = neighbour_of(self.router, self.path, link, hop);
                reach.neighbour = self.path.hold_hop((link, hop), neighbour).unwrap_or(0);
                self.watch.answers.hops.push(reach.neighbour);
            }
            done &= self.set_way(to.network(), Some(reach));
        }
        for (addr, len) in NO_SENDERS {
            done &= self.set_way(Prefix { addr, len }, NONE);
        }
        let mut own: Vec<IpAddr> = self.flows.services.addresses().collect();
        own.extend(self.router.own_addresses());
        own.extend(self.router.virtuals.here());
        own.extend(self.router.broadcasts());
        for addr in own {
            done &= self.set_way(Prefix::host(addr), NONE);
        }
        done
    }

    #[inline(never)]
    fn set_way(&mut self, to: Prefix, reach: Option<Reach>) -> bool {
        self.path.kernel().is_some_and(|kernel| kernel.set_reach(&to, reach))
    }

    /// An address has become the director's own, or another host's.
    fn own(&mut self, addr: IpAddr) {
        let (to, own) = (Prefix::host(addr), self.flows.services.owns(addr) || self.router.owns(addr));
        let is_routed = || self.router.routes.all().any(|(route, ..)| route == to);
        if !self.watch.answers.ready || (!own && is_routed()) {
            return;
        }
        if !self.set_way(to, if own { NONE } else { None }) {
            self.leave_all_syns();
        }
    }

    /// Has the kernel answer the SYNs of a service, or leave them, as is right now.
    fn answer_for(&mut self, service: ServiceKey) {
        let ServiceKey::Address(proto, endpoint) = service else { return };
        let (key, wanted) = (Key { proto, endpoint }, self.proxied(service));
        let (services, answers) = (&mut self.flows.services, &mut self.watch.answers);
        let Some(kernel) = self.path.kernel() else { return };
        let told = wanted.map(|proxied| (answers.round, proxied.reserved));
        if !services.tell(&service, told) {
            return;
        }
        kernel.leave_syns(&key);
        if let Some(proxied) = wanted {
            answers.given = true;
            if !kernel.answer(&key, &proxied) {
                services.tell(&service, None);
            }
        }
    }

    /// How the SYNs of a service are answered; `None`: by the director.
    fn proxied(&self, key: ServiceKey) -> Option<Proxied> {
        let timestamps = self.watch.answers.grounds?.timestamps;
        let ServiceKey::Address(Proto::TCP, virt) = key else { return None };
        let services = &self.flows.services;
        let id = services.slot_of(&key)?;
        let asks = match services.get(id)?.options.syn_proxy {
            SynProxy::Off => false,
            SynProxy::On => true,
            SynProxy::Auto => services.is_pressed(id),
        };
        let is_here = self.watch.answers.ready && !self.router.virtuals.is_away(virt.addr);
        if !is_here || !asks || virt.port == 0 || !services.takes_conns(id) {
            return None;
        }
        Some(Proxied {
            cookie_key: self.flows.conns.cookie_key(),
            client_key: self.flows.conns.client_key(),
            epoch: self.path.epoch() + BEHIND_MS,
            reserved: self.flows.reserved(id, key.family()),
            timestamps,
        })
    }

    /// Counts what the kernel has answered, where it matters for the pressure too.
    pub(super) fn read_answered(&mut self, now: Instant) {
        if self.path.read_answered() {
            self.watch.answers.hops.iter().for_each(|place| self.path.note_used(*place));
        }
        let (rate, Some(kernel)) = (self.flows.settings.syn_proxy_rate, self.path.kernel()) else { return };
        self.flows.services.ask_elsewhere(rate, now, &|proto, endpoint| kernel.answered_of(&Key { proto, endpoint }));
    }
}
