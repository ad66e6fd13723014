//! lblcr, locality-based least connection with replication: a set of servers for each virtual address.
//!
//! ```text
//! the least loaded member of the address's set, if it is not crowded (see lblc)
//! else by wlc of all servers, and that joins the set
//! a set of several that did not change for the expiration loses its most loaded member
//! ```
//!
//! Never uses a member that is away, quiesced or overloaded.

use std::cmp::Ordering;
use std::time::Duration;

use super::cache::{Cache, Cached, crowded};
use super::load::{least, per_weight};
use super::{Change, Context, Flow, Overhead, Scheduler, Servers, Settings};
use crate::base::{DestId, Instant};

pub(super) struct Replication {
    cache: Cache<Set>,
}

/// The servers of one address, who joined last first.
struct Set {
    members: Vec<Cached>,
    changed: Instant,
}

impl Replication {
    pub(super) fn new() -> Replication {
        Replication { cache: Cache::new() }
    }
}

impl Set {
    /// The least loaded member that can take a conn; of equals, who joined last.
    fn least(&self, servers: &Servers, overhead: Overhead) -> Option<DestId> {
        let present = self.members.iter().filter_map(|member| member.present(servers));
        let loads = present.filter(|(_, server)| server.eligible());
        let loads = loads.map(|(id, server)| (id, (overhead.of(server), server.weight)));
        loads.min_by(|(_, a), (_, b)| per_weight(*a, *b)).map(|(id, _)| id)
    }

    /// Drops the most loaded member of those with a weight; of equals, who joined last.
    ///
    /// One that is away goes first. The kernel would weigh the conns that it still has.
    fn shrink(&mut self, servers: &Servers, overhead: Overhead, now: Instant) {
        let mut most: Option<(usize, (u64, u32))> = None;
        for (at, member) in self.members.iter().enumerate() {
            let load = match member.present(servers) {
                Some((_, server)) => (overhead.of(server), server.present_weight()),
                None => (u64::MAX, 1),
            };
            if load.1 > 0 && most.is_none_or(|(_, most)| per_weight(load, most) == Ordering::Greater) {
                most = Some((at, load));
            }
        }
        if let Some((at, _)) = most {
            self.members.remove(at);
            self.changed = now;
        }
    }

    fn join(&mut self, member: Cached, now: Instant) {
        if !self.members.contains(&member) {
            self.members.insert(0, member);
            self.changed = now;
        }
    }
}

impl Scheduler for Replication {
    fn changed(&mut self, servers: &Servers, change: Change, _settings: &Settings) {
        let members = self.cache.values_mut().flat_map(|set| set.members.iter_mut());
        members.for_each(|member| member.follow(servers, change));
    }

    fn pick(&mut self, servers: &Servers, flow: &Flow, context: &mut Context) -> Option<DestId> {
        self.tick(context.now, context.settings);
        let Settings { overhead, lblcr_expiration, .. } = *context.settings;
        let all = || least(servers, |server| overhead.of(server));
        let Some(set) = self.cache.touch(flow.dst.addr, context.now) else {
            let chosen = all()?;
            let set = Set { members: vec![Cached::new(chosen, servers)], changed: context.now };
            self.cache.put(flow.dst.addr, set, context.now);
            return Some(chosen);
        };
        // Found before the set shrinks, so it may be the one that is dropped.
        let member = set.least(servers, overhead);
        if set.members.len() > 1 && context.now > set.changed + Duration::from_secs(lblcr_expiration) {
            set.shrink(servers, overhead, context.now);
        }
        if let Some(id) = member
            && !crowded(servers.get(id), servers)
        {
            return Some(id);
        }
        let chosen = all()?;
        set.join(Cached::new(chosen, servers), context.now);
        Some(chosen)
    }

    fn tick(&mut self, now: Instant, settings: &Settings) {
        self.cache.tick(now, settings.lblcr_expiration);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Farm, flow};
    use crate::base::Instant;

    fn to(farm: &mut Farm, last: u8) -> char {
        let picked = farm.pick(&flow("192.0.2.1", &format!("198.51.100.{last}")));
        picked.map_or('-', |id| farm.name(id))
    }

    /// Address 1 is served by A, B and C, who joined in the order C, B, A.
    fn spread() -> Farm {
        let mut farm = Farm::new("lblcr", &[1, 1, 1]);
        for name in ['C', 'B', 'A'] {
            assert_eq!(to(&mut farm, 1), name);
            farm.server(name).active = 2;
        }
        farm
    }

    #[test]
    fn a_set_grows_when_its_least_loaded_member_is_crowded() {
        let mut farm = spread();
        farm.server('B').active = 0;
        assert_eq!(to(&mut farm, 1), 'B', "the least loaded member");
        farm.server('A').active = 0;
        assert_eq!(to(&mut farm, 1), 'A', "of equals, who joined last");
        farm.server('A').overloaded = true;
        assert_eq!(to(&mut farm, 1), 'B', "an overloaded member is passed over");
    }

    #[test]
    fn an_unchanged_set_loses_its_most_loaded_member() {
        let mut farm = spread();
        farm.settings.lblcr_expiration = 1;
        farm.server('B').active = 0;
        farm.server('C').active = 1;
        farm.now = Instant(1_000);
        assert_eq!(to(&mut farm, 1), 'B');
        farm.now = Instant(1_001);
        assert_eq!(to(&mut farm, 1), 'B', "A goes");
        farm.server('A').active = 0;
        farm.server('B').active = 1;
        assert_eq!(to(&mut farm, 1), 'B', "A is no member any more, and B not crowded");
    }

    #[test]
    fn a_member_that_left_is_not_used_and_goes_first() {
        let mut farm = spread();
        farm.settings.lblcr_expiration = 1;
        farm.server('B').active = 0;
        farm.remove('B');
        assert_eq!(to(&mut farm, 1), 'A');
        farm.revive('B', 1);
        assert_eq!(to(&mut farm, 1), 'B', "known again when it returns");
        farm.remove('B');
        farm.now = Instant(1_001);
        assert_eq!(to(&mut farm, 1), 'A');
        farm.revive('B', 1);
        farm.server('A').active = 1;
        assert_eq!(to(&mut farm, 1), 'A');
    }
}
