//! nq, never queue: an idle server if there is one, else as sed.
//!
//! ```text
//! the first listed with active = 0, else  min (active + 1) / weight
//! ```
//!
//! Never prefers a heavy idle server to a light one, and never counts inactive conns.

use super::load::least;
use super::{Context, Flow, Scheduler, Servers};
use crate::base::DestId;

pub(super) struct NeverQueue;

impl Scheduler for NeverQueue {
    fn pick(&mut self, servers: &Servers, _flow: &Flow, _context: &mut Context) -> Option<DestId> {
        let idle = servers.iter().find(|(_, server)| server.active == 0 && server.eligible());
        idle.map(|(id, _)| id).or_else(|| least(servers, |server| u64::from(server.active) + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Farm;

    #[test]
    fn idle_servers_come_first_in_list_order_then_the_shortest_delay() {
        let mut farm = Farm::new("nq", &[9, 1, 0, 2]);
        assert_eq!(farm.picks(1), "D");
        farm.server('D').active = 1;
        assert_eq!(farm.picks(1), "B", "the first idle, not the heaviest");
        farm.server('B').active = 1;
        assert_eq!(farm.picks(1), "A");
        farm.server('A').active = 8;
        assert_eq!(farm.picks(1), "D", "2/2 before 9/9 and 2/1");
        farm.server('D').overloaded = true;
        assert_eq!(farm.picks(1), "A");
    }
}
