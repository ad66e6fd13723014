//! sed, shortest expected delay: the eligible server that would serve one more conn soonest.
//!
//! ```text
//! min  (active + 1) / weight                   ties: the first listed
//! ```
//!
//! Never counts inactive conns, so for UDP it is always the heaviest server.

use super::load::least;
use super::{Context, Flow, Scheduler, Servers};
use crate::base::DestId;

pub(super) struct ShortestDelay;

impl Scheduler for ShortestDelay {
    fn pick(&mut self, servers: &Servers, _flow: &Flow, _context: &mut Context) -> Option<DestId> {
        least(servers, |server| u64::from(server.active) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Farm;

    #[test]
    fn the_conn_to_come_counts() {
        let mut farm = Farm::new("sed", &[3, 1, 0, 3]);
        assert_eq!(farm.picks(1), "D");
        farm.server('D').active = 1;
        farm.server('A').inactive = 1_000;
        assert_eq!(farm.picks(1), "A", "inactive conns are not seen");
        farm.server('A').active = 2;
        farm.server('D').active = 2;
        assert_eq!(farm.picks(1), "D", "3/3, 1/1 and 3/3 are a tie");
        farm.server('D').active = 3;
        farm.server('A').active = 3;
        assert_eq!(farm.picks(1), "B");
    }
}
