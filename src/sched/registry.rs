//! The one table of schedulers: names, flags, formulas, and how to make one.
//!
//! Never decides anything; a name that is not here is refused by whoever asked.

use super::{Flags, Scheduler, Servers, Settings};
use super::{dh, fo, lblc, lblcr, lc, mh, none, nq, ovf, rr, sed, sh, twos, wlc, wrr};

/// What there is to know about one scheduler.
pub struct Known {
    /// As in `ipvsadm -s`.
    pub name: &'static str,
    /// The flags it understands, as in `ipvsadm -b`.
    pub flags: &'static [(&'static str, Flags)],
    /// How it chooses, in a line.
    // The table in README.md, which a test compares.
    #[cfg_attr(not(test), allow(dead_code))]
    pub formula: &'static str,
    /// When to use it, in a line.
    #[cfg_attr(not(test), allow(dead_code))]
    pub advice: &'static str,
    new: fn(Flags, &Servers) -> Box<dyn Scheduler>,
}

/// All schedulers, in the order in which documents list them.
pub const ALL: &[Known] = &[
    Known {
        name: "rr",
        flags: &[],
        formula: "next in the list after the last served",
        advice: "equal servers, requests of equal cost",
        new: |_, _| Box::<rr::RoundRobin>::default(),
    },
    Known {
        name: "wrr",
        flags: &[],
        formula: "passes over the list, weight >= a threshold that falls by the gcd of weights",
        advice: "unequal servers, requests of equal cost",
        new: |_, servers| Box::new(wrr::WeightedRoundRobin::new(servers)),
    },
    Known {
        name: "lc",
        flags: &[],
        formula: "min 256 * active + inactive",
        advice: "equal servers, conns of unequal length",
        new: |_, _| Box::new(lc::LeastConnection),
    },
    Known {
        name: "wlc",
        flags: &[],
        formula: "min (256 * active + inactive) / weight",
        advice: "the default: fits most TCP services",
        new: |_, _| Box::new(wlc::WeightedLeastConnection),
    },
    Known {
        name: "sed",
        flags: &[],
        formula: "min (active + 1) / weight",
        advice: "few conns on very unequal servers (TCP)",
        new: |_, _| Box::new(sed::ShortestDelay),
    },
    Known {
        name: "nq",
        flags: &[],
        formula: "the first with active = 0, else min (active + 1) / weight",
        advice: "as sed, but no server may be idle (TCP)",
        new: |_, _| Box::new(nq::NeverQueue),
    },
    Known {
        name: "fo",
        flags: &[],
        formula: "max weight",
        advice: "one server works, others stand by",
        new: |_, _| Box::new(fo::Failover),
    },
    Known {
        name: "ovf",
        flags: &[],
        formula: "max weight of those with active <= weight",
        advice: "fill one server before the next; refuse when all are full",
        new: |_, _| Box::new(ovf::Overflow),
    },
    Known {
        name: "dh",
        flags: &[],
        formula: "owner of the virtual address's bucket, of 256 dealt in turn",
        advice: "a mark service over many addresses: each address to one server",
        new: |_, servers| Box::new(dh::DestinationHash::new(servers)),
    },
    Known {
        name: "sh",
        flags: &[("sh-fallback", Flags::FALLBACK), ("sh-port", Flags::PORT)],
        formula: "owner of the client's bucket, of 256 dealt by weight",
        advice: "each client to one server without state; all move when servers change",
        new: |flags, servers| Box::new(sh::SourceHash::new(flags, servers)),
    },
    Known {
        name: "mh",
        flags: &[("mh-fallback", Flags::FALLBACK), ("mh-port", Flags::PORT)],
        formula: "owner of the client's slot in a Maglev table filled by weight",
        advice: "as sh, on several directors at once; few clients move when servers change",
        new: |flags, _| Box::new(mh::Maglev::new(flags)),
    },
    Known {
        name: "lblc",
        flags: &[],
        formula: "the server cached for the virtual address unless crowded, else as wlc",
        advice: "transparent caches behind a mark service",
        new: |_, _| Box::new(lblc::Locality::new()),
    },
    Known {
        name: "lblcr",
        flags: &[],
        formula: "the least loaded of the set cached for the virtual address unless crowded, else as wlc",
        advice: "as lblc, where one address needs several caches",
        new: |_, _| Box::new(lblcr::Replication::new()),
    },
    Known {
        name: "twos",
        flags: &[],
        formula: "two drawn by weight, of these min (256 * active + inactive) / weight",
        advice: "many directors that share servers: no herd on the least loaded",
        new: |_, _| Box::new(twos::TwoChoices),
    },
    Known {
        name: "none",
        flags: &[],
        formula: "nobody",
        advice: "refuse new conns, keep those that exist",
        new: |_, _| Box::new(none::Nobody),
    },
];

