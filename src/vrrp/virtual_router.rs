//! One virtual router of one family: what becomes of it, and what it sends.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use super::machine::{Action, Machine, Rank, State};
use super::options::Options;
use super::track::Standing;
use super::{Change, Place};
use crate::base::{Family, Instant, Mac};
use crate::router::{Egress, Router, Turn};
use crate::wire::vrrp::{self, Advert, GROUP4, GROUP6};
use crate::wire::{ndp, set_macs};

/// Addresses that an advertisement names; those beyond move with them (as in keepalived, where they are called excluded).
const MOST_LISTED: usize = 64;

/// One virtual router.
pub(super) struct VirtualRouter {
    pub(super) options: Options,
    /// With what it tracks.
    pub(super) priority: u8,
    /// The state that programs were told.
    pub(super) told: State,
    pub(super) machine: Machine,
    pub(super) since: Instant,
    pub(super) reason: String,
    pub(super) transitions: (u64, u64),
    pub(super) heard: Option<(IpAddr, u8)>,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) refused: BTreeMap<&'static str, u64>,
    pub(super) said: Option<Instant>,
    /// When the addresses were announced again because another one advertises.
    pub(super) insisted: Option<Instant>,
}

impl VirtualRouter {
    pub(super) fn new(options: Options, now: Instant) -> VirtualRouter {
        let machine = Machine::new(options.rank);
        VirtualRouter {
            priority: options.rank.priority,
            told: State::default(),
            options,
            machine,
            since: now,
            reason: "started".into(),
            transitions: (0, 0),
            heard: None,
            sent: 0,
            received: 0,
            refused: BTreeMap::new(),
            said: None,
            insisted: None,
        }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.machine.due()
    }

    /// Its addresses are there now.
    pub(super) fn change(&self, now: Place) -> Change {
        let Options { link, addresses, accept, .. } = &self.options;
        Change { link: *link, addresses: addresses.clone(), mac: self.options.mac(), accept: *accept, now }
    }

    /// Other options for the same virtual router; the addresses of the old ones are let go.
    pub(super) fn set_options(&mut self, options: Options) -> Vec<Change> {
        if options == self.options {
            return Vec::new();
        }
        if (Options { addresses: options.addresses.clone(), ..self.options.clone() }) == options {
            return self.set_addresses(options.addresses);
        }
        let old = self.change(Place::Fixed);
        self.machine.set_rank(Rank { priority: self.priority, ..options.rank });
        self.options = options;
        vec![old, self.change(if self.is_active() { Place::Here } else { Place::Away })]
    }

    pub(super) fn start(&mut self, router: &mut Router, turn: &mut Turn<impl Egress>) -> Option<Change> {
        let action = self.machine.start(turn.now);
        self.act(action, "it owns the addresses", router, turn)
    }

    /// Other addresses from now on; those that have come or gone.
    pub(super) fn set_addresses(&mut self, addresses: Vec<IpAddr>) -> Vec<Change> {
        let before = std::mem::replace(&mut self.options.addresses, addresses);
        let (before, now): (HashSet<_>, HashSet<_>) =
            (before.into_iter().collect(), self.options.addresses.iter().copied().collect());
        let some = |addresses: HashSet<IpAddr>, place| Change {
            addresses: addresses.into_iter().collect(),
            ..self.change(place)
        };
        let place = if self.is_active() { Place::Here } else { Place::Away };
        let came = some(&now - &before, place);
        let went = some(&before - &now, Place::Fixed);
        [went, came].into_iter().filter(|change| !change.addresses.is_empty()).collect()
    }

    /// Goes on as the active one that an earlier process was.
    pub(super) fn resume(&mut self, router: &mut Router, turn: &mut Turn<impl Egress>) -> Option<Change> {
        let action = self.machine.resume(turn.now);
        self.act(action, "it was active in the process before", router, turn)
    }

    /// What it tracks says something else.
    pub(super) fn stand(
        &mut self,
        standing: &Standing,
        router: &mut Router,
        turn: &mut Turn<impl Egress>,
    ) -> Option<Change> {
        let Standing { priority, fault, why } = standing;
        if *priority != self.priority {
            let (id, family, before) = (self.options.id, self.family_name(), self.priority);
            log::warn!("vrrp {id} ({family}): priority {before} -> {priority}: {why}");
            self.priority = *priority;
            self.machine.set_rank(Rank { priority: *priority, ..self.options.rank });
        }
        match (fault, self.machine.state()) {
            (Some(_), State::Fault) | (None, State::Initialize | State::Backup | State::Active) => None,
            (Some(why), _) => {
                let action = self.machine.fail();
                self.act(action, why, router, turn);
                Some(self.turned(why, Place::Away, turn.now))
            }
            (None, State::Fault) => {
                let action = self.machine.start(turn.now);
                let why = "its fault is over";
                let taken = self.act(action, why, router, turn);
                taken.or_else(|| Some(self.turned(why, Place::Away, turn.now)))
            }
        }
    }

    /// True if nobody else has its addresses, as far as it knows.
    pub(super) fn may_be_active(&self, now: Instant) -> bool {
        self.machine.may_be_active(now)
    }

    /// It would take over, but for others of its group; it asks again at that time.
    pub(super) fn wait(&mut self, until: Instant) {
        self.machine.wait(until);
    }

    /// Gives up with its group.
    pub(super) fn step_down(&mut self, router: &mut Router, turn: &mut Turn<impl Egress>) -> Option<Change> {
        let action = self.machine.step_down(turn.now);
        let why = "another one of its group has gone";
        self.act(action, why, router, turn);
        (action != Action::None).then(|| self.turned(why, Place::Away, turn.now))
    }

