//! What is held of a server, and the last changes of it, each with its time and reason.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::outcome::Reason;
use crate::base::Instant;

/// Changes that are kept.
const KEPT: usize = 20;

/// What is held of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No probe has said anything yet.
    #[default]
    Unknown,
    /// Serves.
    Up,
    /// Does not.
    Down,
}

impl Verdict {
    /// As programs and listings have it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Unknown => "unknown",
            Verdict::Up => "up",
            Verdict::Down => "down",
        }
    }
}

/// One change of a verdict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// When.
    pub at: Instant,
    /// The new verdict.
    pub to: Verdict,
    /// The reason of a failure.
    pub reason: Option<Reason>,
}

/// The last changes, the newest last.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<Change>);

impl History {
    pub(super) fn add(&mut self, change: Change) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(change);
    }

    /// The oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Change> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_twenty_are_kept() {
        let mut history = History::default();
        (0..33).for_each(|at| history.add(Change { at: Instant(at), to: Verdict::Up, reason: None }));
        assert_eq!(history.iter().map(|change| change.at.0).collect::<Vec<_>>(), (13..33).collect::<Vec<_>>());
    }
}