/// The names of all schedulers.
pub const NAMES: &[&str] = &{
    let mut names = [""; ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = ALL[index].name;
        index += 1;
    }
    names
};

/// A new scheduler for a service with these servers; none if there is no such name.
pub fn create(name: &str, flags: Flags, servers: &Servers, _settings: &Settings) -> Option<Box<dyn Scheduler>> {
    let known = ALL.iter().find(|known| known.name == name)?;
    Some((known.new)(flags, servers))
}

/// Flags as `ipvsadm -b` takes them: words between commas, those of this scheduler or `flag-1` to `flag-3`.
///
/// The error is the word that is no flag of this scheduler.
pub fn parse_flags<'a>(name: &str, words: &'a str) -> Result<Flags, &'a str> {
    // A number is all flags together, as `flags_text` writes those that a scheduler has no names for.
    if let Some(bits) = words.parse().ok().filter(|bits| (1..=7).contains(bits)) {
        return Ok(Flags(bits));
    }
    const ANY: &[(&str, Flags)] = &[("flag-1", Flags(1)), ("flag-2", Flags(2)), ("flag-3", Flags(4))];
    let own = ALL.iter().find(|known| known.name == name).map_or(&[][..], |known| known.flags);
    let one = |word: &'a str| own.iter().chain(ANY).find(|(flag, _)| *flag == word).map(|(_, bits)| bits.0).ok_or(word);
    words.split(',').filter(|word| !word.is_empty()).map(one).try_fold(Flags(0), |all, bits| Ok(Flags(all.0 | bits?)))
}

