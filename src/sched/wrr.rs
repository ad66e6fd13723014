//! wrr, weighted round robin: passes over the list, each taking servers of at least a weight that falls.
//!
//! ```text
//! step = gcd of weights;  ceiling = greatest weight - (step - 1)
//! next server in the list with weight >= threshold; at the end of the list threshold -= step,
//! and back to the ceiling once it is used up
//! ```
//!
//! Not smooth: heavy servers come in bursts. Any change of the list starts at its head again but keeps
//! the threshold, so the first round after servers were added one by one is often a plain pass over all.
//! Never looks at load.

use std::ops::Range;

use super::{Change, Context, Flow, Scheduler, Servers, Settings};
use crate::base::DestId;

pub(super) struct WeightedRoundRobin {
    /// 0 is before the first server, n is at the n-th.
    position: usize,
    threshold: i64,
    ceiling: i64,
    step: i64,
}

impl WeightedRoundRobin {
    pub(super) fn new(servers: &Servers) -> WeightedRoundRobin {
        let (step, ceiling) = measure(servers);
        WeightedRoundRobin { position: 0, threshold: ceiling, ceiling, step }
    }

    /// The first server in `range` with weight enough; if there is none, the greatest weight met.
    fn scan(&self, servers: &Servers, range: Range<usize>) -> Result<usize, i64> {
        let mut heaviest = 0;
        for position in range {
            let (_, server) = servers.at(position);
            let weight = if server.overloaded { 0 } else { i64::from(server.present_weight()) };
            if weight >= self.threshold {
                return Ok(position);
            }
            heaviest = heaviest.max(weight);
        }
        Err(heaviest)
    }

    /// Lowers the threshold by as many steps as passes would be needed to find one of weight `heaviest`.
    ///
    /// One by one it would be 65,535 passes when the one heavy server is overloaded. The last pass, at
    /// a threshold of at most one step, is never jumped over: it decides that no server is eligible.
    fn lower(&mut self, heaviest: i64) {
        let excess = self.threshold - heaviest.max(self.step);
        let steps = ((excess + self.step - 1) / self.step).max(1);
        self.threshold -= steps * self.step;
    }
}

impl Scheduler for WeightedRoundRobin {
    fn changed(&mut self, servers: &Servers, _change: Change, _settings: &Settings) {
        (self.step, self.ceiling) = measure(servers);
        self.position = 0;
        if self.threshold > self.ceiling || self.threshold == 0 {
            self.threshold = self.ceiling;
        } else if self.step > 1 {
            self.threshold = self.threshold / self.step * self.step + 1;
        }
    }

    fn pick(&mut self, servers: &Servers, _flow: &Flow, _context: &mut Context) -> Option<DestId> {
        if self.ceiling == 0 {
            return None;
        }
        let begun = self.position.min(servers.len());
        let mut range = begun..servers.len();
        let (mut restarted, mut last_pass, mut closing) = (false, false, false);
        loop {
            match self.scan(servers, range.clone()) {
                Ok(found) => {
                    self.position = found + 1;
                    return Some(servers.at(found).0);
                }
                // Everyone was asked for a weight of at least 1, up to where the search began.
                Err(_) if closing => return None,
                Err(heaviest) if range.start == 0 => self.lower(heaviest),
                Err(_) => self.threshold -= self.step,
            }
            if self.threshold <= 0 {
                self.threshold = self.ceiling;
                if last_pass || begun == 0 {
                    self.position = 0;
                    return None;
                }
                restarted = true;
            }
            last_pass = self.threshold <= self.step;
            closing = last_pass && restarted;
            range = if closing { 0..begun } else { 0..servers.len() };
        }
    }
}

/// Step and ceiling for a list.
fn measure(servers: &Servers) -> (i64, i64) {
    let weights = || servers.iter().map(|(_, server)| server.present_weight());
    let step = i64::from(weights().fold(0, gcd).max(1));
    (step, i64::from(weights().max().unwrap_or(0)) - (step - 1))
}

