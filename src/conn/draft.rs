//! A flow table made from a copy of one that another process still works with, so that taking the other one over costs little:
//! only what has changed in between is done anew.
//!
//! A record of the copy may be torn or outdated. Never taken for a conn: it only says how the index was entered.

use super::blocks::{self, BLOCK};
use super::flags as flag;
use super::memory::Memory;
use super::record::{Conn, NIL};
use super::records::Records;
use super::restored::{Restored, Since, Trust, clamped};
use super::table::ConnTable;
use super::worth::is_half_open;
use crate::base::{ConnId, DestId, Instant};

/// Flags that decide how a record is entered, besides what its identity says.
const ENTERED_BY: u16 = flag::LIVE | flag::HIDDEN | flag::ONE_WAY | flag::NO_CPORT | flag::ANY_DPORT;
/// Flags that the table of a draft has made anew.
const MADE_ANEW: u16 = flag::SHADOWED | flag::CONTROLS;

/// Buckets, overflow index, timers and counts, and the records that they were made from.
pub struct Draft {
    table: ConnTable,
    /// The size of the table that it is for.
    max: usize,
    /// A sum of each block of which every slot had a sound conn that may stay as it is.
    sums: Vec<Option<u64>>,
    /// What dests have of the conns in these blocks.
    sound: Restored,
}

impl Draft {
    /// Of a copy of the slots in use of a table of `max`, as they were then.
    pub fn of(copy: Memory, max: usize, now: Instant) -> Draft {
        let used = copy.used();
        let mut table = ConnTable::over_part(copy, max, now);
        for id in (0..used).map(|slot| ConnId(slot as u32)) {
            if !table.records.names_known(id) || !table.records[id].is_live() {
                table.records[id] = Conn::vacant(NIL);
                continue;
            }
            table.records[id].set(MADE_ANEW, false);
            let conn = table.records[id];
            conn.named().for_each(|addr| table.records.addresses.hold(addr));
            table.count_in(&conn);
        }
        (0..used).for_each(|slot| table.check_control(ConnId(slot as u32)));
        table.link_all(used);
        Draft::with(table, max, now)
    }

    /// The same of a later copy, for less: what has not changed in between stays. Also what has.
    pub fn again(mut self, copy: Memory, now: Instant) -> (Draft, Since) {
        let mut table = ConnTable::over_part(copy, self.max, now);
        match table.take_over_by(&mut self, now, &Trust::Sight).and_then(|restored| restored.since) {
            Some(since) => (Draft::with(table, self.max, now), since),
            None => (self, Since::default()),
        }
    }

    fn with(table: ConnTable, max: usize, now: Instant) -> Draft {
        let mut draft = Draft { table, max, sums: Vec::new(), sound: Restored::default() };
        draft.sum_up(clamped(u32::MAX, now));
        draft
    }

    fn sum_up(&mut self, latest: u32) {
        let records = &self.table.records;
        for block in 0..records.all().len() / BLOCK {
            let is_sound = ids_of(block)
                .all(|id| may_stay(&records[id], latest) && Trust::Sight.keeps(records, id) && records.is_sealed(id));
            if is_sound {
                ids_of(block).for_each(|id| self.sound.bind(&records[id]));
            }
            self.sums.push(is_sound.then(|| records.sum_of_block(block)));
        }
    }

    /// The table that it was made of, for what belongs to its conns elsewhere.
    pub fn table(&self) -> &ConnTable {
        &self.table
    }

    /// True if it can be used for a table: of the same size and secret, and with the same addresses.
    fn is_of(&self, table: &ConnTable) -> bool {
        let (then, now) = (&self.table.records, &table.records);
        self.max == table.max && then.has_secret_of(now) && then.addresses.is_beginning_of(&now.addresses)
    }
}

