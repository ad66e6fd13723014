//! twos, weighted random twos choices: two servers drawn by weight, the less loaded of them serves.
//!
//! ```text
//! r uniform in 0..=sum of weights: the first server at which the weights so far reach r; twice
//! the second if  load2 / weight2 < load1 / weight1,  else the first
//! ```
//!
//! Never draws from anything but the injected generator. Sums have 64 bits, where the kernel's 32 overflow.

use std::cmp::Ordering;

use super::load::per_weight;
use super::{Context, Flow, Scheduler, Server, Servers};
use crate::base::DestId;

pub(super) struct TwoChoices;

impl Scheduler for TwoChoices {
    fn pick(&mut self, servers: &Servers, _flow: &Flow, context: &mut Context) -> Option<DestId> {
        let total: u64 = eligible(servers).map(|(_, server)| u64::from(server.weight)).sum();
        let mut draw = || reach(servers, context.rng.below(total + 1));
        let (first, second) = (draw()?, draw()?);
        let load = |(_, server): (DestId, &Server)| (context.settings.overhead.of(server), server.weight);
        match per_weight(load(second), load(first)) {
            Ordering::Less => Some(second.0),
            Ordering::Equal | Ordering::Greater => Some(first.0),
        }
    }
}

fn eligible<'a>(servers: &Servers<'a>) -> impl Iterator<Item = (DestId, &'a Server)> + use<'a> {
    servers.iter().filter(|(_, server)| server.eligible())
}

/// The first server at which the sum of weights reaches `goal`; 0 and 1 both mean the first listed.
fn reach<'a>(servers: &Servers<'a>, goal: u64) -> Option<(DestId, &'a Server)> {
    let mut sum = 0;
    eligible(servers).find(|(_, server)| {
        sum += u64::from(server.weight);
        sum >= goal
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Farm;
    use crate::base::Counted;

    #[test]
    fn idle_servers_are_drawn_by_weight_and_the_first_a_little_more() {
        let mut farm = Farm::new("twos", &[4, 3, 0, 2]);
        let mut counts = [0; 4];
        for _ in 0..100_000 {
            let name = farm.pick_name().unwrap();
            counts[farm.id(name).index()] += 1;
        }
        // Nobody is loaded, so the first draw stands: D (2+1)/10, B 3/10, A 4/10.
        for (count, expected) in counts.into_iter().zip([40_000i32, 30_000, 0, 30_000]) {
            assert!((count - expected).abs() <= expected / 50, "{counts:?}");
        }
    }

    #[test]
    fn load_stays_near_the_weights() {
        let mut farm = Farm::new("twos", &[1, 2, 3, 4]);
        for _ in 0..10_000 {
            let name = farm.pick_name().unwrap();
            farm.server(name).bind(Counted::Active);
        }
        for (name, weight) in ('A'..).zip(1..=4u32) {
            assert!(farm.server(name).active.abs_diff(1_000 * weight) <= 20 * weight, "{:?}", farm.server(name));
        }
    }

    #[test]
    fn nobody_eligible_is_nobody() {
        let mut farm = Farm::new("twos", &[0, 1]);
        farm.server('B').overloaded = true;
        assert_eq!(farm.picks(2), "- -");
        farm.server('B').overloaded = false;
        assert_eq!(farm.picks(4), "B B B B");
    }
}
