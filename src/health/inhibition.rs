//! For how long a server takes no conns that nobody probes and that clients accuse.
//!
//! Never decides whether it is masked.

use std::time::Duration;

use super::outcome::{Reason, Stage};
use crate::base::Instant;

/// A server that nobody probes is masked so long at first.
const SHORTEST: Duration = Duration::from_secs(5);
/// And so long at most.
const LONGEST: Duration = Duration::from_secs(300);

/// The time for which a server is masked that nobody probes.
#[derive(Debug, Default)]
pub(super) struct Inhibition {
    /// How long it was masked last.
    pause: Duration,
    /// When that ends, or has ended.
    pub ends: Instant,
    why: Option<Reason>,
}

impl Inhibition {
    /// Twice as long as the last time, which counts half for each so long a time that has passed in peace since.
    pub(super) fn begin(&mut self, why: &str, now: Instant) {
        let mut peace = now.since(self.ends);
        while !self.pause.is_zero() && peace >= self.pause {
            peace -= self.pause;
            self.pause /= 2;
        }
        self.pause = (2 * self.pause).clamp(SHORTEST, LONGEST);
        self.ends = now + self.pause;
        self.why = Some(Reason::new(Stage::Connect, format!("{why}; tried again in {} s", self.pause.as_secs())));
    }

    /// Why the server is masked, while it is.
    pub(super) fn holds(&self, now: Instant) -> Option<&Reason> {
        self.why.as_ref().filter(|_| now < self.ends)
    }
}
