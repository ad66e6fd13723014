//! Local ports for FULL-NAT: one pool for each local address, protocol and real server.
//!
//! The real server tells conns apart by local endpoint alone, so each server can have all ports of an address.
//! The port freed last is reused last, and the first one differs from run to run: the server may still hold ports in
//! TIME_WAIT that conns had before a restart. A pool without a conn is freed once no server can hold its ports any more.
//! Never hands out a port twice.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use crate::base::{self, Endpoint, FastHash, Instant, Packed, PackedEndpoint, Proto};

/// First local port, as in LVS's FULL-NAT patch; below are the ports of services.
const FIRST: u16 = 5000;
/// Last local port.
const LAST: u16 = 65535;

/// How long a pool without a conn is kept: twice the lifetime of a segment (RFC 9293 section 3.4.2), as long as any host
/// holds a port in TIME_WAIT.
const KEPT: Duration = Duration::from_secs(240);

/// Between two looks at how many ports of a pool are in use: the present rate is that of one to two such times.
const LOOK: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Pool {
    /// Ports handed out once at least, from the first one of this run on.
    fresh: u32,
    /// Freed ports, the one freed first in front.
    freed: VecDeque<u16>,
    /// Ports claimed before their first turn, and that are not fresh when it comes.
    held: HashSet<u16>,
    /// Ports claimed out of `freed`: so many of their entries there, from the front on, do not count.
    stale: HashMap<u16, u32>,
    /// Ports in use.
    used: u32,
    /// When the last port in use was freed.
    idle_from: Instant,
    /// It stands among those that may be freed.
    is_listed: bool,
    /// How many were in use when it was looked at last, and the time before.
    looks: [(Instant, u32); 2],
}

impl Pool {
    fn is_idle(&self) -> bool {
        self.used == 0
    }

    fn left(&self) -> usize {
        LocalPorts::PER_POOL.saturating_sub(self.used as usize)
    }

    /// Seconds until all are in use, if so many more are as were lately.
    fn forecast(&self, now: Instant) -> Option<u64> {
        let (from, before) = self.looks[1];
        let (more, time) = (self.used.checked_sub(before)?, now.since(from).as_secs().max(1));
        (self.left() as u64 * time).checked_div(u64::from(more))
    }

    fn look(&mut self, now: Instant) {
        if self.looks[0].0 + LOOK <= now {
            self.looks = [(now, self.used), self.looks[0]];
        }
    }

    /// A free port; `None` if all are in use. `start` is where pools begin.
    fn take(&mut self, start: u32) -> Option<u16> {
        while (self.fresh as usize) < LocalPorts::PER_POOL {
            let port = FIRST + ((start + self.fresh) % LocalPorts::PER_POOL as u32) as u16;
            self.fresh += 1;
            if self.held.is_empty() || !self.held.remove(&port) {
                self.used += 1;
                return Some(port);
            }
        }
        let port = self.pop_freed();
        self.used += u32::from(port.is_some());
        port
    }

    /// The port freed first.
    fn pop_freed(&mut self) -> Option<u16> {
        loop {
            let port = self.freed.pop_front()?;
            if !is_stale(port, &mut self.stale) {
                return Some(port);
            }
        }
    }

    /// Ports that come and go at another director leave an entry each time.
    fn forget_stale(&mut self) {
        let stale = &mut self.stale;
        self.freed.retain(|port| !is_stale(*port, stale));
    }
}

/// True for an entry that does not count, once.
fn is_stale(port: u16, stale: &mut HashMap<u16, u32>) -> bool {
    let Some(count) = stale.get_mut(&port) else { return false };
    *count -= 1;
    if *count == 0 {
        stale.remove(&port);
    }
    true
}

/// Local address, protocol, real server.
pub type Key = (IpAddr, Proto, Endpoint);

/// The same in numbers, for every conn of FULL-NAT asks twice.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    local: Packed,
    proto: Proto,
    real: PackedEndpoint,
}

