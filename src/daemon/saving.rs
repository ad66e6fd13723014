//! Counters in the state file: what moves with packets is copied there, so that a crash loses little.
//!
//! Few are copied in every turn of the loop, many from time to time.

use std::time::Duration;

use super::Daemon;
use crate::base::{ConnId, Instant};
use crate::config::rules_of;
use crate::director::{Director, kept_of};
use crate::state::State;
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
        keep(&mut self.director, &mut self.state);
        let Some(state) = &mut self.state else { return };
        state.save_counters(&self.director);
        state.runs(self.turn.now, self.director.fast.answered());
    }
}

/// Writes down what is kept beside conns.
pub(super) fn keep(director: &mut Director, state: &mut Option<State>) {
    let kept = director.take_kept();
    let Some(state) = state else { return };
    for (id, mut kept) in kept {
        let mut slot = id.index() as u32;
        state.forget_young(slot);
        if let Some(young) = kept.as_ref().and_then(|kept| kept.young(slot)) {
            let Some(older) = state.note_young(young) else { continue };
            (slot, kept) = (older, kept_of(director, ConnId(older)));
        }
        state.note_fact(Fact::Conn(slot, kept), director, || rules_of(director));
    }
}
