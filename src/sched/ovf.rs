//! ovf, overflow: the heaviest server until it holds more conns than its weight, then the next.
//!
//! ```text
//! max  weight  of those with active <= weight  ties: the first listed
//! ```
//!
//! Never falls back: with all servers full none is picked. Weight 1 takes two conns, as in the kernel.

use std::cmp::Reverse;

use super::{Context, Flow, Scheduler, Servers};
use crate::base::DestId;

pub(super) struct Overflow;

impl Scheduler for Overflow {
    fn pick(&mut self, servers: &Servers, _flow: &Flow, _context: &mut Context) -> Option<DestId> {
        let room = servers.iter().filter(|(_, server)| server.eligible() && server.active <= server.weight);
        room.min_by_key(|(_, server)| Reverse(server.weight)).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Farm;
    use crate::base::Counted;

    #[test]
    fn each_server_takes_one_more_than_its_weight() {
        let mut farm = Farm::new("ovf", &[2, 1, 0, 1]);
        farm.server('D').inactive = 100;
        let mut picks = String::new();
        for _ in 0..8 {
            let picked = farm.pick_name();
            picks.push(picked.unwrap_or('-'));
            if let Some(name) = picked {
                farm.server(name).bind(Counted::Active);
            }
        }
        assert_eq!(picks, "AAADDBB-");
    }
}