impl Hash for Place {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ([local, lower_local], [real, lower_real]) = (self.local.halves(), self.real.addr.halves());
        state.write_u64(lower_local);
        state.write_u64(lower_real);
        state.write_u64(local ^ real.rotate_left(24) ^ u64::from(self.proto.0) << 16 ^ u64::from(self.real.port));
    }
}

impl Place {
    #[inline]
    fn of((local, proto, real): Key) -> Place {
        Place { local: local.into(), proto, real: real.into() }
    }

    fn key(&self) -> Key {
        (self.local.into(), self.proto, self.real.into())
    }
}

/// All pools.
pub struct LocalPorts {
    /// Where each pool begins.
    start: u32,
    pools: HashMap<Place, Pool, FastHash>,
    /// Pools that were without a conn at that time, in its order.
    idle: VecDeque<(Instant, Place)>,
    now: Instant,
}

impl LocalPorts {
    /// Ports of one pool.
    pub const PER_POOL: usize = (LAST - FIRST) as usize + 1;

    /// No port is in use; pools begin at a port that this number chooses.
    pub fn new(random: u32) -> LocalPorts {
        let start = random % LocalPorts::PER_POOL as u32;
        // Whoever opens conns outwards chooses keys.
        let pools = HashMap::with_hasher(FastHash::with_seed(random.into()));
        LocalPorts { start, pools, idle: VecDeque::new(), now: Instant::START }
    }

    /// The same without a port in use.
    pub fn emptied(&self) -> LocalPorts {
        LocalPorts::new(self.start)
    }

    /// Frees the pools that have been without a conn for long.
    pub fn pass_time(&mut self, now: Instant) {
        self.now = now;
        while let Some((_, key)) = self.idle.front().copied().filter(|(from, _)| *from + KEPT <= now) {
            self.idle.pop_front();
            let Some(pool) = self.pools.get_mut(&key) else { continue };
            pool.is_listed = pool.is_idle() && pool.idle_from + KEPT > now;
            if pool.is_listed {
                self.idle.push_back((pool.idle_from, key));
            } else if pool.is_idle() {
                self.pools.remove(&key);
            }
        }
    }

    /// How many pools there are.
    #[cfg(test)]
    pub fn pools(&self) -> usize {
        self.pools.len()
    }

    /// Ports of `local` that no conn to a real server has.
    pub fn left(&self, local: IpAddr, proto: Proto, real: Endpoint) -> usize {
        self.pools.get(&Place::of((local, proto, real))).map_or(LocalPorts::PER_POOL, Pool::left)
    }

    /// In how many seconds they are used up at the present rate; `None` if they do not become fewer.
    pub fn forecast(&self, local: IpAddr, proto: Proto, real: Endpoint) -> Option<u64> {
        self.pools.get(&Place::of((local, proto, real)))?.forecast(self.now)
    }

    /// The pools with the fewest ports left, so many at most: whose they are, how many are left, and for how many seconds.
    pub fn scarcest(&self, count: usize) -> Vec<(Key, usize, Option<u64>)> {
        let used = self.pools.iter().filter(|(_, pool)| !pool.is_idle());
        let mut all: Vec<_> = used.map(|(place, pool)| (place.key(), pool.left(), pool.forecast(self.now))).collect();
        base::sort_by(&mut all, |(one, fewer, _), (other, more, _)| (fewer, one).cmp(&(more, other)));
        all.truncate(count);
        all
    }

    /// A free port of `local` towards a real server, unless that would leave fewer than `reserve`; `None` if there is none.
    pub fn take_above(&mut self, reserve: u32, local: IpAddr, proto: Proto, real: Endpoint) -> Option<u16> {
        if reserve as usize >= LocalPorts::PER_POOL {
            return None;
        }
        let start = self.start;
        let pool = self.pool(Place::of((local, proto, real)));
        if pool.left() > reserve as usize { pool.take(start) } else { None }
    }

