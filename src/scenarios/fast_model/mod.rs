//! The same conversation with and without a kernel that forwards: the same frames leave, and the same is known afterwards.
//!
//! Beside the model of the kernel stands the program itself, where it may be loaded. `TAPVS_SEEDS` in the environment says how many
//! conversations there are.

mod alike;
mod case;
mod side;

use crate::base::Rng;
use crate::director::Settings;
use crate::testing::{KernelModel, Shadow};

use alike::{compare, compare_known, without_ids};
use case::{Case, PLAIN, Step};
use side::Side;

/// Conversations, and steps of each.
const SEEDS: u64 = 90;
const STEPS: usize = 150;
const ROOM: usize = 8;

/// A conversation; how many frames the kernel has forwarded.
fn converse(seed: u64, shadow: Option<&Shadow>) -> u64 {
    let (mut rng, case) = (Rng::seeded(seed), Case::of(seed));
    let settings = Settings { icmp_rate: 0, expire_nodest_conn: rng.below(2) == 0, ..Settings::default() };
    let settings = Settings { fullnat_sequence: rng.below(2) == 0, pmtu_disc: rng.below(4) > 0, ..settings };
    shadow.inspect(|shadow| shadow.empty());
    let kernel = KernelModel::with_shadow(ROOM, shadow.cloned());
    let key = [seed, !seed];
    let mut without = Side::new(case, settings.clone(), key, None);
    let mut with = Side::new(case, settings, key, Some(kernel));
    let mut frames = 0;
    for number in 0..STEPS {
        let step = case.step(&mut rng);
        if matches!(step, Step::Worker { .. }) {
            frames += with.lab.director.fast.report.frames;
        }
        let mut said = [&mut without, &mut with].map(|side| side.take(case, &step));
        said.iter_mut().flatten().for_each(|frame| without_ids(frame, !case.is_nat()));
        let conns = [&without, &with].map(|side| side.lab.director.flows.conns.len());
        assert_eq!(conns[0], conns[1], "conns, seed {seed}, step {number}: {step:02x?}");
        compare(case, &said, || format!("seed {seed} {}, step {number}: {step:02x?}", case.method));
    }
    compare_known(without.known(case.crashes), with.known(case.crashes), case, || {
        format!("seed {seed} {}", case.method)
    });
    with.lab.recount().unwrap();
    assert!(with.lab.turn.ledger().balances());
    frames + with.lab.director.fast.report.frames
}

#[test]
fn with_and_without_a_kernel_the_same_leaves_and_the_same_is_known() {
    let seeds = std::env::var("TAPVS_SEEDS").ok().map_or(SEEDS, |number| number.parse().unwrap());
    let shadow = Shadow::new(1);
    let mut forwarded = [0; PLAIN];
    for seed in 0..seeds {
        forwarded[seed as usize % PLAIN] += converse(seed, shadow.as_ref());
    }
    let least = seeds / PLAIN as u64 * 10;
    assert!(forwarded.iter().all(|frames| *frames >= least), "the kernel had little to do: {forwarded:?}");
}
