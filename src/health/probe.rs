//! The state machine of one probe.
//!
//! ```text
//! state     outcome                    state              next probe after
//! Unknown   passed                     Up                 interval
//! Unknown   failed                     Down               down interval
//! Up        passed                     Up, bad = 0        interval
//! Up        failed, bad + 1 < fall     Up ("falling")     fast interval
//! Up        failed, bad + 1 = fall     Down               down interval
//! Down      failed                     Down, ok = 0       down interval
//! Down      passed, ok + 1 < rise      Down ("rising")    fast interval
//! Down      passed, ok + 1 = rise      Up                 interval
//! any       local error                unchanged; 3 * fall in a row: Unknown    fast interval
//! Up        accused by clients         as failed, once between two probes        at once
//! ```
//! Times run from the start of a probe to the start of the next, with 10 % of jitter. A living probe always has a due
//! time or is running.

use std::time::Duration;

use super::check::Timing;
use super::outcome::Reason;
use super::verdict::{Change, History, Verdict};
use crate::base::{Instant, Rng};

/// The first probe comes within this time.
const FIRST_WITHIN: Duration = Duration::from_secs(2);

/// Names a probe; never used again for another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ProbeId(pub u64);

/// What a probe's outcome counts as.
pub(super) enum Vote {
    Good,
    Bad(Reason),
    Local(Reason),
    /// An agent that said nothing about it, or was not there.
    None(Option<Reason>),
}

/// One probe: its verdict and when it is due.
#[derive(Debug)]
pub(super) struct Probe {
    pub timing: Timing,
    pub verdict: Verdict,
    pub since: Instant,
    pub history: History,
    /// The reason of the last failure, and when it was.
    pub last_failure: Option<(Instant, Reason)>,
    /// How long the last probe took.
    pub took: Duration,
    /// Failures in a row that this host is to blame for.
    pub local: u32,
    good: u32,
    bad: u32,
    /// Clients have said something since the last probe.
    accused: bool,
    /// When it is started next; while it runs, when it was started.
    pub due: Instant,
    pub running: bool,
}

impl Probe {
    /// A probe that is due soon, each at a moment of its own.
    pub fn new(timing: Timing, now: Instant, rng: &mut Rng) -> Probe {
        let within = timing.interval.min(FIRST_WITHIN).as_millis() as u64;
        Probe {
            timing,
            verdict: Verdict::Unknown,
            since: now,
            history: History::default(),
            last_failure: None,
            took: Duration::ZERO,
            local: 0,
            good: 0,
            bad: 0,
            accused: false,
            due: now + Duration::from_millis(rng.below(within.max(1))),
            running: false,
        }
    }

    /// It has been started; it is not started again before it has ended.
    pub fn started(&mut self, now: Instant) {
        (self.running, self.due) = (true, now);
    }

    /// As soon as possible.
    pub fn hurry(&mut self, now: Instant) {
        if !self.running {
            self.due = now;
        }
    }

    /// Clients are refused: one failure, and a probe at once, which has the last word. True if the verdict has changed.
    pub fn accused(&mut self, reason: Reason, now: Instant) -> bool {
        self.hurry(now);
        if self.verdict != Verdict::Up || std::mem::replace(&mut self.accused, true) {
            return false;
        }
        self.last_failure = Some((now, reason.clone()));
        let reason = self.count(Vote::Bad(reason));
        self.turned(Verdict::Up, reason, now)
    }

    /// The outcome; true if the verdict has changed.
    pub fn ended(&mut self, vote: Vote, now: Instant, rng: &mut Rng) -> bool {
        let before = self.verdict;
        self.took = now.since(self.due);
        match &vote {
            Vote::Bad(reason) | Vote::Local(reason) | Vote::None(Some(reason)) => {
                self.last_failure = Some((now, reason.clone()));
            }
            Vote::Good | Vote::None(None) => {}
        }
        let reason = self.count(vote);
        let begun = self.due;
        (self.running, self.accused) = (false, false);
        self.due = (begun + jittered(self.pause(), rng)).max(now);
        self.turned(before, reason, now)
    }

    fn turned(&mut self, before: Verdict, reason: Option<Reason>, now: Instant) -> bool {
        if self.verdict == before {
            return false;
        }
        self.since = now;
        self.history.add(Change { at: now, to: self.verdict, reason });
        true
    }

    /// The table above; the reason of a failure is handed back.
    fn count(&mut self, vote: Vote) -> Option<Reason> {
        let Timing { rise, fall, .. } = self.timing;
        match vote {
            Vote::Good => {
                (self.good, self.bad, self.local) = (self.good.saturating_add(1), 0, 0);
                if self.verdict == Verdict::Unknown || self.good >= rise {
                    self.verdict = Verdict::Up;
                }
                None
            }
            Vote::Bad(reason) => {
                (self.good, self.bad, self.local) = (0, self.bad.saturating_add(1), 0);
                if self.verdict == Verdict::Unknown || self.bad >= fall {
                    self.verdict = Verdict::Down;
                }
                Some(reason)
            }
            Vote::Local(reason) => {
                self.local = self.local.saturating_add(1);
                if self.local >= 3 * fall {
                    (self.verdict, self.good, self.bad) = (Verdict::Unknown, 0, 0);
                }
                Some(reason)
            }
            Vote::None(reason) => {
                self.local = 0;
                reason
            }
        }
    }

