//! The cache of lblc and lblcr: the server chosen for a virtual address, until no packet has asked for it for long.
//!
//! ```text
//! every minute: at each 30th, entries idle for the expiration go;
//! else, if more than 16,384, some that were idle for 6 minutes
//! ```
//!
//! Never grows past 24,576 entries, for with transparent services clients choose the addresses; a tree
//! instead of the kernel's hash table, so that they cannot choose colliding ones either.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;
use std::time::Duration;

use super::{Change, Server, Servers};
use crate::base::{DestId, Endpoint, Instant};

/// Above this some entries go each minute.
const COMFORTABLE: usize = 16_384;
/// At this no entry comes.
const FULL: usize = COMFORTABLE * 3 / 2;
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// Minutes from one look at all entries to the next.
const FULL_CHECK: u32 = 30;
/// What counts as idle when the cache is too large.
const IDLE: Duration = Duration::from_secs(360);

pub(super) struct Cache<V> {
    entries: BTreeMap<IpAddr, Entry<V>>,
    /// Minutes since the last full check, from 1.
    minute: u32,
    /// The next check; none before the first packet.
    due: Option<Instant>,
    /// Where the search for idle entries stopped.
    rover: Option<IpAddr>,
}

struct Entry<V> {
    value: V,
    used: Instant,
}

impl<V> Cache<V> {
    pub(super) fn new() -> Cache<V> {
        Cache { entries: BTreeMap::new(), minute: 1, due: None, rover: None }
    }

    /// What is known for an address, which thereby was used now.
    pub(super) fn touch(&mut self, addr: IpAddr, now: Instant) -> Option<&mut V> {
        let entry = self.entries.get_mut(&addr)?;
        entry.used = now;
        Some(&mut entry.value)
    }

    /// Remembers; when full, only for addresses that are known already.
    pub(super) fn put(&mut self, addr: IpAddr, value: V, now: Instant) {
        if self.entries.len() < FULL || self.entries.contains_key(&addr) {
            self.entries.insert(addr, Entry { value, used: now });
        }
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.values_mut().map(|entry| &mut entry.value)
    }

    /// Makes up for all checks that are due, each as of its own minute.
    pub(super) fn tick(&mut self, now: Instant, expiration: u64) {
        let mut due = self.due.unwrap_or(now + CHECK_EVERY);
        while due <= now {
            self.check(due, Duration::from_secs(expiration));
            due = due + CHECK_EVERY;
        }
        self.due = Some(due);
    }

    fn check(&mut self, now: Instant, expiration: Duration) {
        if self.minute == FULL_CHECK {
            self.entries.retain(|_, entry| now.since(entry.used) < expiration);
            self.minute = 1;
            return;
        }
        let excess = self.entries.len().saturating_sub(COMFORTABLE);
        if excess == 0 {
            self.minute += 1;
            return;
        }
        self.drop_idle(now, (excess * 4 / 3).min(COMFORTABLE / 2));
    }

    /// Drops up to `goal` idle entries, going on where it stopped last.
    fn drop_idle(&mut self, now: Instant, goal: usize) {
        let from = self.rover.map_or(Bound::Unbounded, Bound::Excluded);
        let to = self.rover.map_or(Bound::Unbounded, Bound::Included);
        let rest = self.entries.range((from, Bound::Unbounded));
        let round = rest.chain(self.rover.iter().flat_map(|_| self.entries.range((Bound::Unbounded, to))));
        let idle = round.filter(|(_, entry)| now.since(entry.used) >= IDLE).map(|(addr, _)| *addr);
        let victims: Vec<IpAddr> = idle.take(goal).collect();
        for addr in &victims {
            self.entries.remove(addr);
        }
        self.rover = victims.last().copied();
    }
}

/// A server in a cache. It may leave its service and come back, and is then cached still; while it is
/// away its slot may be given to another, so that the id must not be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cached {
    endpoint: Endpoint,
    /// None while it is away.
    pub(super) id: Option<DestId>,
}

impl Cached {
    pub(super) fn new(id: DestId, servers: &Servers) -> Cached {
        Cached { endpoint: servers.get(id).endpoint, id: Some(id) }
    }