impl ConnTable {
    /// As `take_over_all`, by a draft: what is as it was then stays entered, the rest is entered anew. `None`, and nothing has
    /// changed, if the draft is not of this table.
    pub(super) fn take_over_by(&mut self, draft: &mut Draft, now: Instant, trust: &Trust) -> Option<Restored> {
        if !draft.is_of(self) {
            return None;
        }
        let mut since = Since::default();
        let (slots, latest) = (self.records.all().len(), clamped(u32::MAX, now));
        let (changed, mut restored) = draft.changed(&self.records, trust);
        // From the end, so that the first free slot is the next to be used.
        for id in changed.into_iter().flat_map(|block| ids_of(block).rev()) {
            if id.index() >= slots {
                // Slots beyond those of today hold nothing any more.
                draft.drop_conn(id, &mut since);
                continue;
            }
            if draft.holds(id, &self.records, trust, latest) {
                // A page that nothing is written to stays as it is.
                if self.records[id].flags & flag::FAST != 0 {
                    self.records[id].set(flag::FAST, false);
                }
                restored.bind(&self.records[id]);
                continue;
            }
            let dest = trust.dest(&self.records, id);
            restored.refused += usize::from(dest.is_none() && self.records[id].is_live());
            match (draft.live(id), dest) {
                (Some(before), Some(dest)) if is_entered_alike(&before, &self.records[id]) => {
                    self.go_on_with(id, dest, (&before, draft, &mut since), now);
                    restored.bind(&self.records[id]);
                }
                (_, dest) => {
                    draft.drop_conn(id, &mut since);
                    match dest {
                        Some(dest) => since.come.push((id, dest)),
                        None => self.records.vacate(id),
                    }
                }
            }
        }
        since.come.reverse();
        self.inherit(&mut draft.table);
        if self.index.has_shadowed() {
            self.restore_shadows(&draft.table);
        }
        self.enter_since(&since, &mut restored, now);
        (restored.taken, restored.since) = (self.live, Some(since));
        Some(restored)
    }

    /// A conn that is entered as it is to be: what else has changed of it.
    fn go_on_with(
        &mut self,
        id: ConnId,
        dest: DestId,
        (before, draft, since): (&Conn, &mut Draft, &mut Since),
        now: Instant,
    ) {
        let conn = &mut self.records[id];
        if conn.control() != before.control() {
            since.moved.push((id, *before));
        }
        if conn.state() != before.state() {
            let half_open = draft.table.half_open + usize::from(is_half_open(conn));
            draft.table.half_open = half_open - usize::from(is_half_open(before));
        }
        let deadline = clamped(conn.deadline, now);
        let flags = conn.flags & !(MADE_ANEW | flag::FAST) | before.flags & flag::CONTROLS;
        // A page that nothing is written to stays as it is.
        if (conn.dest, conn.deadline, conn.flags) != (dest, deadline, flags) {
            (conn.dest, conn.deadline, conn.flags) = (dest, deadline, flags);
        }
        if deadline < before.deadline {
            draft.table.wheel.remove(id);
            draft.table.wheel.insert(id, deadline);
        }
        self.records.seal(id);
    }

    /// Takes what finds, ends and counts conns from a table of the same slots.
    fn inherit(&mut self, from: &mut ConnTable) {
        std::mem::swap(&mut self.index, &mut from.index);
        std::mem::swap(&mut self.wheel, &mut from.wheel);
        std::mem::swap(&mut self.shares, &mut from.shares);
        (self.live, self.half_open) = (from.live, from.half_open);
        (self.one_way, self.without_port) = (from.one_way, from.without_port);
        self.records.inherit_counts(&mut from.records);
    }