    /// A free port of `local` towards a real server; `None` if all are in use.
    pub fn take(&mut self, local: IpAddr, proto: Proto, real: Endpoint) -> Option<u16> {
        self.take_above(0, local, proto, real)
    }

    #[inline]
    fn pool(&mut self, place: Place) -> &mut Pool {
        let now = self.now;
        let pool = self.pools.entry(place).or_insert_with(|| Pool { looks: [(now, 0); 2], ..Pool::default() });
        pool.look(now);
        pool
    }

    /// An even free port, with which the next one is taken too. In such a pool an even port must be given back last.
    pub fn take_pair(&mut self, local: IpAddr, proto: Proto, real: Endpoint) -> Option<u16> {
        /// Odd ports that come first: each goes back behind all others.
        const TRIES: usize = 64;
        for _ in 0..TRIES {
            let port = self.take(local, proto, real)?;
            if port % 2 == 0 {
                self.claim(local, proto, real, port + 1);
                return Some(port);
            }
            self.give_back(local, proto, real, port);
        }
        None
    }

    /// True for a port that may be handed out.
    pub fn is_one(port: u16) -> bool {
        port >= FIRST
    }

    /// A port that a conn has which was not made here: of an earlier process, or of another director. It is free, or so it
    /// was until now.
    pub fn claim(&mut self, local: IpAddr, proto: Proto, real: Endpoint, port: u16) {
        let pool = self.pools.entry(Place::of((local, proto, real))).or_default();
        let per_pool = LocalPorts::PER_POOL as u32;
        let turn = (u32::from(port.saturating_sub(FIRST)) + per_pool - self.start) % per_pool;
        if turn < pool.fresh || !pool.held.insert(port) {
            *pool.stale.entry(port).or_default() += 1;
        }
        pool.used += 1;
    }