    /// The program to tell of the state, in keepalived's words, if it has not been told, and who it runs as.
    pub(super) fn take_notice(&mut self) -> Option<(Vec<String>, Option<String>)> {
        let state = match self.machine.state() {
            state if state == self.told => return None,
            State::Initialize => return None,
            State::Backup => "BACKUP",
            State::Active => "MASTER",
            State::Fault => "FAULT",
        };
        self.told = self.machine.state();
        let Options { id, group, notify, user, .. } = &self.options;
        let (kind, name) = group.as_ref().map_or(("INSTANCE", id.to_string()), |group| ("GROUP", group.clone()));
        let words = [kind.to_owned(), name, state.to_owned(), self.priority.to_string()];
        (!notify.is_empty()).then(|| (notify.iter().cloned().chain(words).collect(), user.clone()))
    }

    pub(super) fn hold_back(&mut self, held: bool) {
        self.machine.hold_back(held);
    }

    /// True if it was frozen for so long that others have the addresses by now.
    pub(super) fn has_overslept(&self, now: Instant) -> bool {
        self.machine.has_overslept(now)
    }

    /// Stands by if it was.
    pub(super) fn wake(&mut self, now: Instant) -> Option<Change> {
        if !self.machine.has_overslept(now) {
            return None;
        }
        self.machine.wake(now);
        Some(self.turned("it has advertised nothing for too long; others may have taken over", Place::Away, now))
    }

    pub(super) fn is_active(&self) -> bool {
        self.machine.state() == State::Active
    }

    pub(super) fn stop(&mut self, why: &str, router: &mut Router, turn: &mut Turn<impl Egress>) {
        let action = self.machine.stop();
        self.act(action, why, router, turn);
    }

    pub(super) fn give_up(&mut self, why: &str, router: &mut Router, turn: &mut Turn<impl Egress>) -> Option<Change> {
        let action = self.machine.give_up(turn.now);
        self.act(action, why, router, turn);
        (action != Action::None).then(|| self.turned(why, Place::Away, turn.now))
    }

    pub(super) fn tick(&mut self, router: &mut Router, turn: &mut Turn<impl Egress>) -> Option<Change> {
        let action = self.machine.tick(turn.now);
        self.act(action, "nobody else advertises", router, turn)
    }

    /// Does what the machine says; what follows for the addresses.
    pub(super) fn act(
        &mut self,
        action: Action,
        why: &str,
        router: &mut Router,
        turn: &mut Turn<impl Egress>,
    ) -> Option<Change> {
        let priority = match action {
            Action::Advertise(priority) => Some(priority),
            Action::TakeOver | Action::Insist => Some(self.priority),
            Action::None | Action::Yield => None,
        };
        if let Some(priority) = priority {
            self.advertise(priority, router, turn);
        }
        match action {
            Action::TakeOver => Some(self.turned(why, Place::Here, turn.now)),
            Action::Yield => Some(self.turned(why, Place::Away, turn.now)),
            // Whoever floods advertisements must not make this director flood the link.
            Action::Insist if self.insisted.is_some_and(|at| turn.now.since(at) < self.options.rank.interval) => None,
            Action::Insist => {
                self.insisted = Some(turn.now);
                Some(self.change(Place::Here))
            }
            Action::None | Action::Advertise(_) => None,
        }
    }

    fn turned(&mut self, why: &str, place: Place, now: Instant) -> Change {
        (self.since, self.reason) = (now, why.to_owned());
        let (came, went) = self.transitions;
        self.transitions = if self.is_active() { (came + 1, went) } else { (came, went + 1) };
        log::warn!("vrrp {} ({}): {}: {why}", self.options.id, self.family_name(), self.machine.state().name());
        self.change(place)
    }

    pub(super) fn family_name(&self) -> &'static str {
        if self.options.family == Family::V4 { "IPv4" } else { "IPv6" }
    }

    fn advertise(&mut self, priority: u8, router: &mut Router, turn: &mut Turn<impl Egress>) {
        let Some(source) = self.source(router) else { return };
        let Options { version, id, rank, addresses, .. } = &self.options;
        let priority = Machine::advertised(priority);
        let listed = addresses.iter().take(MOST_LISTED).copied().collect();
        let advert = Advert { version: *version, id: *id, priority, interval: rank.interval, addresses: listed };
        self.sent += 1;
        for peer in &self.options.peers {
            turn.lend(|turn, buf| {
                vrrp::build(buf, (source, *peer), &advert, self.options.covers);
                router.send_to(buf, *peer, turn);
            });
        }
        if self.options.peers.is_empty() {
            let group = if self.options.family == Family::V4 { GROUP4 } else { GROUP6 };
            let mac = self.options.mac().unwrap_or(router.link(self.options.link).mac);
            turn.lend(|turn, buf| {
                vrrp::build(buf, (source, group), &advert, self.options.covers);
                set_macs(buf, Mac::of_group(group), mac);
                turn.write_own(self.options.link, buf);
            });
        }
    }

    /// The address that advertisements come from: the link's first one; of IPv6 its link-local one for the group.
    pub(super) fn source(&self, router: &Router) -> Option<IpAddr> {
        let link = router.link(self.options.link);
        match (self.options.family, self.options.peers.first()) {
            (Family::V6, None) => Some(IpAddr::V6(ndp::link_local(link.mac))),
            (_, Some(peer)) => router.source(self.options.link, *peer, *peer),
            (Family::V4, None) => link.addresses.iter().map(|prefix| prefix.addr).find(IpAddr::is_ipv4),
        }
    }
}