    fn enter_since(&mut self, since: &Since, restored: &mut Restored, now: Instant) {
        for before in since.gone.iter().chain(since.moved.iter().map(|(_, before)| before)) {
            if let Some(control) = before.control().filter(|control| control.index() < self.slots()) {
                self.records.count_controlled(control, -1);
            }
        }
        for (id, dest) in &since.come {
            self.take_over(*id, *dest, now);
            // Others may be under its control that have not changed.
            self.records.count_controlled(*id, 0);
            restored.bind(&self.records[*id]);
        }
        let changed = since.come.iter().map(|(id, _)| *id).chain(since.moved.iter().map(|(id, _)| *id));
        changed.for_each(|id| self.check_control(id));
        since.come.iter().for_each(|(id, _)| self.enter(*id));
        // Nobody leaves while it controls others, unless memory is damaged.
        if since.left.iter().any(|id| self.live(*id).is_none() && self.records.is_controlling(*id)) {
            self.records.forget_controlled();
            (0..self.slots()).for_each(|slot| self.check_control(ConnId(slot as u32)));
        }
    }

    /// Which of two conns with the same reply key has the replies is what the index was made by.
    fn restore_shadows(&mut self, from: &ConnTable) {
        let slots = self.records.all().len().min(from.records.all().len());
        let is_shadowed = |id: &ConnId| from.live(*id).is_some_and(Conn::is_shadowed);
        let ids = (0..slots).map(|slot| ConnId(slot as u32)).filter(is_shadowed);
        ids.for_each(|id| self.records[id].set(flag::SHADOWED, true));
    }
}

impl Draft {
    /// The blocks in which something may have changed, from the last to the first, and what dests have of the conns in the
    /// others.
    fn changed(&mut self, now: &Records, trust: &Trust) -> (Vec<usize>, Restored) {
        let (then, used) = (&self.table.records, now.all().len());
        if then.generation() != now.generation() || !self.sound.is_of_kept(trust) {
            (self.sums, self.sound) = (Vec::new(), Restored::default());
        }
        let sum_then = |block: usize| self.sums.get(block).copied().flatten();
        let is_as_then = |block: usize| {
            blocks::slots_of(block).end <= used && sum_then(block).is_some_and(|sum| sum == now.sum_of_block(block))
        };
        let blocks = 0..used.max(then.all().len()).div_ceil(BLOCK);
        let changed: Vec<usize> = blocks.rev().filter(|block| !is_as_then(*block)).collect();
        let mut sound = std::mem::take(&mut self.sound);
        for block in changed.iter().filter(|block| sum_then(**block).is_some()) {
            ids_of(*block).for_each(|id| sound.unbind(&then[id]));
        }
        (changed, sound)
    }

    fn live(&self, id: ConnId) -> Option<Conn> {
        self.table.live(id).copied()
    }

    /// True for a sound record that is as it was then, to the bit, and stays so: its dest is where it was.
    fn holds(&self, id: ConnId, now: &Records, trust: &Trust, latest: u32) -> bool {
        let conn = &now[id];
        conn.deadline <= latest && self.table.live(id) == Some(conn) && trust.keeps(now, id)
    }

    /// Takes a conn out, if there is one.
    fn drop_conn(&mut self, id: ConnId, since: &mut Since) {
        let Some(before) = self.live(id) else { return };
        let table = &mut self.table;
        table.wheel.remove(id);
        if !before.is_hidden() {
            table.unlink(id);
        }
        before.named().for_each(|addr| table.records.addresses.release(addr));
        table.count_out(&before);
        table.records[id] = Conn::vacant(NIL);
        since.gone.push(before);
        since.left.push(id);
    }
}

fn ids_of(block: usize) -> impl DoubleEndedIterator<Item = ConnId> {
    blocks::slots_of(block).map(|slot| ConnId(slot as u32))
}

/// True for a record that needs no change when it is taken over, if its dest has its slot still.
fn may_stay(conn: &Conn, latest: u32) -> bool {
    conn.flags & (flag::FAST | flag::SHADOWED) == 0 && conn.deadline <= latest
}

/// True if a record of then is found by the same packets as the one that is in its slot now.
fn is_entered_alike(before: &Conn, now: &Conn) -> bool {
    (before.flags ^ now.flags) & ENTERED_BY == 0 && before.identity() == now.identity()
}
