//! What becomes of the records that an earlier process has left, as it is told to whoever counts conns elsewhere.
//!
//! Never changes a record.

use std::collections::HashMap;
use std::time::Duration;

use super::record::Conn;
use super::records::Records;
use super::wheel::tick_at;
use crate::base::{ConnId, Counted, DestId, FastHash, Instant};

/// No conn lives longer after its last packet (the longest persistence, 31 days).
pub(super) const LONGEST: Duration = Duration::from_secs(31 * 86_400);

/// What names the dests of today by the slots that they had in one generation of processes.
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// Dests by slot.
    pub dests: HashMap<u32, DestId, FastHash>,
}

/// Conns that a dest has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bound {
    /// That count as active.
    pub active: u32,
    /// That count as inactive.
    pub inactive: u32,
    /// Templates.
    pub templates: u32,
}

/// What became of the records that there were.
#[derive(Default)]
pub struct Restored {
    /// So many were taken over.
    pub taken: usize,
    /// So many were not: unfinished, damaged, or of a dest that is gone.
    pub refused: usize,
    /// What each dest has of them.
    pub bound: Vec<Bound>,
    /// So many are known from another director alone.
    pub synced: usize,
    /// So many have a local endpoint.
    pub with_local: usize,
    /// What has changed since the draft that they were taken over by.
    pub since: Option<Since>,
}

impl Restored {
    pub(super) fn bind(&mut self, conn: &Conn) {
        self.synced += usize::from(conn.is_synced());
        self.with_local += usize::from(conn.local().is_some());
        if conn.dest.index() >= self.bound.len() {
            self.bound.resize(conn.dest.index() + 1, Bound::default());
        }
        *self.bound[conn.dest.index()].count_of(conn) += 1;
    }

    /// True if conns are only of dests that have their slots still.
    pub(super) fn is_of_kept(&self, trust: &Trust) -> bool {
        self.bound.iter().enumerate().all(|(slot, bound)| *bound == Bound::default() || trust.keeps_dest(slot))
    }

    /// The opposite of `bind`.
    pub(super) fn unbind(&mut self, conn: &Conn) {
        self.synced -= usize::from(conn.is_synced());
        self.with_local -= usize::from(conn.local().is_some());
        *self.bound[conn.dest.index()].count_of(conn) -= 1;
    }
}

impl Bound {
    fn count_of(&mut self, conn: &Conn) -> &mut u32 {
        match (conn.is_template(), conn.counted()) {
            (true, _) => &mut self.templates,
            (false, Counted::Active) => &mut self.active,
            (false, Counted::Inactive) => &mut self.inactive,
        }
    }
}

/// By what a record is taken for a conn.
pub(super) enum Trust<'a> {
    /// Its seal, and what its dest was called by earlier generations. Some dests have kept their slots.
    Seals(&'a [Generation], Vec<bool>),
    /// That it is there: it is looked at again before a packet is.
    Sight,
}

/// Dests beyond this slot are none that a draft is made with.
const MOST_DESTS: usize = 1 << 20;

impl Trust<'_> {
    pub(super) fn seals<'a>(records: &Records, earlier: &'a [Generation]) -> Trust<'a> {
        Trust::Seals(earlier, kept_dests(records, earlier))
    }

    /// The dest of a record that is a conn.
    pub(super) fn dest(&self, records: &Records, id: ConnId) -> Option<DestId> {
        match self {
            Trust::Seals(earlier, _) => dest_now(records, id, earlier),
            Trust::Sight => Some(records[id].dest)
                .filter(|dest| records[id].is_live() && records.names_known(id) && dest.index() < MOST_DESTS),
        }
    }

    /// True for a record that may stay as it is.
    pub(super) fn keeps(&self, records: &Records, id: ConnId) -> bool {
        self.keeps_dest(records[id].dest.index())
            && match self {
                Trust::Seals(..) => records.is_sealed(id),
                Trust::Sight => true,
            }
    }

    /// True if conns of the dest in this slot are of the one that is there now.
    pub(super) fn keeps_dest(&self, slot: usize) -> bool {
        match self {
            Trust::Seals(_, kept) => kept.get(slot) == Some(&true),
            Trust::Sight => slot < MOST_DESTS,
        }
    }
}

/// Today's dest of a sound record; `None` for any other.
pub(super) fn dest_now(records: &Records, id: ConnId, earlier: &[Generation]) -> Option<DestId> {
    let of = earlier.iter().rev().find(|generation| records.is_of(id, generation.number))?;
    of.dests.get(&records[id].dest.0).copied().filter(|_| records.names_known(id))
}

/// The slots of dests that mean the same as to the process before, which was of the same generation; else none.
fn kept_dests(records: &Records, earlier: &[Generation]) -> Vec<bool> {
    let mut kept = Vec::new();
    if let [before] = earlier
        && before.number == records.generation()
    {
        kept.resize(before.dests.values().map(|id| id.index() + 1).max().unwrap_or(0), false);
        before.dests.values().for_each(|id| kept[id.index()] = true);
    }
    kept
}

/// The deadline of a conn, as late as one can be.
pub(super) fn clamped(deadline: u32, now: Instant) -> u32 {
    deadline.min(tick_at(now + LONGEST))
}

/// What has changed since a draft was made.
#[derive(Default)]
pub struct Since {
    /// Conns of the draft that are gone, or are others now, as they were.
    pub gone: Vec<Conn>,
    /// Conns that were not in it as they are.
    pub come: Vec<(ConnId, DestId)>,
    /// Conns that are under another control.
    pub(super) moved: Vec<(ConnId, Conn)>,
    /// Where those were that are gone.
    pub(super) left: Vec<ConnId>,
}
