//! wlc, weighted least connection: the eligible server with the least load per unit of weight.
//!
//! ```text
//! min  (256 * active + inactive) / weight      ties: the first listed
//! ```
//!
//! Never divides (see `load`).

use super::load::least;
use super::{Context, Flow, Scheduler, Servers};
use crate::base::DestId;

pub(super) struct WeightedLeastConnection;

impl Scheduler for WeightedLeastConnection {
    fn pick(&mut self, servers: &Servers, _flow: &Flow, context: &mut Context) -> Option<DestId> {
        least(servers, |server| context.settings.overhead.of(server))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Farm;
    use crate::base::Counted;
    use crate::base::Rng;

    #[test]
    fn load_is_seen_in_proportion_to_weight() {
        let mut farm = Farm::new("wlc", &[2, 3, 0]);
        assert_eq!(farm.picks(1), "B");
        farm.server('A').active = 2;
        farm.server('B').active = 3;
        assert_eq!(farm.picks(1), "B", "a tie: the first listed");
        farm.server('B').inactive = 1;
        assert_eq!(farm.picks(1), "A");
        farm.server('A').overloaded = true;
        assert_eq!(farm.picks(1), "B");
    }

    /// As many conns come as go: what each server holds converges to its weight.
    #[test]
    fn under_steady_load_conns_converge_to_weights() {
        let mut rng = Rng::seeded(4);
        let weights = [1, 2, 3, 5, 9, 0];
        let mut farm = Farm::new("wlc", &weights);
        let mut open = vec![];
        for _ in 0..20_000 {
            if open.len() == 2_000 {
                let name: char = open.swap_remove(rng.below(2_000) as usize);
                farm.server(name).unbind(Counted::Active);
            }
            let name = farm.pick_name().unwrap();
            farm.server(name).bind(Counted::Active);
            open.push(name);
        }
        for (name, weight) in ('A'..).zip(weights) {
            let expected = 2_000 * weight / 20;
            assert!(farm.server(name).active.abs_diff(expected) <= weight, "{name}: {:?}", farm.server(name));
        }
    }
}
