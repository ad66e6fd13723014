//! The neighbour cache (RFC 4861 section 7.3, and the same for ARP): states, timers and eviction.
//!
//! ```text
//! Incomplete --answer--> Reachable --30 s, then used--> Probe --answer--> Reachable
//!   | 3 solicitations     ^                               | 3 unicast solicitations
//!   v                     +----------- answer             v
//! Failed (1 s, packets are dropped) <--------------- Incomplete
//! ```
//! Pure: says what to solicit, sends nothing. Bounded; an entry that conns use is never evicted.

use std::collections::{HashMap, VecDeque, hash_map};
use std::net::IpAddr;
use std::time::Duration;

use super::neighbour::{Entry, IN_USE, State, Station};
use super::routes::{Need, Route};
use super::unresolved::{Admission, Unresolved};
use crate::base::{FastHash, Instant, LinkId, Mac};

/// Neighbours remembered at most, besides those that the configuration names.
pub const MAX_NEIGHBOURS: usize = 16_384;
const SOLICITATIONS: u8 = 3;
/// Between two solicitations, and how long packets are dropped after the last one: one period, so that a queue of timers
/// is in the order of its times.
const RETRANSMIT: Duration = Duration::from_secs(1);
/// RFC 4861 REACHABLE_TIME.
const REACHABLE: Duration = Duration::from_secs(30);
/// Of entries that no conns use those go first that were not used for longest.
const UNUSED_FOR: [Duration; 4] = [IN_USE, Duration::from_secs(15), Duration::from_secs(4), Duration::from_secs(1)];
/// A full cache is searched for what may be evicted this often.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(1);

/// What a packet finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resolved {
    /// Its next hop's MAC.
    At(Mac),
    /// Its next hop's MAC, which is to be confirmed.
    AtPerhaps(Mac, Ask),
    /// Not known yet; a solicitation may be due.
    Unknown(Option<Ask>),
    /// Solicited in vain.
    Failed,
    /// Too many neighbours are solicited already, for the same source or on the same link.
    Refused,
}

/// A solicitation to put on a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ask {
    pub link: LinkId,
    pub addr: IpAddr,
    /// Broadcast, or the MAC that is to be confirmed.
    pub to: Mac,
}

/// What a timer brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Ask(Ask),
    /// No answer. `Need` says how much that matters.
    GaveUp(LinkId, IpAddr, Need),
    /// A newer one is solicited in its place.
    Displaced(LinkId, IpAddr),
}

/// The cache.
#[derive(Default)]
pub struct Neighbours {
    /// Strangers choose keys here, but the map is bounded: crowding one bucket gains nothing.
    entries: HashMap<Station, Entry, FastHash>,
    unresolved: Unresolved,
    /// When entries are to be looked at, in the order of time. One whose entry has moved on meanwhile is void.
    timers: VecDeque<(Instant, LinkId, IpAddr)>,
    displaced: Vec<(LinkId, IpAddr)>,
    swept: Option<Instant>,
    /// How often a MAC was learned or lost.
    changes: u64,
}

impl Neighbours {
    /// A neighbour that is never solicited.
    #[cfg(any(test, feature = "testing"))]
    pub fn add_permanent(&mut self, link: LinkId, addr: IpAddr, mac: Mac) {
        let entry = Entry { mac, state: State::Permanent, used: Instant::START, need: Need::Configured };
        self.entries.insert(Station::new(link, addr), entry);
    }

    /// Every neighbour that is known or solicited, with its MAC where that is known.
    pub fn iter(&self) -> impl Iterator<Item = (LinkId, IpAddr, Option<Mac>)> {
        self.entries
            .iter()
            .map(|(station, entry)| (station.link, station.addr(), entry.is_known().then_some(entry.mac)))
    }

    /// True if an answer of this neighbour would be news or is waited for.
    pub fn knows(&self, link: LinkId, addr: IpAddr) -> bool {
        self.entries.contains_key(&Station::new(link, addr))
    }

    /// The MAC of a neighbour that has shown one.
    pub fn mac_of(&self, link: LinkId, addr: IpAddr) -> Option<Mac> {
        let entry = self.entries.get(&Station::new(link, addr))?;
        Some(entry.mac).filter(|mac| *mac != Mac::ZERO)
    }