/// Flags as they are listed: this scheduler's names for them; `flag-1` to `flag-3` if it has none; a number if it has
/// names for others only (ipvsadm 1.31).
pub fn flags_text(name: &str, flags: Flags) -> String {
    let own = ALL.iter().find(|known| known.name == name).map_or(&[][..], |known| known.flags);
    let named = own.iter().fold(0, |all, (_, flag)| all | flag.0);
    if named != 0 && flags.0 & !named != 0 {
        return flags.0.to_string();
    }
    let word = |bits: u8, any: &'static str| {
        let named = own.iter().find(|(_, flag)| flag.0 == bits).map_or(any, |(flag, _)| *flag);
        flags.has(Flags(bits)).then_some(named)
    };
    let words = [word(1, "flag-1"), word(2, "flag-2"), word(4, "flag-3")];
    words.into_iter().flatten().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::testing::{Farm, random_flow};
    use super::super::{Flow, Mask};
    use super::*;
    use crate::base::{DestId, Rng};

    #[test]
    fn every_name_makes_a_scheduler_and_no_other_does() {
        let make = |name| create(name, Flags::default(), &Servers::new(&[], &[]), &Settings::default());
        assert!(NAMES.iter().all(|name| make(name).is_some()));
        assert_eq!(NAMES.iter().collect::<HashSet<_>>().len(), 15);
        assert!(["", "RR", "wlc ", "maglev"].into_iter().all(|name| make(name).is_none()));
    }

    /// Random weights, loads and marks, changed on the way; `check` sees every pick.
    fn shake(known: &Known, flags: Flags, check: impl Fn(&Farm, &Flow, Option<DestId>)) {
        let mut rng = Rng::seeded(8);
        // The smallest table of mh is filled sixteen times as fast as the usual one.
        let settings = Settings { mh_table_size: 251, ..Settings::default() };
        for _ in 0..20 {
            let weights: Vec<u32> = (0..1 + rng.below(9)).map(|_| rng.below(5) as u32).collect();
            let mut farm = Farm::with(known.name, flags, settings.clone(), &weights);
            for _ in 0..200 {
                let name = farm.name(DestId(rng.below(weights.len() as u64) as u32));
                match rng.below(6) {
                    0 => farm.weigh(name, rng.below(5) as u32),
                    1 => farm.server(name).overloaded ^= true,
                    2 => farm.server(name).active = rng.below(5) as u32,
                    3 if farm.server(name).available => farm.remove(name),
                    3 => farm.revive(name, rng.below(5) as u32),
                    _ => {}
                }
                let flow = random_flow(&mut rng);
                let picked = farm.pick(&flow);
                check(&farm, &flow, picked);
            }
        }
    }

    #[test]
    fn a_server_that_may_not_be_chosen_never_is() {
        for known in ALL {
            for flags in 0..4 {
                shake(known, Flags(flags), |farm, _, picked| {
                    let Some(id) = picked else { return };
                    let server = &farm.slab[id.index()];
                    assert!(farm.order.contains(&id) && server.weight > 0, "{}: {server:?}", known.name);
                    // The one exception, the kernel's: lblc trusts its cache.
                    assert!(!server.overloaded || known.name == "lblc", "{}: {server:?}", known.name);
                });
            }
        }
    }

    #[test]
    fn somebody_is_chosen_while_somebody_may_be() {
        for known in ALL {
            let hashes = ["dh", "sh", "mh"].contains(&known.name);
            let refuses = ["none", "ovf", "dh"].contains(&known.name);
            let flags = if hashes { Flags::FALLBACK } else { Flags::default() };
            if !refuses {
                shake(known, flags, |farm, _, picked| {
                    let eligible = |id: &DestId| farm.slab[id.index()].eligible();
                    // 2h + offset passes all 256 buckets of sh; H1 need not pass all slots of mh.
                    let there = farm.order.iter().any(eligible) && known.name != "mh";
                    assert!(picked.is_some() || !there, "{}: {:?}", known.name, farm.slab);
                });
            }
        }
    }

    #[test]
    fn a_masked_server_gets_nothing_and_no_other_client_of_a_hash_moves() {
        for known in ALL.iter().filter(|known| known.name != "none") {
            for (flags, mask) in (0..4).flat_map(|bits| [(Flags(bits), Mask::Failed), (Flags(bits), Mask::Unchecked)]) {
                let mut farm = Farm::with(known.name, flags, Settings::default(), &[3, 1, 2, 5]);
                let mut rng = Rng::seeded(5);
                let flows: Vec<Flow> = (0..500).map(|_| random_flow(&mut rng)).collect();
                let before: Vec<_> = flows.iter().map(|flow| farm.pick(flow)).collect();
                let masked = farm.id('C');
                farm.mask('C', mask);
                let after: Vec<_> = flows.iter().map(|flow| farm.pick(flow)).collect();
                assert!(!after.contains(&Some(masked)), "{}", known.name);
                assert!(after.iter().all(Option::is_some), "{}: clients of a failed server go elsewhere", known.name);
                if ["dh", "sh", "mh"].contains(&known.name) {
                    let moved = before.iter().zip(&after).filter(|(was, now)| was != now);
                    assert!(
                        moved.clone().count() > 0 && moved.into_iter().all(|(was, _)| *was == Some(masked)),
                        "{}",
                        known.name
                    );
                    farm.mask('C', Mask::None);
                    let back: Vec<_> = flows.iter().map(|flow| farm.pick(flow)).collect();
                    assert_eq!(back, before, "{}: and come back to it", known.name);
                }
            }
        }
    }

    #[test]
    fn the_readme_has_every_scheduler() {
        let readme = include_str!("../../README.md");
        for Known { name, formula, advice, .. } in ALL {
            assert!(readme.contains(&format!("| `{name}` | {advice} | {formula}")), "README.md: the row of {name}");
        }
    }

    #[test]
    fn two_directors_with_the_same_rules_hash_to_the_same_server() {
        for known in ALL.iter().filter(|known| ["dh", "sh", "mh"].contains(&known.name)) {
            for flags in (0..4).map(Flags) {
                shake(known, flags, |farm, flow, picked| {
                    // The other was started just now, over the list as it is.
                    let servers = Servers::new(&farm.order, &farm.slab);
                    let mut other = (known.new)(flags, &servers);
                    let mut rng = Rng::seeded(99);
                    let mut context = super::super::Context { now: farm.now, rng: &mut rng, settings: &farm.settings };
                    assert_eq!(other.pick(&servers, flow, &mut context), picked, "{}", known.name);
                });
            }
        }
    }
}
