//! SYNs of services behind the SYN proxy that the kernel answers by the cookies which the director would give.
//!
//! ```text
//! services  an address with a port, with a server that takes conns, and where it is only under pressure: as long as that lasts
//! ways      to clients behind gateways, and to all behind a TUN; neighbours, and addresses that nobody may send from, have none
//! clients   those with conns are counted by the flow table, whose packets theirs are
//! ```
//! What holds for none of these is asked here, as ever. Never answers a SYN itself.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Fast;
use super::places::neighbour_of;
use crate::base::{FastHash, Instant, Medium, Prefix, Proto};
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
    services: HashMap<Key, (ServiceKey, Proxied), FastHash>,
    /// How many SYNs were counted of those that are asked under pressure.
    counted: HashMap<Key, u64, FastHash>,
    ways: HashSet<Prefix, FastHash>,
    hops: Vec<u32>,
    grounds: Option<Grounds>,
    /// The grounds are good, and the kernel has the ways.
    ready: bool,
    /// Clients with conns are counted; false where the kernel cannot have them.
    counts_clients: Option<bool>,
}

impl Answers {
    pub(super) fn are_given(&self) -> bool {
        !self.services.is_empty()
    }
}

impl Fast<'_> {
    /// Tells the kernel which SYNs it answers, if anything about that has changed.
    pub(super) fn heed_proxied(&mut self) {
        if !self.flows.services.any_syn_proxy() && !self.watch.answers.are_given() {
            while self.flows.services.take_reproxied().is_some() {}
            return;
        }
        let grounds = self.grounds();
        if self.watch.answers.grounds != Some(grounds) {
            self.watch.answers.grounds = Some(grounds);
            self.leave_all_syns();
            self.watch.answers.ready = grounds.good && self.tell_ways();
            if self.watch.answers.ready {
                self.flows.services.reproxy_all();
            }
        }
        while let Some(addr) = self.flows.services.take_reowned() {
            self.own(addr);
        }
        while let Some(key) = self.flows.services.take_reproxied() {
            self.answer_for(key);
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
        let Some(kernel) = self.path.kernel() else { return };
        let answers = &mut self.watch.answers;
        answers.services.drain().for_each(|(key, _)| kernel.leave_syns(&key));
        answers.counted.clear();
        for way in answers.ways.drain() {
            kernel.set_reach(&way, None);
        }
        answers.hops.drain(..).for_each(|place| self.path.release_hop(place));
    }

    /// Tells the kernel the ways to clients, and who has conns; false if it cannot know.
    fn tell_ways(&mut self) -> bool {
        if self.watch.answers.counts_clients.is_none() {
            let places = self.path.kernel().and_then(|kernel| kernel.clients());
            self.watch.answers.counts_clients = Some(places.is_some());
            places.into_iter().for_each(|places| self.flows.conns.count_clients(places));
        }
        while self.flows.services.take_reowned().is_some() {}
        let mut ways = Vec::new();
        let routes: Vec<_> = self.router.routes.all().collect();
        // Of two routes of one length the first is used.
        for (to, via, link) in routes.into_iter().rev() {
            let far = via.or_else(|| (self.router.medium(link) == Medium::Ip).then_some(to.addr));
            let neighbour = far.map_or(0, |hop| {
                let neighbour = neighbour_of(self.router, self.path, link, hop);
                self.path.hold_hop((link, hop), neighbour).unwrap_or(0)
            });
            self.watch.answers.hops.extend((neighbour != 0).then_some(neighbour));
            ways.push((to.network(), Reach { neighbour, mtu: self.router.link(link).mtu }));
        }
        let none = NO_SENDERS.map(|(addr, len)| Prefix { addr, len });
        let own = self.flows.services.addresses().chain(self.router.own_addresses()).chain(self.router.virtuals.here());
        let own = own.chain(self.router.broadcasts()).map(Prefix::host);
        ways.extend(none.into_iter().chain(own).map(|to| (to, Reach::default())));
        self.watch.answers.counts_clients == Some(true) && ways.into_iter().all(|(to, reach)| self.set_way(to, reach))
    }

    fn set_way(&mut self, to: Prefix, reach: Reach) -> bool {
        self.watch.answers.ways.insert(to);
        self.path.kernel().is_some_and(|kernel| kernel.set_reach(&to, Some(reach)))
    }

    /// An address has become the director's own, or another host's.
    fn own(&mut self, addr: IpAddr) {
        let (to, own) = (Prefix::host(addr), self.flows.services.owns(addr) || self.router.owns(addr));
        if !self.watch.answers.ready {
            return;
        }
        if own {
            if !self.set_way(to, Reach::default()) {
                self.watch.answers.ready = false;
                self.leave_all_syns();
            }
        } else if self.router.routes.all().all(|(route, ..)| route != to)
            && self.watch.answers.ways.remove(&to)
            && let Some(kernel) = self.path.kernel()
        {
            kernel.set_reach(&to, None);
        }
    }

    /// Has the kernel answer the SYNs of a service, or leave them, as is right now.
    fn answer_for(&mut self, service: ServiceKey) {
        let ServiceKey::Address(proto, endpoint) = service else { return };
        let (key, wanted) = (Key { proto, endpoint }, self.proxied(service));
        let (answers, Some(kernel)) = (&mut self.watch.answers, self.path.kernel()) else { return };
        if answers.services.get(&key).map(|known| known.1) == wanted {
            return;
        }
        if answers.services.remove(&key).is_some() {
            answers.counted.remove(&key);
            kernel.leave_syns(&key);
        }
        if let Some(proxied) = wanted
            && kernel.answer(&key, &proxied)
        {
            answers.services.insert(key, (service, proxied));
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
        let Answers { services, counted, .. } = &mut self.watch.answers;
        let Some(kernel) = self.path.kernel() else { return };
        for (key, (service, _)) in services.iter() {
            let Some(id) = self.flows.services.slot_of(service) else { continue };
            if self.flows.services.is_pressed(id) {
                let all = kernel.answered_of(key);
                let more = all.saturating_sub(counted.insert(*key, all).unwrap_or(0));
                self.flows.services.ask_elsewhere(id, more, self.flows.settings.syn_proxy_rate, now);
            }
        }
    }
}
