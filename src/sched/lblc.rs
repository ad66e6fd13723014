//! lblc, locality-based least connection: one server for each virtual address, for servers that cache.
//!
//! ```text
//! the server cached for the address, if present, weight > 0 and not crowded
//! crowded: active > weight, while some server has  2 * active < weight
//! else by wlc, and that is cached
//! ```
//!
//! Never asks for the overload mark of a cached server: the kernel does not.

use super::cache::{Cache, Cached, crowded};
use super::load::least;
use super::{Change, Context, Flow, Scheduler, Servers, Settings};
use crate::base::{DestId, Instant};

pub(super) struct Locality {
    cache: Cache<Cached>,
}

impl Locality {
    pub(super) fn new() -> Locality {
        Locality { cache: Cache::new() }
    }
}

impl Scheduler for Locality {
    fn changed(&mut self, servers: &Servers, change: Change, _settings: &Settings) {
        self.cache.values_mut().for_each(|cached| cached.follow(servers, change));
    }

    fn pick(&mut self, servers: &Servers, flow: &Flow, context: &mut Context) -> Option<DestId> {
        self.tick(context.now, context.settings);
        let cached = self.cache.touch(flow.dst.addr, context.now).and_then(|cached| cached.present(servers));
        if let Some((id, server)) = cached
            && server.present_weight() > 0
            && !crowded(server, servers)
        {
            return Some(id);
        }
        let chosen = least(servers, |server| context.settings.overhead.of(server))?;
        self.cache.put(flow.dst.addr, Cached::new(chosen, servers), context.now);
        Some(chosen)
    }

    fn tick(&mut self, now: Instant, settings: &Settings) {
        self.cache.tick(now, settings.lblc_expiration);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Farm, flow};
    use crate::base::{DestId, Instant};

    fn to(farm: &mut Farm, last: u8) -> char {
        let picked = farm.pick(&flow("192.0.2.1", &format!("198.51.100.{last}")));
        picked.map_or('-', |id| farm.name(id))
    }

    #[test]
    fn an_address_keeps_its_server_until_that_is_crowded() {
        let mut farm = Farm::new("lblc", &[2, 2]);
        assert_eq!(to(&mut farm, 1), 'B');
        farm.server('B').active = 2;
        assert_eq!((to(&mut farm, 1), to(&mut farm, 2)), ('B', 'A'));
        farm.server('B').active = 3;
        farm.server('A').active = 1;
        assert_eq!(to(&mut farm, 1), 'B', "nobody is less than half busy");
        farm.server('A').active = 0;
        assert_eq!(to(&mut farm, 1), 'A');
        farm.server('B').active = 0;
        assert_eq!(to(&mut farm, 1), 'A', "and stays there");
    }

    #[test]
    fn a_cached_server_serves_despite_its_overload_mark_but_not_with_weight_0() {
        let mut farm = Farm::new("lblc", &[1, 1]);
        assert_eq!(to(&mut farm, 1), 'B');
        farm.server('B').overloaded = true;
        assert_eq!((to(&mut farm, 1), to(&mut farm, 2)), ('B', 'A'));
        farm.weigh('B', 0);
        assert_eq!(to(&mut farm, 1), 'A');
    }

    #[test]
    fn a_removed_server_is_not_used_and_is_known_again_when_it_returns() {
        let mut farm = Farm::new("lblc", &[1, 1]);
        assert_eq!((to(&mut farm, 1), to(&mut farm, 2)), ('B', 'B'));
        farm.remove('B');
        assert_eq!(to(&mut farm, 1), 'A');
        farm.revive('B', 1);
        assert_eq!((to(&mut farm, 1), to(&mut farm, 2)), ('A', 'B'));
    }

    #[test]
    fn a_removed_servers_slot_may_be_given_to_another_service() {
        let mut farm = Farm::new("lblc", &[1, 1]);
        assert_eq!(to(&mut farm, 1), 'B');
        farm.remove('B');
        farm.slab[DestId(1).index()].available = true;
        assert_eq!(to(&mut farm, 1), 'A');
    }

    #[test]
    fn nobody_is_cached_when_nobody_is_there() {
        let mut farm = Farm::new("lblc", &[0]);
        assert_eq!(to(&mut farm, 1), '-');
        farm.weigh('A', 1);
        assert_eq!(to(&mut farm, 1), 'A');
    }

    #[test]
    fn an_idle_address_is_forgotten() {
        let mut farm = Farm::new("lblc", &[1, 1]);
        farm.settings.lblc_expiration = 60;
        assert_eq!(to(&mut farm, 1), 'B');
        farm.server('B').active = 1;
        farm.now = Instant(29 * 60_000);
        let settings = farm.settings.clone();
        farm.scheduler.tick(farm.now, &settings);
        assert_eq!(to(&mut farm, 1), 'B');
        farm.now = Instant(60 * 60_000);
        assert_eq!(to(&mut farm, 1), 'A');
    }
}
