//! The last changes of a verdict, each with its time and reason.

use std::collections::VecDeque;

use super::outcome::Reason;
use super::probe::Verdict;
use crate::base::Instant;

/// Changes that are kept.
const KEPT: usize = 20;

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
