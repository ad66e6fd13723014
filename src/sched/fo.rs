//! fo, failover: everything to the heaviest eligible server.
//!
//! ```text
//! max  weight                                  ties: the first listed
//! ```
//!
//! Never looks at load; another server is used only when the heaviest is quiesced or overloaded.

use std::cmp::Reverse;

use super::{Context, Flow, Scheduler, Servers};
use crate::base::DestId;

pub(super) struct Failover;

impl Scheduler for Failover {
    fn pick(&mut self, servers: &Servers, _flow: &Flow, _context: &mut Context) -> Option<DestId> {
        let eligible = servers.iter().filter(|(_, server)| server.eligible());
        // The least of the reversed, for of several greatest `max_by_key` takes the last.
        eligible.min_by_key(|(_, server)| Reverse(server.weight)).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Farm;

    #[test]
    fn the_heaviest_serves_until_it_cannot() {
        let mut farm = Farm::new("fo", &[3, 5, 5, 0]);
        farm.server('C').active = 1_000;
        assert_eq!(farm.picks(3), "C C C", "of equals the first listed");
        farm.weigh('C', 0);
        assert_eq!(farm.picks(1), "B");
        farm.server('B').overloaded = true;
        assert_eq!(farm.picks(1), "A");
        farm.weigh('A', 0);
        assert_eq!(farm.picks(1), "-");
    }
}
