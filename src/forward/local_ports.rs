//! Local ports for FULL-NAT: one pool for each local address, protocol and real server.
//!
//! The real server tells conns apart by local endpoint alone, so each server can have all ports of an address.
//! The port freed last is reused last, and the first one differs from run to run: the server may still hold ports in
//! TIME_WAIT that conns had before a restart. Never hands out a port twice.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use crate::base::{Endpoint, Proto};

/// First local port, as in LVS's FULL-NAT patch; below are the ports of services.
const FIRST: u16 = 5000;
/// Last local port.
const LAST: u16 = 65535;

#[derive(Default)]
struct Pool {
    /// Ports handed out once at least, from the first one of this run on.
    fresh: u32,
    /// Freed ports, the one freed first in front.
    freed: VecDeque<u16>,
    /// Ports that conns of an earlier process took, and that are not fresh when their turn comes.
    held: HashSet<u16>,
}

/// All pools.
pub struct LocalPorts {
    /// Where each pool begins.
    start: u32,
    pools: HashMap<(IpAddr, Proto, Endpoint), Pool>,
}

impl LocalPorts {
    /// Ports of one pool.
    pub const PER_POOL: usize = (LAST - FIRST) as usize + 1;

    /// No port is in use; pools begin at a port that this number chooses.
    pub fn new(random: u32) -> LocalPorts {
        LocalPorts { start: random % LocalPorts::PER_POOL as u32, pools: HashMap::new() }
    }

    /// A free port of `local` towards a real server; `None` if all are in use.
    pub fn take(&mut self, local: IpAddr, proto: Proto, real: Endpoint) -> Option<u16> {
        let pool = self.pools.entry((local, proto, real)).or_default();
        while (pool.fresh as usize) < LocalPorts::PER_POOL {
            let port = FIRST + ((self.start + pool.fresh) % LocalPorts::PER_POOL as u32) as u16;
            pool.fresh += 1;
            if !pool.held.remove(&port) {
                return Some(port);
            }
        }
        pool.freed.pop_front()
    }

    /// A port that a conn of an earlier process holds; before any port of its pool is taken.
    pub fn hold(&mut self, local: IpAddr, proto: Proto, real: Endpoint, port: u16) {
        let pool = self.pools.entry((local, proto, real)).or_default();
        debug_assert_eq!(pool.fresh, 0, "a port held after others of its pool were taken");
        pool.held.insert(port);
    }

    /// Gives a port back.
    pub fn give_back(&mut self, local: IpAddr, proto: Proto, real: Endpoint, port: u16) {
        let pool = self.pools.get_mut(&(local, proto, real));
        debug_assert!(pool.is_some(), "a port of a pool that was never used");
        if let Some(pool) = pool {
            pool.freed.push_back(port);
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
            held.iter().for_each(|port| ports.hold(LOCAL, Proto::TCP, real(1), *port));
            ports.give_back(LOCAL, Proto::TCP, real(1), 6000);
            let all: Vec<u16> = std::iter::from_fn(|| ports.take(LOCAL, Proto::TCP, real(1))).collect();
            assert_eq!(all.len(), LocalPorts::PER_POOL - held.len() + 1);
            assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
            assert_eq!(all.last(), Some(&6000), "the one given back is reused last");
            assert!(held.iter().all(|port| *port == 6000 || !all.contains(port)));
        }
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