    /// When a neighbour has shown its MAC last, if that is not too long ago to count.
    pub fn confirmed(&self, link: LinkId, addr: IpAddr, now: Instant) -> Option<Instant> {
        match self.entries.get(&Station::new(link, addr))?.state {
            State::Reachable { until } => Some(until - REACHABLE),
            State::Permanent => Some(now),
            State::Incomplete { .. } | State::Probe { .. } | State::Failed { .. } => None,
        }
    }

    /// How often a MAC was learned or lost.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The MAC that packets to a next hop are sent to now, where they need not wait.
    pub fn present_mac(&self, link: LinkId, addr: IpAddr) -> Option<Mac> {
        let entry = self.entries.get(&Station::new(link, addr))?;
        entry.is_known().then_some(entry.mac)
    }

    /// The MAC of a next hop that is not in doubt, as almost every packet finds it.
    #[inline]
    pub(super) fn reachable(&mut self, route: &Route, now: Instant) -> Option<Mac> {
        let entry = self.entries.get_mut(&Station::new(route.link, route.next_hop))?;
        entry.used = now;
        entry.need = entry.need.max(route.need);
        match entry.state {
            State::Permanent | State::Probe { .. } => Some(entry.mac),
            State::Reachable { until } => (now < until).then_some(entry.mac),
            State::Incomplete { .. } | State::Failed { .. } => None,
        }
    }

    /// What is known of a next hop. `source` tells from whom the packet is, if the neighbour must be solicited for it.
    pub(super) fn resolve(&mut self, route: &Route, now: Instant, source: impl FnOnce() -> IpAddr) -> Resolved {
        let Route { link, next_hop: addr, .. } = *route;
        if let Some(mac) = self.reachable(route, now) {
            return Resolved::At(mac);
        }
        let hash_map::Entry::Occupied(mut entry) = self.entries.entry(Station::new(link, addr)) else {
            return self.first_solicitation(route, now, source());
        };
        let entry = entry.get_mut();
        match entry.state {
            State::Permanent | State::Probe { .. } => Resolved::At(entry.mac),
            State::Reachable { .. } => {
                let (mac, next) = (entry.mac, now + RETRANSMIT);
                entry.state = State::Probe { left: SOLICITATIONS - 1, next };
                self.timers.push_back((next, link, addr));
                Resolved::AtPerhaps(mac, Ask { link, addr, to: mac })
            }
            State::Incomplete { .. } => Resolved::Unknown(None),
            State::Failed { until } if now < until => Resolved::Failed,
            State::Failed { .. } => {
                let need = entry.need;
                self.first_solicitation(&Route { need, ..*route }, now, source())
            }
        }
    }

    fn first_solicitation(&mut self, route: &Route, now: Instant, source: IpAddr) -> Resolved {
        let Route { link, next_hop: addr, need, .. } = *route;
        if !self.has_room(need, now) {
            return Resolved::Refused;
        }
        match self.unresolved.admit(route, source, now) {
            Admission::Refused => return Resolved::Refused,
            Admission::InPlaceOf(oldest) => {
                self.entries.remove(&Station::new(link, oldest));
                self.displaced.push((link, oldest));
            }
            Admission::Granted => {}
        }
        let next = now + RETRANSMIT;
        let state = State::Incomplete { left: SOLICITATIONS - 1, next };
        self.entries.insert(Station::new(link, addr), Entry { mac: Mac::ZERO, state, used: now, need });
        self.timers.push_back((next, link, addr));
        Resolved::Unknown(Some(Ask { link, addr, to: Mac::BROADCAST }))
    }

    /// True if one more fits, after what is used least was evicted. What the configuration names always fits.
    fn has_room(&mut self, need: Need, now: Instant) -> bool {
        if self.entries.len() < MAX_NEIGHBOURS || need == Need::Configured {
            return true;
        }
        if self.swept.is_some_and(|swept| now.since(swept) < BETWEEN_SWEEPS) {
            return false;
        }
        self.swept = Some(now);
        self.changes += 1;
        for unused_for in UNUSED_FOR {
            self.entries.retain(|_, entry| entry.stays(unused_for, now));
            if self.entries.len() < MAX_NEIGHBOURS {
                return true;
            }
        }
        false
    }