    fn pause(&self) -> Duration {
        let turns = match self.verdict {
            Verdict::Up => self.bad > 0,
            Verdict::Down => self.good > 0,
            Verdict::Unknown => false,
        };
        if turns || self.local > 0 { self.timing.fast } else { self.timing.between(self.verdict) }
    }
}

/// 90 to 110 % of a time.
fn jittered(pause: Duration, rng: &mut Rng) -> Duration {
    let tenth = pause / 10;
    pause - tenth + Duration::from_millis(rng.below(2 * tenth.as_millis() as u64 + 1))
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Stage;
    use super::*;

    fn bad() -> Vote {
        Vote::Bad(Reason::new(Stage::Connect, "refused"))
    }

    fn local() -> Vote {
        Vote::Local(Reason::new(Stage::Connect, "no file descriptor"))
    }

    struct Case {
        probe: Probe,
        now: Instant,
        rng: Rng,
    }

    impl Case {
        fn new() -> Case {
            let mut rng = Rng::seeded(5);
            Case { probe: Probe::new(Timing::default(), Instant(1000), &mut rng), now: Instant(1000), rng }
        }

        /// Runs the probe when it is due, for 100 ms; its verdict and the seconds from start to start, rounded.
        fn run(&mut self, vote: Vote) -> (Verdict, u64) {
            assert!(!self.probe.running && self.probe.due >= self.now, "always due, never in the past");
            let begun = self.probe.due;
            self.probe.started(begun);
            self.now = begun + Duration::from_millis(100);
            self.probe.ended(vote, self.now, &mut self.rng);
            let pause = self.probe.due.since(begun).as_millis() as u64;
            let seconds = (pause + 500) / 1000;
            assert!((seconds * 900..=seconds * 1100).contains(&pause), "{pause} ms is more than 10 % off");
            (self.probe.verdict, seconds)
        }
    }

    /// Every row of the table, with the default times: interval 2, fast 1, down 5; rise 2, fall 3.
    #[test]
    fn a_probe_goes_from_row_to_row_of_the_table() {
        use Verdict::{Down, Unknown, Up};
        let mut case = Case::new();
        assert_eq!(case.run(Vote::Good), (Up, 2), "one success makes the first verdict");
        assert_eq!(case.run(Vote::Good), (Up, 2));
        assert_eq!(case.run(bad()), (Up, 1), "falling");
        assert_eq!(case.run(bad()), (Up, 1));
        assert_eq!(case.run(Vote::Good), (Up, 2), "a success forgets the failures");
        assert_eq!(case.run(bad()), (Up, 1));
        assert_eq!(case.run(bad()), (Up, 1));
        assert_eq!(case.run(bad()), (Down, 5), "the third in a row");
        assert_eq!(case.run(bad()), (Down, 5));
        assert_eq!(case.run(Vote::Good), (Down, 1), "rising");
        assert_eq!(case.run(bad()), (Down, 5), "a failure forgets the success");
        assert_eq!(case.run(Vote::Good), (Down, 1));
        assert_eq!(case.run(Vote::Good), (Up, 2), "the second in a row");
        for _ in 0..8 {
            assert_eq!(case.run(local()), (Up, 1), "this host's fault changes nothing");
        }
        assert_eq!(case.run(local()), (Unknown, 1), "but nine in a row leave nothing to be held");
        assert_eq!(case.run(Vote::Good), (Up, 2));
        assert_eq!(Case::new().run(bad()), (Down, 5), "one failure makes the first verdict");
        assert_eq!(Case::new().run(Vote::None(None)), (Unknown, 2), "an agent without a word on it");
        let verdicts: Vec<Verdict> = case.probe.history.iter().map(|change| change.to).collect();
        assert_eq!(verdicts, [Up, Down, Up, Unknown, Up]);
    }

    #[test]
    fn first_probes_are_spread_and_none_runs_twice_at_once() {
        let mut rng = Rng::seeded(1);
        let dues: Vec<u64> = (0..1000).map(|_| Probe::new(Timing::default(), Instant(0), &mut rng).due.0).collect();
        for tenth in 0..10 {
            let there = dues.iter().filter(|due| **due / 200 == tenth).count();
            assert!((50..=150).contains(&there), "{there} of 1000 in {tenth}");
        }
        let mut probe = Probe::new(Timing::default(), Instant(0), &mut rng);
        probe.started(Instant(5000));
        probe.hurry(Instant(5100));
        assert!(probe.running && probe.due == Instant(5000));
        probe.ended(Vote::Good, Instant(60_000), &mut rng);
        assert_eq!(probe.due, Instant(60_000), "one that took too long is followed at once");
    }
}
