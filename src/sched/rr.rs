//! rr, round robin: the next eligible server after the one that served last.
//!
//! ```text
//! scan  last+1 .. end, then head .. last
//! ```
//!
//! Never looks at weights other than 0, and keeps its place when servers come, go or are edited.

use super::{Change, Context, Flow, Scheduler, Servers, Settings};
use crate::base::DestId;

/// The place in the list: 0 is before the first server, n is at the n-th.
#[derive(Default)]
pub(super) struct RoundRobin {
    last: usize,
}

impl Scheduler for RoundRobin {
    fn changed(&mut self, _servers: &Servers, change: Change, _settings: &Settings) {
        match change {
            // Before the first stays before the first: who came just now is next.
            Change::Added(_) if self.last > 0 => self.last += 1,
            // If the last served itself left, its predecessor takes its place.
            Change::Removed { position, .. } if position < self.last => self.last -= 1,
            Change::Added(_) | Change::Removed { .. } | Change::Edited(_) => {}
        }
    }

    fn pick(&mut self, servers: &Servers, _flow: &Flow, _context: &mut Context) -> Option<DestId> {
        let last = self.last.min(servers.len());
        let position = (last..servers.len()).chain(0..last).find(|at| servers.at(*at).1.eligible())?;
        self.last = position + 1;
        Some(servers.at(position).0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Farm;
    use crate::base::Rng;

    #[test]
    fn the_place_is_kept_while_servers_come_and_go() {
        let mut farm = Farm::new("rr", &[1, 1, 1]);
        assert_eq!(farm.picks(9), "C B A C B A C B A");
        assert_eq!(farm.picks(1), "C");
        farm.remove('C');
        assert_eq!(farm.picks(4), "B A B A");
        farm.add_as('E', 1);
        assert_eq!(farm.picks(6), "E B A E B A");
        farm.weigh('A', 0);
        assert_eq!(farm.picks(4), "E B E B");
    }

    #[test]
    fn without_an_eligible_server_nobody_is_picked_and_the_place_stays() {
        let mut farm = Farm::new("rr", &[1, 1, 1]);
        assert_eq!(farm.picks(1), "C");
        ['A', 'B', 'C'].into_iter().for_each(|name| farm.weigh(name, 0));
        assert_eq!(farm.picks(2), "- -");
        ['A', 'B', 'C'].into_iter().for_each(|name| farm.weigh(name, 7));
        assert_eq!(farm.picks(3), "B A C");
        assert_eq!(Farm::new("rr", &[]).picks(1), "-");
    }

    #[test]
    fn removing_any_other_server_does_not_skip_one() {
        for (gone, then) in [('D', "B A C B"), ('C', "B A D B"), ('B', "A D C A"), ('A', "B D C B")] {
            let mut farm = Farm::new("rr", &[1, 1, 1, 1]);
            assert_eq!(farm.picks(2), "D C");
            farm.remove(gone);
            assert_eq!(farm.picks(4), then, "without {gone}");
        }
    }

    /// The list with a pointer into it, as the kernel has it, against the index.
    #[test]
    fn the_index_moves_as_a_pointer_would() {
        let mut rng = Rng::seeded(3);
        let mut farm = Farm::new("rr", &[1, 1]);
        let mut list = vec!['B', 'A'];
        let mut last: Option<char> = None;
        let mut spare: Vec<char> = ('C'..='Z').collect();
        for _ in 0..2_000 {
            match rng.below(4) {
                0 if !spare.is_empty() => {
                    let name = spare.remove(0);
                    farm.add_as(name, 1);
                    list.insert(0, name);
                }
                1 if !list.is_empty() => {
                    let at = rng.below(list.len() as u64) as usize;
                    let name = list.remove(at);
                    spare.push(name);
                    farm.remove(name);
                    if last == Some(name) {
                        last = at.checked_sub(1).map(|before| list[before]);
                    }
                }
                _ => {
                    let next = last.map_or(0, |name| list.iter().position(|n| *n == name).unwrap() + 1);
                    let expected = list.get(next).or(list.first()).copied();
                    last = expected.or(last);
                    assert_eq!(farm.pick_name(), expected);
                }
            }
        }
    }
}
