//! Dests that were removed: remembered while conns refer to them and two minutes longer, as the kernel's dest trash.
//!
//! A dest of the same name that is added meanwhile is the old one, with its conns and counters. Dests that another
//! director's conns need and that are not configured yet wait here too. Never ends a conn.

use std::collections::HashMap;
use std::time::Duration;

use super::Services;
use super::command::{DestOptions, Method, ServiceKey};
use crate::base::{DestId, Endpoint, FastHash, Instant};

/// How long a dest without conns is remembered.
const REMEMBERED: Duration = Duration::from_secs(120);
/// How often what was removed is looked at.
const LOOK: Duration = Duration::from_secs(60);
/// Dests that wait to be configured.
const MOST_EXPECTED: u32 = 1024;
/// Dests looked at between two packets.
const LOOKED_AT_A_TURN: usize = 4096;

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

/// The removed dests by name, and when they are looked at.
#[derive(Default)]
pub(super) struct Trash {
    by_name: HashMap<ServiceKey, HashMap<Endpoint, DestId, FastHash>, FastHash>,
    /// Dests among them that were never configured.
    expected: u32,
    /// When the next look begins; `None`: there is nothing to look at.
    due: Option<Instant>,
    /// Where the look that has begun goes on, and when it began.
    look: Option<(usize, Instant)>,
}

impl Services {
    /// A dest leaves its service.
    pub(super) fn retire(&mut self, dest: DestId, now: Instant) {
        self.trash.due.get_or_insert(now + LOOK);
        self.dests[dest.index()].place = Place::Removed { idle: None };
        self.servers[dest.index()].available = false;
        self.upset(dest);
        let (service, endpoint) = (self.dests[dest.index()].service, self.servers[dest.index()].endpoint);
        self.trash.by_name.entry(service).or_default().insert(endpoint, dest);
    }

    /// Takes the removed dest of that name back, if it is remembered.
    pub(super) fn take_remembered(&mut self, key: ServiceKey, endpoint: Endpoint) -> Option<DestId> {
        let names = self.trash.by_name.get_mut(&key)?;
        let dest = names.remove(&endpoint);
        if names.is_empty() {
            self.trash.by_name.remove(&key);
        }
        if let Some(id) = dest
            && std::mem::take(&mut self.dests[id.index()].expected)
        {
            self.trash.expected -= 1;
        }
        dest
    }

    /// The dest of a conn that is not configured here: a removed one, or one that waits to be configured and forwards
    /// meanwhile. `None` if too many wait.
    pub fn expect(&mut self, key: ServiceKey, endpoint: Endpoint, method: Method, now: Instant) -> Option<DestId> {
        if let Some(dest) = self.trash.by_name.get(&key).and_then(|names| names.get(&endpoint)) {
            return Some(*dest);
        }
        if self.trash.expected >= MOST_EXPECTED {
            return None;
        }
        let dest = self.new_dest(key, endpoint, &DestOptions { method, ..DestOptions::default() });
        self.retire(dest, now);
        self.servers[dest.index()].available = true;
        self.dests[dest.index()].expected = true;
        self.trash.expected += 1;
        Some(dest)
    }

    /// True for a dest that was never configured here.
    pub fn is_expected(&self, dest: DestId) -> bool {
        self.dest(dest).expected
    }

    /// The removed dests of a service.
    pub(super) fn removed_of(&self, key: ServiceKey) -> Vec<DestId> {
        self.trash.by_name.get(&key).into_iter().flat_map(|names| names.values().copied()).collect()
    }

    /// Forgets the removed dests that had no conns for long enough, a part of them at a time.
    pub fn empty_trash(&mut self, now: Instant) {
        let (first, began) = match (self.trash.look, self.trash.due) {
            (Some(look), _) => look,
            (None, Some(due)) if now >= due => (0, now),
            (None, _) => return,
        };
        let end = self.dests.len().min(first + LOOKED_AT_A_TURN);
        (first..end).for_each(|index| self.look_at(index, began));
        if end < self.dests.len() {
            self.trash.look = Some((end, began));
            return;
        }
        self.trash.look = None;
        self.trash.due = (!self.trash.by_name.is_empty()).then(|| began + LOOK);
    }

    fn look_at(&mut self, index: usize, now: Instant) {
        let dest = &mut self.dests[index];
        let Place::Removed { idle } = dest.place else { return };
        if dest.refs > 0 {
            return;
        }
        if idle.is_none_or(|since| now.since(since) < REMEMBERED) {
            dest.place = Place::Removed { idle: idle.or(Some(now)) };
            return;
        }
        let key = dest.service;
        self.take_remembered(key, self.servers[index].endpoint);
        self.dests[index].place = Place::Free;
        self.free_dests.push(std::cmp::Reverse(index as u32));
    }

    /// When `empty_trash` has something to do.
    pub fn trash_due(&self) -> Option<Instant> {
        if self.trash.look.is_some() { Some(Instant::START) } else { self.trash.due }
    }
}
