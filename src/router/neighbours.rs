//! The neighbour cache: who is asked, who has answered, who is silent.
//!
//! ```text
//! Asked --answer--> Known --30 s, then used--> Doubted --answer--> Known
//!   | 3 questions     ^                          | 3 questions to its MAC
//!   v                 +---------- answer         v
//! Silent (1 s, packets dropped) <------------- Asked
//! ```
//! Pure: says what to ask, sends nothing. Bounded: strangers cannot fill it beyond its size.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::{FastHash, Instant, LinkId, Mac};

/// Neighbours remembered at most.
pub const MAX_NEIGHBOURS: usize = 1024;
const QUESTIONS: u8 = 3;
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(1);
/// An answer is trusted this long before a used entry is asked again (RFC 4861 REACHABLE_TIME).
const TRUSTED: Duration = Duration::from_secs(30);
/// After silence, packets are dropped this long before the neighbour is asked again.
const SILENCE: Duration = Duration::from_secs(1);

/// What a packet finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resolved {
    /// Its next hop's MAC.
    At(Mac),
    /// Its next hop's MAC, which is to be confirmed.
    AtPerhaps(Mac, Ask),
    /// Not known yet; a question may be due.
    Unknown(Option<Ask>),
    /// Asked in vain.
    Silent,
}

/// A question to put on a link.
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
    GaveUp(LinkId, IpAddr),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Asked { left: u8, next: Instant },
    Known { until: Instant },
    Doubted { left: u8, next: Instant },
    Silent { until: Instant },
    Permanent,
}

#[derive(Clone, Copy)]
struct Entry {
    mac: Mac,
    state: State,
    used: Instant,
}

/// The cache.
#[derive(Default)]
pub struct Neighbours {
    /// Strangers choose keys here, but the map is bounded: who crowds one bucket gains nothing.
    entries: HashMap<(LinkId, IpAddr), Entry, FastHash>,
    next_due: Option<Instant>,
}

impl Neighbours {
    /// A neighbour that is never asked.
    pub fn add_permanent(&mut self, link: LinkId, addr: IpAddr, mac: Mac) {
        self.entries.insert((link, addr), Entry { mac, state: State::Permanent, used: Instant::START });
    }

    /// Every neighbour that is known or asked for, with its MAC where that is known.
    pub fn iter(&self) -> impl Iterator<Item = (LinkId, IpAddr, Option<Mac>)> {
        self.entries.iter().map(|((link, addr), entry)| {
            let known = matches!(entry.state, State::Known { .. } | State::Doubted { .. } | State::Permanent);
            (*link, *addr, known.then_some(entry.mac))
        })
    }

    /// True if an answer of this neighbour would be news or is waited for.
    pub fn knows(&self, link: LinkId, addr: IpAddr) -> bool {
        self.entries.contains_key(&(link, addr))
    }

    /// The MAC of a neighbour that has shown one.
    pub fn mac_of(&self, link: LinkId, addr: IpAddr) -> Option<Mac> {
        let entry = self.entries.get(&(link, addr))?;
        Some(entry.mac).filter(|mac| *mac != Mac::ZERO)
    }

    #[inline]
    pub(super) fn resolve(&mut self, link: LinkId, addr: IpAddr, now: Instant) -> Resolved {
        let Some(entry) = self.entries.get_mut(&(link, addr)) else { return self.first_question(link, addr, now) };
        entry.used = now;
        let again = State::Asked { left: QUESTIONS - 1, next: now + BETWEEN_QUESTIONS };
        match entry.state {
            State::Permanent => Resolved::At(entry.mac),
            State::Known { until } if now < until => Resolved::At(entry.mac),
            State::Known { .. } => {
                let mac = entry.mac;
                entry.state = State::Doubted { left: QUESTIONS - 1, next: now + BETWEEN_QUESTIONS };
                self.due_at(now + BETWEEN_QUESTIONS);
                Resolved::AtPerhaps(mac, Ask { link, addr, to: mac })
            }
            State::Doubted { .. } => Resolved::At(entry.mac),
            State::Asked { .. } => Resolved::Unknown(None),
            State::Silent { until } if now < until => Resolved::Silent,
            State::Silent { .. } => {
                entry.state = again;
                self.due_at(now + BETWEEN_QUESTIONS);
                Resolved::Unknown(Some(Ask { link, addr, to: Mac::BROADCAST }))
            }
        }
    }

    fn first_question(&mut self, link: LinkId, addr: IpAddr, now: Instant) -> Resolved {
        if !self.make_room(now) {
            return Resolved::Silent;
        }
        let state = State::Asked { left: QUESTIONS - 1, next: now + BETWEEN_QUESTIONS };
        self.entries.insert((link, addr), Entry { mac: Mac::ZERO, state, used: now });
        self.due_at(now + BETWEEN_QUESTIONS);
        Resolved::Unknown(Some(Ask { link, addr, to: Mac::BROADCAST }))
    }