/// The greatest common divisor; of 0 and x, x.
pub(super) fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Farm;
    use super::*;
    use crate::base::Rng;

    #[test]
    fn rounds_come_out_as_in_the_kernel() {
        let vectors: [(&[u32], &str); 8] = [
            (&[3, 2, 1], "C B A A B A C B A A B A C B A A"),
            (&[1, 2, 3], "C B A C C B C B A C C B C B A C"),
            (&[4, 2, 2], "C B A A C B A A C B A A C B A A"),
            (&[5, 1, 1], "C B A A A A A C B A A A A A C B"),
            (&[10, 0, 5], "C A A C A A C A A C A A C A A C"),
            (&[1, 1], "B A B A B A B A B A B A B A B A"),
            (&[100, 50], "B A A B A A B A A B A A B A A B"),
            (&[6, 4, 3], "C B A A A B A C B A C B A C B A"),
        ];
        for (weights, picks) in vectors {
            assert_eq!(Farm::new("wrr", weights).picks(16), picks, "{weights:?}");
        }
    }

    #[test]
    fn an_edit_starts_at_the_head_and_keeps_the_threshold() {
        let mut farm = Farm::new("wrr", &[3, 2, 1]);
        assert_eq!(farm.picks(2), "C B");
        farm.weigh('B', 5);
        assert_eq!(farm.picks(16), "C B A B B B A B A C B A B B B A");
    }

    #[test]
    fn created_over_a_full_list_the_first_round_is_at_the_ceiling() {
        let mut farm = Farm::new("rr", &[3, 2, 1]);
        farm.scheduler = Box::new(WeightedRoundRobin::new(&Servers::new(&farm.order, &farm.slab)));
        assert_eq!(farm.picks(6), "A B A C B A");
    }

    #[test]
    fn shares_are_the_weights_exactly_after_whole_rounds() {
        let mut rng = Rng::seeded(5);
        for _ in 0..50 {
            let weights: Vec<u32> = (0..1 + rng.below(12)).map(|_| rng.below(20) as u32).collect();
            let mut farm = Farm::new("wrr", &weights);
            let round: u32 = weights.iter().sum();
            let mut counts = vec![0; weights.len()];
            for _ in 0..round * 3 {
                let name = farm.pick_name().unwrap();
                counts[farm.id(name).index()] += 1;
            }
            let expected: Vec<u32> = weights.iter().map(|weight| weight * 3).collect();
            assert_eq!(counts, expected, "{weights:?}");
        }
    }

    /// The same search with every pass done, one step at a time, and the list walked as a ring.
    fn pick_slowly(state: &mut WeightedRoundRobin, servers: &Servers) -> Option<DestId> {
        let (begun, mut at) = (state.position, state.position);
        let (mut restarted, mut last_pass) = (false, false);
        while state.ceiling != 0 {
            while at < servers.len() {
                at += 1;
                let (id, server) = servers.at(at - 1);
                if !server.overloaded && i64::from(server.weight) >= state.threshold {
                    state.position = at;
                    return Some(id);
                }
                if restarted && last_pass && at == begun {
                    return None;
                }
            }
            at = 0;
            state.threshold -= state.step;
            if state.threshold <= 0 {
                state.threshold = state.ceiling;
                if last_pass || begun == 0 {
                    state.position = 0;
                    return None;
                }
                restarted = true;
            }
            last_pass = state.threshold <= state.step;
        }
        None
    }

    #[test]
    fn jumping_thresholds_changes_nothing() {
        let mut rng = Rng::seeded(9);
        for _ in 0..300 {
            let factor = 1 + rng.below(3);
            let weights: Vec<u32> = (0..1 + rng.below(6)).map(|_| (rng.below(9) * factor) as u32).collect();
            let mut farm = Farm::new("rr", &weights);
            let new = |farm: &Farm| WeightedRoundRobin::new(&Servers::new(&farm.order, &farm.slab));
            let mut slow = new(&farm);
            farm.scheduler = Box::new(new(&farm));
            for step in 0..60 {
                for server in &mut farm.slab {
                    server.overloaded = rng.below(3) > 0;
                }
                let expected = pick_slowly(&mut slow, &Servers::new(&farm.order, &farm.slab));
                let picked = farm.pick_name();
                assert_eq!(picked, expected.map(|id| farm.name(id)), "{weights:?} step {step}");
            }
        }
    }
}
