//! Dests that were removed: remembered while conns refer to them and two minutes longer, as the kernel's dest trash.
//!
//! Whoever adds one again meanwhile gets it back with its conns and counters. Never ends a conn.

use std::time::Duration;

use super::Services;
use super::command::ServiceKey;
use crate::base::{DestId, Endpoint, Instant};

/// How long a dest without conns is remembered.
const REMEMBERED: Duration = Duration::from_secs(120);
/// How often what was removed is looked at.
const LOOK: Duration = Duration::from_secs(60);

/// Where a dest is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In its service.
    Serving,
    /// Removed; when it was first seen without conns.
    Removed { idle: Option<Instant> },
    /// Forgotten: the slot is free.
    Free,
}

impl Services {
    /// A dest leaves its service.
    pub(super) fn retire(&mut self, dest: DestId, now: Instant) {
        if !self.dests.iter().any(|dest| matches!(dest.place, Place::Removed { .. })) {
            self.trash_due = Some(now + LOOK);
        }
        self.dests[dest.index()].place = Place::Removed { idle: None };
        self.servers[dest.index()].available = false;
    }

    /// The removed dest of that name, if it is remembered.
    pub(super) fn remembered(&self, key: ServiceKey, endpoint: Endpoint) -> Option<usize> {
        let gone = |index: &usize| {
            let dest = &self.dests[*index];
            matches!(dest.place, Place::Removed { .. })
                && dest.service == key
                && self.servers[*index].endpoint == endpoint
        };
        (0..self.dests.len()).find(gone)
    }

    /// Forgets the removed dests that had no conns for long enough.
    pub fn empty_trash(&mut self, now: Instant) {
        if self.trash_due.is_none_or(|due| now < due) {
            return;
        }
        self.trash_due = None;
        for dest in &mut self.dests {
            let Place::Removed { idle } = dest.place else { continue };
            if dest.refs == 0 {
                dest.place = match idle {
                    Some(since) if now.since(since) >= REMEMBERED => Place::Free,
                    since => Place::Removed { idle: since.or(Some(now)) },
                };
            }
            if dest.place != Place::Free {
                self.trash_due = Some(now + LOOK);
            }
        }
    }

    /// When `empty_trash` has something to do.
    pub fn trash_due(&self) -> Option<Instant> {
        self.trash_due
    }
}