    /// Forgets the entry unused for longest when the cache is full; not one that packets wait for.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.entries.len() < MAX_NEIGHBOURS {
            return true;
        }
        let idle = |entry: &Entry| match entry.state {
            State::Known { .. } | State::Silent { .. } => entry.used < now,
            State::Asked { .. } | State::Doubted { .. } | State::Permanent => false,
        };
        let oldest = self.entries.iter().filter(|(_, entry)| idle(entry)).min_by_key(|(_, entry)| entry.used);
        let Some(key) = oldest.map(|(key, _)| *key) else { return false };
        self.entries.remove(&key);
        true
    }

    /// A neighbour has shown its MAC.
    pub(super) fn confirm(&mut self, link: LinkId, addr: IpAddr, mac: Mac, now: Instant) {
        let known = self.knows(link, addr);
        if !known && !self.make_room(now) {
            return;
        }
        let entry = self.entries.entry((link, addr)).or_insert(Entry { mac, state: State::Permanent, used: now });
        if known && matches!(entry.state, State::Permanent) {
            return;
        }
        entry.mac = mac;
        entry.state = State::Known { until: now + TRUSTED };
    }

    /// The next thing that time has brought; call until there is none.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.next_due.is_none_or(|due| due > now) {
            return None;
        }
        let found = self.entries.iter_mut().find(|(_, entry)| entry.question_at().is_some_and(|at| at <= now));
        let due = found.map(|((link, addr), entry)| entry.advance(*link, *addr, now));
        if due.is_none() {
            self.next_due = self.entries.values().filter_map(Entry::question_at).min();
        }
        due
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.next_due
    }

    fn due_at(&mut self, at: Instant) {
        self.next_due = Some(self.next_due.map_or(at, |due| due.min(at)));
    }
}

impl Entry {
    fn question_at(&self) -> Option<Instant> {
        match self.state {
            State::Asked { next, .. } | State::Doubted { next, .. } => Some(next),
            State::Known { .. } | State::Silent { .. } | State::Permanent => None,
        }
    }

    fn advance(&mut self, link: LinkId, addr: IpAddr, now: Instant) -> Due {
        let next = now + BETWEEN_QUESTIONS;
        let (state, due) = match self.state {
            State::Doubted { left: 1.., .. } | State::Asked { left: 1.., .. } => self.ask_again(link, addr, next),
            State::Doubted { left: 0, .. } => {
                let ask = Ask { link, addr, to: Mac::BROADCAST };
                (State::Asked { left: QUESTIONS - 1, next }, Due::Ask(ask))
            }
            State::Asked { left: 0, .. } | State::Known { .. } | State::Silent { .. } | State::Permanent => {
                (State::Silent { until: now + SILENCE }, Due::GaveUp(link, addr))
            }
        };
        self.state = state;
        due
    }

    fn ask_again(&self, link: LinkId, addr: IpAddr, next: Instant) -> (State, Due) {
        match self.state {
            State::Doubted { left, .. } => {
                (State::Doubted { left: left - 1, next }, Due::Ask(Ask { link, addr, to: self.mac }))
            }
            State::Asked { left, .. } => {
                (State::Asked { left: left - 1, next }, Due::Ask(Ask { link, addr, to: Mac::BROADCAST }))
            }
            State::Known { .. } | State::Silent { .. } | State::Permanent => (self.state, Due::GaveUp(link, addr)),
        }
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

    #[test]
    fn a_silent_neighbour_is_asked_three_times_and_given_up() {
        let mut cache = Neighbours::default();
        let ask = Ask { link: LINK, addr: addr(1), to: Mac::BROADCAST };
        assert_eq!(cache.resolve(LINK, addr(1), secs(0)), Resolved::Unknown(Some(ask)));
        assert_eq!(cache.resolve(LINK, addr(1), secs(0)), Resolved::Unknown(None));
        assert_eq!(cache.due(secs(0)), None);
        assert_eq!((cache.due(secs(1)), cache.due(secs(1))), (Some(Due::Ask(ask)), None));
        assert_eq!(cache.due(secs(2)), Some(Due::Ask(ask)));
        assert_eq!(cache.due(secs(3)), Some(Due::GaveUp(LINK, addr(1))));
        assert_eq!(cache.due(secs(3)), None);
        assert_eq!(cache.next_due(), None);
        assert_eq!(cache.resolve(LINK, addr(1), secs(3)), Resolved::Silent);
        assert_eq!(cache.resolve(LINK, addr(1), secs(4)), Resolved::Unknown(Some(ask)));
    }

    #[test]
    fn an_old_answer_is_confirmed_while_it_is_used() {
        let mut cache = Neighbours::default();
        cache.confirm(LINK, addr(1), MAC, secs(0));
        assert_eq!(cache.resolve(LINK, addr(1), secs(29)), Resolved::At(MAC));
        let ask = Ask { link: LINK, addr: addr(1), to: MAC };
        assert_eq!(cache.resolve(LINK, addr(1), secs(30)), Resolved::AtPerhaps(MAC, ask));
        assert_eq!(cache.resolve(LINK, addr(1), secs(30)), Resolved::At(MAC));
        cache.confirm(LINK, addr(1), MAC, secs(30));
        assert_eq!(cache.due(secs(31)), None);
        assert_eq!(cache.resolve(LINK, addr(1), secs(59)), Resolved::At(MAC));
    }

    #[test]
    fn a_flood_of_addresses_cannot_push_out_who_is_asked_for() {
        let mut cache = Neighbours::default();
        for last in 0..MAX_NEIGHBOURS as u16 {
            assert!(matches!(cache.resolve(LINK, addr(last), secs(0)), Resolved::Unknown(Some(_))));
        }
        assert_eq!(cache.resolve(LINK, addr(5000), secs(0)), Resolved::Silent);
        cache.confirm(LINK, addr(7), MAC, secs(1));
        assert!(matches!(cache.resolve(LINK, addr(5000), secs(2)), Resolved::Unknown(Some(_))));
        assert!(!cache.knows(LINK, addr(7)));
    }

    #[test]
    fn a_permanent_neighbour_does_not_change() {
        let mut cache = Neighbours::default();
        cache.add_permanent(LINK, addr(1), MAC);
        cache.confirm(LINK, addr(1), Mac([9; 6]), secs(1));
        assert_eq!(cache.resolve(LINK, addr(1), secs(9999)), Resolved::At(MAC));
    }
}