    /// A neighbour has shown its MAC. True if it had been given up.
    pub(super) fn confirm(&mut self, link: LinkId, addr: IpAddr, mac: Mac, now: Instant) -> bool {
        let known = self.knows(link, addr);
        if !known && !self.has_room(Need::Transit, now) {
            return false;
        }
        let new = Entry { mac, state: State::Reachable { until: now }, used: now, need: Need::Transit };
        let entry = self.entries.entry(Station::new(link, addr)).or_insert(new);
        let before = entry.state;
        if matches!(before, State::Permanent) {
            return false;
        }
        let was_there = known && entry.is_known();
        self.changes += u64::from(!was_there || entry.mac != mac);
        entry.mac = mac;
        entry.state = State::Reachable { until: now + REACHABLE };
        if matches!(before, State::Incomplete { .. }) {
            self.unresolved.remove(link, addr);
        }
        matches!(before, State::Failed { .. })
    }

    /// The next thing that time has brought; call until there is none.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if let Some((link, addr)) = self.displaced.pop() {
            return Some(Due::Displaced(link, addr));
        }
        while let Some((at, link, addr)) = self.timers.front().copied().filter(|(at, ..)| *at <= now) {
            self.timers.pop_front();
            let due = self.advance(at, link, addr, now);
            if due.is_some() {
                return due;
            }
        }
        None
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        if !self.displaced.is_empty() {
            return Some(Instant::START);
        }
        self.timers.front().map(|(at, ..)| *at)
    }

    /// A timer has ended: the next solicitation, or the end of hope.
    fn advance(&mut self, at: Instant, link: LinkId, addr: IpAddr, now: Instant) -> Option<Due> {
        let entry = self.entries.get_mut(&Station::new(link, addr)).filter(|entry| entry.timer() == Some(at))?;
        let next = now + RETRANSMIT;
        let (state, due) = match entry.state {
            State::Failed { .. } if entry.need == Need::Configured => return None,
            State::Failed { .. } => {
                self.entries.remove(&Station::new(link, addr));
                return None;
            }
            State::Incomplete { left: 0, .. } => {
                self.unresolved.remove(link, addr);
                (State::Failed { until: next }, Due::GaveUp(link, addr, entry.need))
            }
            State::Incomplete { left, .. } => {
                (State::Incomplete { left: left - 1, next }, Due::Ask(Ask { link, addr, to: Mac::BROADCAST }))
            }
            State::Probe { left: 0, .. } => {
                self.changes += 1;
                (State::Incomplete { left: SOLICITATIONS - 1, next }, Due::Ask(Ask { link, addr, to: Mac::BROADCAST }))
            }
            State::Probe { left, .. } => {
                (State::Probe { left: left - 1, next }, Due::Ask(Ask { link, addr, to: entry.mac }))
            }
            State::Reachable { .. } | State::Permanent => return None,
        };
        entry.state = state;
        self.timers.push_back((next, link, addr));
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(0);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn addr(last: u16) -> IpAddr {
        IpAddr::from([10, 0, (last >> 8) as u8, last as u8])
    }

    fn secs(secs: u64) -> Instant {
        Instant(secs * 1000)
    }

    fn resolve(cache: &mut Neighbours, number: u16, need: Need, now: Instant) -> Resolved {
        let route = Route { link: LINK, next_hop: addr(number), mtu: 1500, need };
        cache.resolve(&route, now, || IpAddr::from([192, 0, (number >> 8) as u8, number as u8]))
    }

    fn ask(number: u16, to: Mac) -> Ask {
        Ask { link: LINK, addr: addr(number), to }
    }

    #[test]
    fn a_silent_neighbour_is_solicited_three_times_and_given_up() {
        let mut cache = Neighbours::default();
        let ask = ask(1, Mac::BROADCAST);
        assert_eq!(resolve(&mut cache, 1, Need::Conn, secs(0)), Resolved::Unknown(Some(ask)));
        assert_eq!(resolve(&mut cache, 1, Need::Conn, secs(0)), Resolved::Unknown(None));
        assert_eq!(cache.due(secs(0)), None);
        assert_eq!((cache.due(secs(1)), cache.due(secs(1))), (Some(Due::Ask(ask)), None));
        assert_eq!(cache.due(secs(2)), Some(Due::Ask(ask)));
        assert_eq!(cache.due(secs(3)), Some(Due::GaveUp(LINK, addr(1), Need::Conn)));
        assert_eq!(resolve(&mut cache, 1, Need::Conn, secs(3)), Resolved::Failed);
        assert_eq!(resolve(&mut cache, 1, Need::Conn, secs(4)), Resolved::Unknown(Some(ask)));
    }

    #[test]
    fn a_neighbour_that_failed_is_forgotten_unless_the_configuration_names_it() {
        let mut cache = Neighbours::default();
        for (number, need) in [(1, Need::Transit), (2, Need::Configured)] {
            resolve(&mut cache, number, need, secs(0));
        }
        for now in 0..9 {
            while cache.due(secs(now)).is_some() {}
        }
        assert_eq!((cache.next_due(), cache.knows(LINK, addr(1)), cache.knows(LINK, addr(2))), (None, false, true));
        assert!(cache.confirm(LINK, addr(2), MAC, secs(9)), "it had been given up");
        assert!(!cache.confirm(LINK, addr(2), MAC, secs(9)));
    }

    #[test]
    fn an_old_answer_is_confirmed_while_it_is_used() {
        let mut cache = Neighbours::default();
        let resolve = |cache: &mut Neighbours, now| resolve(cache, 1, Need::Conn, secs(now));
        cache.confirm(LINK, addr(1), MAC, secs(0));
        assert_eq!(resolve(&mut cache, 29), Resolved::At(MAC));
        assert_eq!(resolve(&mut cache, 30), Resolved::AtPerhaps(MAC, ask(1, MAC)));
        assert_eq!(resolve(&mut cache, 30), Resolved::At(MAC));
        cache.confirm(LINK, addr(1), MAC, secs(30));
        assert_eq!(cache.due(secs(31)), None);
        assert_eq!(resolve(&mut cache, 59), Resolved::At(MAC));
    }

    #[test]
    fn a_scan_evicts_nothing_and_stops_nobody_who_has_a_conn() {
        let mut cache = Neighbours::default();
        cache.confirm(LINK, addr(1), MAC, secs(0));
        let mut now = secs(10);
        for round in 0..20 {
            for number in 1000..3000 {
                resolve(&mut cache, round * 2000 + number, Need::Transit, now);
            }
            now = now + Duration::from_millis(500);
            while cache.due(now).is_some() {}
            assert!(cache.entries.len() < 3000, "{}", cache.entries.len());
            assert_eq!(resolve(&mut cache, 1, Need::Conn, now), Resolved::At(MAC));
        }
        for (number, need) in [(2, Need::Conn), (3, Need::Configured)] {
            assert!(matches!(resolve(&mut cache, number, need, now), Resolved::Unknown(Some(_))));
        }
    }

    #[test]
    fn strangers_that_answer_make_room_and_what_conns_use_stays() {
        let mut cache = Neighbours::default();
        for number in 0..MAX_NEIGHBOURS as u16 {
            cache.confirm(LINK, addr(number), MAC, secs(1));
        }
        assert_eq!(resolve(&mut cache, 5, Need::Conn, secs(9)), Resolved::At(MAC));
        cache.confirm(LINK, addr(60_000), MAC, secs(40));
        assert!(cache.knows(LINK, addr(60_000)) && cache.knows(LINK, addr(5)) && !cache.knows(LINK, addr(6)));
        for number in 0..MAX_NEIGHBOURS as u16 {
            cache.confirm(LINK, addr(number), MAC, secs(41));
            resolve(&mut cache, number, Need::Conn, secs(41));
        }
        assert_eq!(resolve(&mut cache, 60_001, Need::Conn, secs(42)), Resolved::Refused, "all are in use");
        assert!(matches!(resolve(&mut cache, 60_002, Need::Configured, secs(42)), Resolved::Unknown(Some(_))));
    }

    #[test]
    fn a_permanent_neighbour_does_not_change() {
        let mut cache = Neighbours::default();
        cache.add_permanent(LINK, addr(1), MAC);
        cache.confirm(LINK, addr(1), Mac([9; 6]), secs(1));
        assert_eq!(resolve(&mut cache, 1, Need::Conn, secs(9999)), Resolved::At(MAC));
    }
}
