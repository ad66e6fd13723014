//! One virtual router of one family: what it sends, whom it believes, and what it counts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::machine::{Action, Heard, Machine, Rank, State};
use super::track::{Standing, Track};
use super::{Change, Name, Place};
use crate::base::{Family, Instant, LinkId, Mac};
use crate::router::{Egress, Router, Turn};
use crate::wire::vrrp::{self, Advert, Covers, Fault, GROUP4, GROUP6, Version};
use crate::wire::{Ip, Packet, ndp, set_macs};

/// What is wrong with others' advertisements is said this often.
const SAID_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

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
    /// Its addresses, all of one family; never empty.
    pub addresses: Vec<IpAddr>,
    /// Other routers that are told one by one; none: the group.
    pub peers: Vec<IpAddr>,
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
    /// The family.
    pub fn family(&self) -> Family {
        self.addresses.first().map_or(Family::V4, |addr| Family::of(*addr))
    }

    /// Which virtual router it is.
    pub fn name(&self) -> Name {
        (self.link, self.id, self.family())
    }

    /// True for options of the same virtual router.
    pub fn is_of(&self, other: &Options) -> bool {
        self.name() == other.name()
    }

    /// RFC 9568 7.3.
    fn mac(&self) -> Option<Mac> {
        let family = if self.family() == Family::V4 { 1 } else { 2 };
        self.virtual_mac.then_some(Mac([0, 0, 0x5e, 0, family, self.id]))
    }
}

/// A virtual router as it stands, for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Its number.
    pub id: u8,
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// The link's place among the director's; people are told its name.
    #[serde(skip)]
    pub link: u8,
    /// Its state.
    pub state: String,
    /// Since when, by the director's clock; people are told for how long.
    #[serde(skip)]
    pub since: Instant,
    /// How often it has become active, and how often it has given the addresses up.
    pub transitions: (u64, u64),
    /// Why.
    pub reason: String,
    /// Its priority, with what it tracks.
    pub priority: u8,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whom the last advertisement was from, and its priority.
    pub heard: Option<(IpAddr, u8)>,
    /// Advertisements that were sent.
    pub sent: u64,
    /// Advertisements of others that were heeded.
    pub received: u64,
    /// Those that were not heeded, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// One virtual router.
pub(super) struct VirtualRouter {
    options: Options,
    /// With what it tracks.
    priority: u8,
    /// The state that programs were told.
    told: State,
    machine: Machine,
    since: Instant,
    reason: String,
    transitions: (u64, u64),
    heard: Option<(IpAddr, u8)>,
    sent: u64,
    received: u64,
    refused: BTreeMap<&'static str, u64>,
    said: Option<Instant>,
    /// When the addresses were announced again because another one advertises.
    insisted: Option<Instant>,
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
        let Options { link, addresses, .. } = &self.options;
        Change { link: *link, addresses: addresses.clone(), mac: self.options.mac(), now }
    }

    /// Other options for the same virtual router; the addresses of the old ones are let go.
    pub(super) fn set_options(&mut self, options: Options) -> Vec<Change> {
        if options == self.options {
            return Vec::new();
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
        let Standing { priority, fault } = standing;
        if *priority != self.priority {
            log::warn!("vrrp {} ({}): priority {} -> {priority}", self.options.id, self.family_name(), self.priority);
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
                let why = "what it tracks is well again";
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

    /// Does what the machine says; what follows for the addresses.
    fn act(&mut self, action: Action, why: &str, router: &mut Router, turn: &mut Turn<impl Egress>) -> Option<Change> {
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

    fn family_name(&self) -> &'static str {
        if self.options.family() == Family::V4 { "IPv4" } else { "IPv6" }
    }

    fn advertise(&mut self, priority: u8, router: &mut Router, turn: &mut Turn<impl Egress>) {
        let Some(source) = self.source(router) else { return };
        let Options { version, id, rank, addresses, .. } = &self.options;
        let advert =
            Advert { version: *version, id: *id, priority, interval: rank.interval, addresses: addresses.clone() };
        self.sent += 1;
        for peer in &self.options.peers {
            turn.lend(|turn, buf| {
                vrrp::build(buf, (source, *peer), &advert, self.options.covers);
                router.send_to(buf, *peer, turn);
            });
        }
        if self.options.peers.is_empty() {
            let group = if self.options.family() == Family::V4 { GROUP4 } else { GROUP6 };
            let mac = self.options.mac().unwrap_or(router.link(self.options.link).mac);
            turn.lend(|turn, buf| {
                vrrp::build(buf, (source, group), &advert, self.options.covers);
                set_macs(buf, Mac::of_group(group), mac);
                turn.write_own(self.options.link, buf);
            });
        }
    }

    /// The address that advertisements come from: the link's first one; of IPv6 its link-local one for the group.
    fn source(&self, router: &Router) -> Option<IpAddr> {
        let link = router.link(self.options.link);
        match (self.options.family(), self.options.peers.first()) {
            (Family::V6, None) => Some(IpAddr::V6(ndp::link_local(link.mac))),
            (_, Some(peer)) => router.source(self.options.link, *peer, *peer),
            (Family::V4, None) => link.addresses.iter().map(|prefix| prefix.addr).find(IpAddr::is_ipv4),
        }
    }

    pub(super) fn report(&self) -> Report {
        Report {
            id: self.options.id,
            family: self.family_name().into(),
            link: self.options.link.0,
            state: self.machine.state().name().into(),
            since: self.since,
            transitions: self.transitions,
            reason: self.reason.clone(),
            priority: self.priority,
            addresses: self.options.addresses.clone(),
            heard: self.heard,
            sent: self.sent,
            received: self.received,
            refused: self.refused.iter().map(|(why, count)| ((*why).to_owned(), *count)).collect(),
        }
    }
}