    /// The server, unless it is away.
    pub(super) fn present<'a>(&self, servers: &Servers<'a>) -> Option<(DestId, &'a Server)> {
        let id = self.id?;
        Some((id, servers.get(id))).filter(|(_, server)| server.available)
    }

    /// Keeps track of a server that comes or goes.
    pub(super) fn follow(&mut self, servers: &Servers, change: Change) {
        match change {
            Change::Added(id) if servers.get(id).endpoint == self.endpoint => self.id = Some(id),
            Change::Removed { id, .. } if self.id == Some(id) => self.id = None,
            Change::Added(_) | Change::Removed { .. } | Change::Edited(_) => {}
        }
    }
}

/// More active conns than its weight, while another server is not even half that busy.
pub(super) fn crowded(server: &Server, servers: &Servers) -> bool {
    server.active > server.weight
        && servers.iter().any(|(_, other)| 2 * u64::from(other.active) < u64::from(other.present_weight()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn addr(number: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(number as u32))
    }

    fn minutes(count: u64) -> Instant {
        Instant(count * 60_000)
    }

    #[test]
    fn idle_entries_go_at_every_thirtieth_minute_only() {
        let mut cache = Cache::new();
        cache.tick(minutes(0), 60);
        cache.put(addr(1), (), minutes(0));
        cache.put(addr(2), (), minutes(0));
        for minute in 1..30 {
            cache.tick(minutes(minute), 60);
        }
        assert_eq!(cache.entries.len(), 2, "long idle, but not looked at");
        assert!(cache.touch(addr(2), Instant(minutes(29).0 + 1)).is_some());
        cache.tick(minutes(30), 60);
        assert!(cache.touch(addr(1), minutes(30)).is_none());
        cache.tick(minutes(59), 60);
        assert!(cache.touch(addr(2), minutes(30)).is_some());
        cache.tick(minutes(60), 60);
        assert!(cache.entries.is_empty());
    }

    #[test]
    fn a_late_tick_makes_up_for_the_checks_it_missed() {
        let mut cache = Cache::new();
        cache.tick(minutes(0), 60);
        cache.put(addr(1), (), minutes(0));
        cache.tick(minutes(31), 60);
        assert!(cache.entries.is_empty());
        assert_eq!((cache.minute, cache.due), (2, Some(minutes(32))));
    }

    #[test]
    fn a_large_cache_sheds_idle_entries_and_never_passes_its_limit() {
        let mut cache = Cache::new();
        cache.tick(minutes(0), 86_400);
        for number in 0..30_000 {
            cache.put(addr(number), number, minutes(u64::from(number % 2 == 0) * 6));
        }
        assert_eq!(cache.entries.len(), 24_576);
        cache.put(addr(0), 77, minutes(6));
        assert_eq!(cache.touch(addr(0), minutes(6)), Some(&mut 77), "known addresses are replaced when full");
        cache.tick(minutes(5), 86_400);
        assert_eq!(cache.entries.len(), 24_576, "none was idle for long enough");
        cache.tick(minutes(6), 86_400);
        assert_eq!(cache.entries.len(), 24_576 - 8_192, "half of what is comfortable at most");
        assert_eq!(cache.rover, Some(addr(16_383)));
        cache.put(addr(50_000), 1, minutes(0));
        cache.tick(minutes(7), 86_400);
        assert_eq!((cache.entries.len(), cache.rover), (16_384, Some(addr(16_385))), "goes on where it stopped");
    }

    #[test]
    fn the_search_for_idle_entries_goes_round() {
        let mut cache = Cache::new();
        cache.rover = Some(addr(16_380));
        for number in 0..COMFORTABLE + 1 {
            let idle = number == 0 || number == 16_380;
            cache.put(addr(number), (), if idle { minutes(0) } else { minutes(9) });
        }
        cache.drop_idle(minutes(9), 1);
        assert_eq!(cache.rover, Some(addr(0)));
        cache.drop_idle(minutes(9), 1);
        assert_eq!(cache.rover, Some(addr(16_380)));
        cache.drop_idle(minutes(9), 1);
        assert_eq!(cache.rover, None);
    }
}
