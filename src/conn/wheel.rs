//! Timers of conns: one wheel of slots, each with a list of those that it may be time for.
//!
//! A packet only moves a record's deadline; the wheel looks again when the old one comes (lazy re-arm), so
//! an established flow costs no list work. Only a deadline that comes earlier moves the record. Never scans.

use std::ops::Range;

use super::memory::addresses;
use super::record::NIL;
use super::records::Records;
use crate::base::{ConnId, Instant};

/// Milliseconds in a tick, as a shift: 128 ms.
const TICK_SHIFT: u32 = 7;
const SLOTS: u32 = 4096;
const WORDS: usize = SLOTS as usize / 64;
/// Marks a `prev` that names a slot, not a record.
const IS_HEAD: u32 = 1 << 31;
/// Places in a record's links.
const NEXT: usize = 0;
const PREV: usize = 1;

pub(super) struct Wheel {
    /// The next and the previous one of each record in its list, apart from what packets read.
    links: Vec<[u32; 2]>,
    heads: Box<[u32]>,
    /// A bit for each slot that is not empty, so that the next one is found in a glance: the loop asks at every turn.
    filled: [u64; WORDS],
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
    pub(super) fn memory(&self) -> Range<usize> {
        addresses(&self.links)
    }

    pub(super) fn new(max: usize) -> Wheel {
        let heads = vec![NIL; SLOTS as usize].into_boxed_slice();
        Wheel { links: vec![[0; 2]; max], heads, filled: [0; WORDS], done: 0, count: 0 }
    }

    /// An empty one, at this moment.
    pub(super) fn starting_at(max: usize, now: Instant) -> Wheel {
        Wheel { done: (now.0 >> TICK_SHIFT) as u32, ..Wheel::new(max) }
    }

    /// Files a record under its deadline, or as late as the wheel reaches.
    pub(super) fn insert(&mut self, id: ConnId, deadline: u32) {
        let tick = deadline.clamp(self.done + 1, self.done + SLOTS - 1);
        let slot = tick % SLOTS;
        let head = self.heads[slot as usize];
        self.links[id.index()] = [head, IS_HEAD | slot];
        if head != NIL {
            self.links[head as usize][PREV] = id.0;
        }
        self.heads[slot as usize] = id.0;
        self.filled[slot as usize / 64] |= 1 << (slot % 64);
        self.count += 1;
    }

    pub(super) fn remove(&mut self, id: ConnId) {
        let [next, prev] = self.links[id.index()];
        if prev & IS_HEAD != 0 {
            let slot = prev & !IS_HEAD;
            self.heads[slot as usize] = next;
            if next == NIL {
                self.filled[slot as usize / 64] &= !(1 << (slot % 64));
            }
        } else {
            self.links[prev as usize][NEXT] = next;
        }
        if next != NIL {
            self.links[next as usize][PREV] = prev;
        }
        self.count -= 1;
    }

    /// The next record whose deadline has come, taken off the wheel; records seen too early are filed anew.
    pub(super) fn pop_due(&mut self, records: &Records, now: Instant) -> Option<ConnId> {
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
            self.remove(id);
            let deadline = records[id].deadline;
            if deadline <= self.done + 1 {
                return Some(id);
            }
            // Filed at least one tick later, so this slot drains.
            let slot_now = self.done;
            self.done += 1;
            self.insert(id, deadline);
            self.done = slot_now;
        }
        None
    }

    /// When there may be something to do: exact for near deadlines, early for far ones.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.count == 0 {
            return None;
        }
        let first = (self.done + 1) % SLOTS;
        // The word of the first slot is looked at twice: from that slot on, and, in the end, up to it.
        let words = (0..=WORDS).map(|step| (first as usize / 64 + step) % WORDS);
        let masks = std::iter::once(u64::MAX << (first % 64)).chain(std::iter::repeat(u64::MAX));
        let (word, bits) =
            words.zip(masks).map(|(word, mask)| (word, self.filled[word] & mask)).find(|(_, bits)| *bits != 0)?;
        let slot = word as u32 * 64 + bits.trailing_zeros();
        Some(moment_of(self.done + 1 + (slot + SLOTS - first) % SLOTS))
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::super::record::Conn;
    use super::*;
    use crate::base::Rng;

    /// The next filled slot by looking at each.
    fn searched(wheel: &Wheel) -> Option<Instant> {
        let ahead = (1..SLOTS).find(|ahead| wheel.heads[((wheel.done + ahead) % SLOTS) as usize] != NIL)?;
        Some(moment_of(wheel.done + ahead))
    }

    #[test]
    fn the_next_due_slot_is_found_as_if_each_were_looked_at() {
        let mut rng = Rng::seeded(11);
        let (mut wheel, mut records) = (Wheel::new(64), Records::over(Memory::new(64, [1, 2]), 64));
        records.addresses.intern([10, 0, 0, 1].into()).unwrap();
        (0..64).for_each(|_| _ = records.add(Conn::vacant(NIL)));
        let mut filed = [false; 64];
        let mut now = Instant::START;
        for _ in 0..20_000 {
            let id = ConnId(rng.below(64) as u32);
            if std::mem::replace(&mut filed[id.index()], true) {
                wheel.remove(id);
                filed[id.index()] = false;
            } else {
                records[id].deadline = wheel.done + rng.below(6_000) as u32;
                wheel.insert(id, records[id].deadline);
            }
            now = Instant(now.0 + rng.below(2_000));
            while let Some(due) = wheel.pop_due(&records, now) {
                filed[due.index()] = false;
            }
            assert_eq!(wheel.next_due(), searched(&wheel));
        }
    }

    /// The slot of each record.
    fn slots(wheel: &Wheel, records: usize) -> Vec<usize> {
        let mut slots = vec![usize::MAX; records];
        for (slot, head) in wheel.heads.iter().enumerate() {
            let mut at = *head;
            while at != NIL {
                slots[at as usize] = slot;
                at = wheel.links[at as usize][NEXT];
            }
        }
        slots
    }

    /// A record that the wheel looks at before its time is filed in another slot: so many looks there were.
    #[test]
    fn time_that_passes_with_nothing_due_costs_two_looks_at_each_record() {
        const RECORDS: usize = 2_000;
        let (mut wheel, mut records) = (Wheel::new(RECORDS), Records::over(Memory::new(RECORDS, [1, 2]), RECORDS));
        records.addresses.intern([10, 0, 0, 1].into()).unwrap();
        for index in 0..RECORDS {
            let id = records.add(Conn::vacant(NIL)).unwrap();
            records[id].deadline = tick_at(Instant(900_000 + index as u64));
            wheel.insert(id, records[id].deadline);
        }
        let (mut before, mut looks) = (slots(&wheel, RECORDS), 0);
        for second in 1..=899 {
            assert_eq!(wheel.pop_due(&records, Instant(second * 1000)), None);
            let after = slots(&wheel, RECORDS);
            looks += before.iter().zip(&after).filter(|(before, after)| before != after).count();
            before = after;
        }
        assert!((RECORDS..=2 * RECORDS).contains(&looks), "{looks} looks at {RECORDS} records");
        let due = std::iter::from_fn(|| wheel.pop_due(&records, Instant(903_000))).count();
        assert_eq!(due, RECORDS);
    }
}