    /// Gives a port back.
    pub fn give_back(&mut self, local: IpAddr, proto: Proto, real: Endpoint, port: u16) {
        let place = Place::of((local, proto, real));
        let pool = self.pools.get_mut(&place);
        debug_assert!(pool.is_some(), "a port of a pool that was never used");
        let Some(pool) = pool else { return };
        pool.freed.push_back(port);
        if pool.freed.len() > 2 * LocalPorts::PER_POOL {
            pool.forget_stale();
        }
        pool.used = pool.used.saturating_sub(1);
        if pool.is_idle() {
            pool.idle_from = self.now;
            if !std::mem::replace(&mut pool.is_listed, true) {
                self.idle.push_back((self.now, place));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));

    fn real(last: u8) -> Endpoint {
        Endpoint::new(IpAddr::from([10, 0, 0, last]), 80)
    }

    #[test]
    fn a_pool_begins_anywhere_and_has_every_port_once() {
        for random in [0, 1, 60_535, 60_536, u32::MAX] {
            let mut ports = LocalPorts::new(random);
            let all: HashSet<u16> = std::iter::from_fn(|| ports.take(LOCAL, Proto::TCP, real(1))).collect();
            assert_eq!(
                (all.len(), all.iter().min(), all.iter().max()),
                (LocalPorts::PER_POOL, Some(&FIRST), Some(&LAST))
            );
        }
        let first = |random| LocalPorts::new(random).take(LOCAL, Proto::TCP, real(1));
        assert_eq!([first(0), first(7), first(60_535)], [Some(FIRST), Some(FIRST + 7), Some(LAST)]);
    }

    #[test]
    fn a_port_freed_last_is_reused_last() {
        let mut ports = LocalPorts::new(0);
        let all: Vec<u16> = std::iter::from_fn(|| ports.take(LOCAL, Proto::TCP, real(1))).collect();
        assert_eq!(all.len(), LocalPorts::PER_POOL);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        for port in [7000, 6000, 8000] {
            ports.give_back(LOCAL, Proto::TCP, real(1), port);
        }
        let again: Vec<_> = (0..4).map(|_| ports.take(LOCAL, Proto::TCP, real(1))).collect();
        assert_eq!(again, [Some(7000), Some(6000), Some(8000), None]);
        assert_eq!(ports.take(LOCAL, Proto::TCP, real(2)), Some(FIRST), "another server has its own pool");
    }

    #[test]
    fn ports_that_are_held_already_are_not_handed_out_before_they_are_given_back() {
        for random in [0, 3, 995, 60_535] {
            let mut ports = LocalPorts::new(random);
            let held = [5003, 5000, 6000, 5999, 65535];
            held.iter().for_each(|port| ports.claim(LOCAL, Proto::TCP, real(1), *port));
            ports.give_back(LOCAL, Proto::TCP, real(1), 6000);
            let all: Vec<u16> = std::iter::from_fn(|| ports.take(LOCAL, Proto::TCP, real(1))).collect();
            assert_eq!(all.len(), LocalPorts::PER_POOL - held.len() + 1);
            assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
            assert_eq!(all.last(), Some(&6000), "the one given back is reused last");
            assert!(held.iter().all(|port| *port == 6000 || !all.contains(port)));
        }
    }

    #[test]
    fn a_port_claimed_at_any_time_is_in_use_until_it_is_given_back() {
        let (mut ports, mut rng) = (LocalPorts::new(17), Rng::seeded(3));
        let mut used: HashSet<u16> = HashSet::new();
        for round in 0..400_000 {
            let port = FIRST + rng.below(LocalPorts::PER_POOL as u64) as u16;
            match (rng.below(3), used.remove(&port)) {
                (_, true) => ports.give_back(LOCAL, Proto::TCP, real(1), port),
                (0, false) => {
                    let taken = ports.take(LOCAL, Proto::TCP, real(1)).unwrap();
                    assert!(used.insert(taken), "{taken} is in use already, round {round}");
                }
                (_, false) => {
                    ports.claim(LOCAL, Proto::TCP, real(1), port);
                    used.insert(port);
                }
            }
        }
        // Others that come and go at another director take no memory.
        (0..300_000).for_each(|_| {
            let port = FIRST + 9;
            if used.insert(port) {
                ports.claim(LOCAL, Proto::TCP, real(1), port);
            } else {
                used.remove(&port);
                ports.give_back(LOCAL, Proto::TCP, real(1), port);
            }
        });
        let pool = &ports.pools[&Place::of((LOCAL, Proto::TCP, real(1)))];
        assert!(pool.freed.len() <= 2 * LocalPorts::PER_POOL);
        assert_eq!(pool.used as usize, used.len());
        let rest: Vec<u16> = std::iter::from_fn(|| ports.take(LOCAL, Proto::TCP, real(1))).collect();
        assert_eq!(rest.len() + used.len(), LocalPorts::PER_POOL);
        assert!(rest.iter().all(|port| used.insert(*port)));
    }

    #[test]
    fn pairs_are_even_and_odd_and_nobody_else_has_them() {
        for random in [0, 1, 60_535] {
            let (mut ports, mut rng) = (LocalPorts::new(random), Rng::seeded(4));
            let (mut used, mut pairs) = (HashSet::new(), Vec::new());
            for _ in 0..200_000 {
                if rng.below(5) < 3 || pairs.is_empty() {
                    let Some(port) = ports.take_pair(LOCAL, Proto::UDP, real(1)) else { continue };
                    assert!(port % 2 == 0 && used.insert(port) && used.insert(port + 1), "{port}");
                    pairs.push(port);
                } else {
                    let port = pairs.swap_remove(rng.below(pairs.len() as u64) as usize);
                    for port in [port + 1, port] {
                        used.remove(&port);
                        ports.give_back(LOCAL, Proto::UDP, real(1), port);
                    }
                }
            }
            assert!(used.len() > LocalPorts::PER_POOL - 1000, "{} of all in use", used.len());
        }
    }

    #[test]
    fn pools_without_conns_are_freed_when_no_server_can_hold_their_ports() {
        let mut ports = LocalPorts::new(3);
        let servers = 100_u8;
        let begin = Instant(1000);
        ports.pass_time(begin);
        for last in 0..servers {
            let port = ports.take(LOCAL, Proto::TCP, real(last)).unwrap();
            ports.give_back(LOCAL, Proto::TCP, real(last), port);
        }
        // One has a conn again later, another one still.
        ports.pass_time(begin + KEPT / 2);
        let again = ports.take(LOCAL, Proto::TCP, real(7)).unwrap();
        ports.take(LOCAL, Proto::TCP, real(8)).unwrap();
        ports.give_back(LOCAL, Proto::TCP, real(7), again);
        ports.pass_time(begin + KEPT - Duration::from_millis(1));
        assert_eq!(ports.pools(), usize::from(servers));
        ports.pass_time(begin + KEPT);
        assert_eq!(ports.pools(), 2);
        ports.pass_time(begin + KEPT / 2 + KEPT);
        assert_eq!((ports.pools(), ports.idle.len()), (1, 0));
        // What is freed and used again is listed again.
        ports.give_back(LOCAL, Proto::TCP, real(8), FIRST + 3);
        for _ in 0..10 {
            let port = ports.take(LOCAL, Proto::TCP, real(9)).unwrap();
            ports.give_back(LOCAL, Proto::TCP, real(9), port);
        }
        assert_eq!(ports.idle.len(), 2);
        ports.pass_time(begin + KEPT * 4);
        assert_eq!((ports.pools(), ports.idle.len()), (0, 0));
    }

    #[test]
    fn what_is_left_is_told_with_how_long_it_lasts() {
        let mut ports = LocalPorts::new(3);
        let at = |seconds: u64| Instant::START + Duration::from_secs(1000 + seconds);
        let forecast = |ports: &LocalPorts| ports.forecast(LOCAL, Proto::TCP, real(1));
        assert_eq!(forecast(&ports), None);
        let mut held = Vec::new();
        // 100 a second.
        for second in 0..200 {
            ports.pass_time(at(second));
            held.extend((0..100).filter_map(|_| ports.take(LOCAL, Proto::TCP, real(1))));
        }
        let left = LocalPorts::PER_POOL as u64 - 20_000;
        let seconds = forecast(&ports).unwrap();
        assert!((left / 104..=left / 96).contains(&seconds), "{seconds} s for {left} ports, 100 a second");
        assert_eq!(ports.scarcest(9), [((LOCAL, Proto::TCP, real(1)), left as usize, Some(seconds))]);
        // Nothing more is taken: it lasts longer from second to second.
        ports.pass_time(at(2000));
        assert!(forecast(&ports) > Some(10 * seconds));
        // As many go as come.
        for second in 2000..2100 {
            ports.pass_time(at(second));
            held.extend((0..100).filter_map(|_| ports.take(LOCAL, Proto::TCP, real(1))));
            for port in held.drain(..100) {
                ports.give_back(LOCAL, Proto::TCP, real(1), port);
            }
        }
        assert_eq!(forecast(&ports), None);
        assert_eq!(ports.take_above(left as u32, LOCAL, Proto::TCP, real(1)), None, "what is reserved is left");
        assert!(ports.take_above(left as u32 - 1, LOCAL, Proto::TCP, real(1)).is_some());
    }

    #[test]
    fn no_port_is_held_twice_over_random_use() {
        let mut ports = LocalPorts::new(9);
        let mut rng = Rng::seeded(5);
        let mut held = Vec::new();
        for _ in 0..200_000 {
            if held.is_empty() || rng.below(100) < 55 {
                match ports.take(LOCAL, Proto::UDP, real(1)) {
                    Some(port) => held.push(port),
                    None => assert_eq!(held.len(), LocalPorts::PER_POOL),
                }
            } else {
                let port = held.swap_remove(rng.below(held.len() as u64) as usize);
                ports.give_back(LOCAL, Proto::UDP, real(1), port);
            }
        }
        assert_eq!(held.iter().collect::<HashSet<_>>().len(), held.len());
    }
}
