//! Fuzzing: targets that take any bytes, and the loop that makes the bytes. `fuzz/main.rs` is its command line.
//!
//! A target never judges by anything but the director's own promises: no panic, every frame accounted for, counters equal
//! to a recount over the table, and what is printed can be read again.

mod answers;
mod director;
mod mutate;
mod netlink;
mod state;
mod text;
mod vrrp;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::base::Rng;

/// Inputs that are kept because they led somewhere new; then the eldest goes.
const KEPT: usize = 2_000;

/// Places that are told apart.
const PLACES: usize = 100_000;

/// What one kind of input goes through.
pub struct Target {
    /// As `scripts/fuzz` takes it.
    pub name: &'static str,
    /// Runs an input. `Ok` says in words where it led: an input that led somewhere new is kept and changed further. `Err`
    /// says which promise it broke.
    run: fn(&[u8]) -> Result<String, String>,
    /// Sound inputs to begin with.
    seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "frames", run: director::frames, seeds: director::frame_seeds },
    Target { name: "sync", run: director::sync, seeds: director::sync_seeds },
    Target { name: "command-line", run: text::command_line, seeds: text::command_line_seeds },
    Target { name: "rules", run: text::rules, seeds: text::rules_seeds },
    Target { name: "toml", run: text::toml, seeds: text::toml_seeds },
    Target { name: "control", run: text::control, seeds: text::control_seeds },
    Target { name: "netlink", run: netlink::netlink, seeds: netlink::netlink_seeds },
    Target { name: "http", run: answers::http, seeds: answers::http_seeds },
    Target { name: "dns", run: answers::dns, seeds: answers::dns_seeds },
    Target { name: "smtp", run: answers::smtp, seeds: answers::smtp_seeds },
    Target { name: "agent", run: answers::agent, seeds: answers::agent_seeds },
    Target { name: "state", run: state::state, seeds: state::state_seeds },
    Target { name: "vrrp", run: vrrp::vrrp, seeds: vrrp::vrrp_seeds },
];

impl Target {
    /// Runs one input; a panic is a broken promise too.
    pub fn check(&self, input: &[u8]) -> Result<String, String> {
        let run = AssertUnwindSafe(|| (self.run)(input));
        catch_unwind(run).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied());
            Err(format!("a panic: {}", text.unwrap_or("of no text")))
        })
    }
}

/// An input that broke a promise.
pub struct Broken {
    /// The bytes.
    pub input: Vec<u8>,
    /// Which promise, and how.
    pub what: String,
}

/// Feeds a target with changed inputs. The same seed makes the same inputs.
pub struct Fuzzer {
    target: &'static Target,
    kept: Vec<Vec<u8>>,
    seen: HashSet<String>,
    rng: Rng,
}

impl Fuzzer {
    /// Begins with the target's own seeds and any others.
    pub fn new(target: &'static Target, others: Vec<Vec<u8>>, seed: u64) -> Fuzzer {
        let mut kept = (target.seeds)();
        kept.extend(others);
        Fuzzer { target, kept, seen: HashSet::new(), rng: Rng::seeded(seed) }
    }

    /// Runs what there is to begin with, unchanged.
    pub fn begin(&mut self) -> Result<(), Broken> {
        for input in self.kept.clone() {
            self.run(input)?;
        }
        Ok(())
    }

    /// Runs one more input.
    pub fn step(&mut self) -> Result<(), Broken> {
        let input = mutate::changed(&self.kept, &mut self.rng);
        self.run(input)
    }

    /// In how many different places inputs have ended so far.
    pub fn places(&self) -> usize {
        self.seen.len()
    }

    fn run(&mut self, input: Vec<u8>) -> Result<(), Broken> {
        match self.target.check(&input) {
            Ok(place) => {
                if self.seen.len() < PLACES && self.seen.insert(place) {
                    if self.kept.len() >= KEPT {
                        self.kept.remove(0);
                    }
                    self.kept.push(input);
                }
                Ok(())
            }
            Err(what) => Err(Broken { input, what }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each file there broke a promise once; its name says which.
    #[test]
    fn what_once_broke_a_promise_is_handled() {
        for target in TARGETS {
            let Ok(files) = std::fs::read_dir(format!("fuzz/regress/{}", target.name)) else { continue };
            for path in files.map(|entry| entry.unwrap().path()) {
                let checked = target.check(&std::fs::read(&path).unwrap());
                assert!(checked.is_ok(), "{}: {checked:?}", path.display());
            }
        }
    }

    /// `scripts/fuzz` goes on where this ends.
    #[test]
    fn a_short_run_of_each_target_breaks_no_promise() {
        for target in TARGETS {
            let mut fuzzer = Fuzzer::new(target, Vec::new(), 11);
            let mut done = fuzzer.begin();
            for _ in 0..600 {
                done = done.and_then(|()| fuzzer.step());
            }
            if let Err(Broken { input, what }) = done {
                panic!("{}: {what}\nof {}", target.name, input.escape_ascii());
            }
            assert!(fuzzer.places() > 10, "{}: {} places", target.name, fuzzer.places());
        }
    }
}
