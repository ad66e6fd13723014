//! Timers of conns: one wheel of slots, lists threaded through the records themselves.
//!
//! A packet only moves a record's deadline; the wheel looks again when the old one comes (lazy re-arm), so
//! an established flow costs no list work. Only a deadline that comes earlier moves the record. Never scans.

use super::record::{Conn, NIL};
use crate::base::{ConnId, Instant};

/// Milliseconds in a tick, as a shift: 128 ms.
const TICK_SHIFT: u32 = 7;
const SLOTS: u32 = 4096;
/// Marks a `prev` that names a slot, not a record.
const IS_HEAD: u32 = 1 << 31;

pub(super) struct Wheel {
    heads: Box<[u32]>,
    /// All ticks up to and including this one have been handled.
    done: u32,
    /// Records in the wheel.
    count: usize,
}

/// The tick in which a moment lies, rounded up: a timer never fires early.
pub(super) fn tick_at(moment: Instant) -> u32 {
    (moment.0.div_ceil(1 << TICK_SHIFT)) as u32
}

/// The moment at which a tick's timers are due.
pub(super) fn moment_of(tick: u32) -> Instant {
    Instant(u64::from(tick) << TICK_SHIFT)
}

impl Wheel {
    pub(super) fn new() -> Wheel {
        Wheel { heads: vec![NIL; SLOTS as usize].into_boxed_slice(), done: 0, count: 0 }
    }

    /// Files a record under its deadline, or as late as the wheel reaches.
    pub(super) fn insert(&mut self, records: &mut [Conn], id: ConnId) {
        let tick = records[id.index()].deadline.clamp(self.done + 1, self.done + SLOTS - 1);
        let slot = tick % SLOTS;
        let head = self.heads[slot as usize];
        let record = &mut records[id.index()];
        record.next = head;
        record.prev = IS_HEAD | slot;
        if head != NIL {
            records[head as usize].prev = id.0;
        }
        self.heads[slot as usize] = id.0;
        self.count += 1;
    }

    pub(super) fn remove(&mut self, records: &mut [Conn], id: ConnId) {
        let (next, prev) = (records[id.index()].next, records[id.index()].prev);
        if prev & IS_HEAD != 0 {
            self.heads[(prev & !IS_HEAD) as usize] = next;
        } else {
            records[prev as usize].next = next;
        }
        if next != NIL {
            records[next as usize].prev = prev;
        }
        self.count -= 1;
    }

    /// The next record whose deadline has come, taken off the wheel; records seen too early are filed anew.
    pub(super) fn pop_due(&mut self, records: &mut [Conn], now: Instant) -> Option<ConnId> {
        let today = (now.0 >> TICK_SHIFT) as u32;
        while self.done < today {
            if self.count == 0 {
                self.done = today;
                return None;
            }
            let head = self.heads[((self.done + 1) % SLOTS) as usize];
            if head == NIL {
                self.done += 1;
                continue;
            }
            let id = ConnId(head);
            self.remove(records, id);
            if records[id.index()].deadline <= self.done + 1 {
                return Some(id);
            }
            // Filed at least one tick later, so this slot drains.
            let slot_now = self.done;
            self.done += 1;
            self.insert(records, id);
            self.done = slot_now;
        }
        None
    }

    /// When there may be something to do: exact for near deadlines, early for far ones.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.count == 0 {
            return None;
        }
        let ahead = (1..SLOTS).find(|ahead| self.heads[((self.done + ahead) % SLOTS) as usize] != NIL)?;
        Some(moment_of(self.done + ahead))
    }
}
