//! lc, least connection: the eligible server with the least load.
//!
//! ```text
//! min  256 * active + inactive                 ties: the first listed
//! ```
//!
//! Never looks at weights other than 0.

use super::{Context, Flow, Scheduler, Servers};
use crate::base::DestId;

pub(super) struct LeastConnection;

impl Scheduler for LeastConnection {
    fn pick(&mut self, servers: &Servers, _flow: &Flow, context: &mut Context) -> Option<DestId> {
        let overhead = context.settings.overhead;
        let eligible = servers.iter().filter(|(_, server)| server.eligible());
        eligible.min_by_key(|(_, server)| overhead.of(server)).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Farm;

    #[test]
    fn the_least_load_wins_whatever_the_weights() {
        let mut farm = Farm::new("lc", &[1, 100, 1, 0]);
        assert_eq!(farm.picks(1), "C", "of equals the first listed");
        farm.server('C').inactive = 256;
        farm.server('B').active = 1;
        assert_eq!(farm.picks(1), "A");
        farm.server('A').active = 1;
        assert_eq!(farm.picks(1), "C", "256 inactive conns weigh as one active");
        farm.server('C').overloaded = true;
        assert_eq!(farm.picks(1), "B");
        farm.weigh('B', 0);
        farm.weigh('A', 0);
        assert_eq!(farm.picks(1), "-");
    }

    #[test]
    fn the_newer_formula_counts_active_conns_once_more() {
        let mut farm = Farm::new("lc", &[1, 1]);
        farm.server('A').inactive = 256;
        farm.server('B').active = 1;
        assert_eq!(farm.picks(1), "B");
        farm.settings.overhead = super::super::Overhead::Current;
        assert_eq!(farm.picks(1), "A");
    }
}
