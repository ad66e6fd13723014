//! Counters in the state file: what moves with packets is copied there, so that a crash loses little.
//!
//! Few are copied in every turn of the loop, many from time to time.

use std::time::Duration;

use super::Daemon;
use crate::base::Instant;
use crate::config::rules_of;
use crate::state::facts::Fact;

/// How long a count may be missing after a crash.
const SAVED_EVERY: Duration = Duration::from_millis(100);
/// So few services have their counters copied in every turn, so that none is missing.
const SAVED_AT_ONCE: usize = 16;

impl Daemon {
    pub(super) fn save_counters_at_times(&mut self, now: Instant) {
        if now >= self.saving || self.has_few_counters() {
            self.saving = now + SAVED_EVERY;
            self.save_counters();
        }
    }

    fn has_few_counters(&self) -> bool {
        self.director.flows.services.iter().map(|service| 1 + service.dests.len()).take(SAVED_AT_ONCE).sum::<usize>()
            < SAVED_AT_ONCE
    }

    /// Copies what moves with packets to the state.
    pub(super) fn save_counters(&mut self) {
        let kept = self.director.take_kept();
        let Some(state) = &mut self.state else { return };
        for (id, kept) in kept {
            state.note_fact(Fact::Conn(id.index() as u32, kept), &self.director, || rules_of(&self.director));
        }
        state.save_counters(&self.director);
        state.runs(self.turn.now);
    }
}
