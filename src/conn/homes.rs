//! Slots for records, eight to a set: whoever knows a record's home finds it with one look at one word.
//!
//! A record lies in the set that its hash names, its home, with a byte of the hash as its tag; most lie in the very slot
//! that the hash names, and for those the word need not be waited for. When the set is full a record is a guest in
//! another one, where nobody looks for it. Never looks at the records themselves.

use crate::base::ConnId;

/// Slots of a set: one tag each in a word.
const WAYS: usize = 8;
/// The lowest and the highest bit of each tag.
const LOWEST: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = 0x8080_8080_8080_8080;
/// Tags that no hash has.
const FREE: u8 = 0;
const GUEST: u8 = 1;

/// Whether a record is where its hash says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stay {
    /// It is.
    Home,
    /// It lies where there was room.
    Guest,
}

/// The tags of all slots.
pub(super) struct Homes {
    sets: Vec<u64>,
    /// How many records of each set are guests elsewhere; what is full stays full.
    away: Vec<u8>,
}

impl Homes {
    /// Slots for `max` records, a third of them to spare: a full table then has one guest in twenty.
    pub(super) fn new(max: usize) -> Homes {
        let count = (max + max / 3).div_ceil(WAYS).max(1);
        Homes { sets: vec![0; count], away: vec![0; count] }
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// The slot where a record of this hash lies first of all, if it is not taken by another.
    #[inline(always)]
    pub(super) fn first(&self, hash: u64) -> ConnId {
        ConnId((self.set_of(hash) * WAYS + way_of(hash)) as u32)
    }

    /// Slots whose record may be of this hash: few, and never one that is certainly not.
    #[inline(always)]
    pub(super) fn candidates(&self, hash: u64) -> impl Iterator<Item = ConnId> + use<> {
        let set = self.set_of(hash);
        let mut hits = bytes_like(self.sets[set], tag_of(hash));
        std::iter::from_fn(move || {
            let way = hits.trailing_zeros() as usize / 8;
            hits &= hits.wrapping_sub(1);
            (way < WAYS).then_some(ConnId((set * WAYS + way) as u32))
        })
    }

    /// Takes a slot for a record of this hash, at home if there is room; `None` if there is none anywhere.
    pub(super) fn take(&mut self, hash: u64) -> Option<ConnId> {
        let first = self.first(hash);
        if self.tag(first) == FREE {
            self.set_tag(first, GUEST);
            return Some(first);
        }
        let (home, count) = (self.set_of(hash), self.sets.len());
        let set = (0..count).map(|step| (home + step) % count).find(|set| bytes_like(self.sets[*set], FREE) != 0)?;
        let way = bytes_like(self.sets[set], FREE).trailing_zeros() as usize / 8;
        let id = ConnId((set * WAYS + way) as u32);
        self.set_tag(id, GUEST);
        Some(id)
    }

    /// True if a record of this hash may be a guest somewhere.
    #[inline]
    pub(super) fn some_are_away(&self, hash: u64) -> bool {
        self.away[self.set_of(hash)] > 0
    }

    /// Lets a taken slot be found by this hash, if that is its home.
    pub(super) fn move_in(&mut self, id: ConnId, hash: u64) -> Stay {
        let home = self.set_of(hash);
        if home != id.index() / WAYS {
            self.away[home] = self.away[home].saturating_add(1);
            return Stay::Guest;
        }
        self.set_tag(id, tag_of(hash));
        Stay::Home
    }

    /// The opposite of `move_in`: the slot stays taken and is not found. Says what it was.
    pub(super) fn move_out(&mut self, id: ConnId, hash: u64) -> Stay {
        if self.tag(id) != GUEST {
            self.set_tag(id, GUEST);
            return Stay::Home;
        }
        let home = self.set_of(hash);
        if self.away[home] < u8::MAX {
            self.away[home] -= 1;
        }
        Stay::Guest
    }

    /// Gives a slot back.
    pub(super) fn release(&mut self, id: ConnId) {
        self.set_tag(id, FREE);
    }

    /// The first taken slot of a range.
    pub(super) fn next_taken(&self, from: usize, until: usize) -> Option<ConnId> {
        let mut slot = from;
        while slot < until.min(self.slots()) {
            if self.sets[slot / WAYS] == 0 {
                slot = (slot / WAYS + 1) * WAYS;
            } else if self.tag(ConnId(slot as u32)) == FREE {
                slot += 1;
            } else {
                return Some(ConnId(slot as u32));
            }
        }
        None
    }

    #[inline(always)]
    fn set_of(&self, hash: u64) -> usize {
        (((hash >> 32) * self.sets.len() as u64) >> 32) as usize
    }

    fn tag(&self, id: ConnId) -> u8 {
        (self.sets[id.index() / WAYS] >> (id.index() % WAYS * 8)) as u8
    }

    fn set_tag(&mut self, id: ConnId, tag: u8) {
        let shift = id.index() % WAYS * 8;
        let word = &mut self.sets[id.index() / WAYS];
        *word = *word & !(0xff << shift) | u64::from(tag) << shift;
    }
}

#[inline(always)]
fn way_of(hash: u64) -> usize {
    (hash >> 8) as usize % WAYS
}

#[inline(always)]
fn tag_of(hash: u64) -> u8 {
    (hash as u8).max(GUEST + 1)
}

/// The highest bit of each byte of `word` that is `tag`. A byte above such a one may be marked as well, the first never.
#[inline(always)]
fn bytes_like(word: u64, tag: u8) -> u64 {
    let differences = word ^ (u64::from(tag) * LOWEST);
    differences.wrapping_sub(LOWEST) & !differences & HIGHEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn every_slot_is_given_out_once_and_found_again_where_it_is_at_home() {
        let mut rng = Rng::seeded(5);
        let mut homes = Homes::new(600);
        let mut taken: Vec<(ConnId, u64, Stay)> = Vec::new();
        for _ in 0..20_000 {
            if taken.len() < homes.slots() && rng.below(3) > 0 {
                let hash = (rng.below(50) * (u64::MAX / 50)) & !0xff | rng.below(3);
                let id = homes.take(hash).expect("there is room");
                assert!(taken.iter().all(|(other, ..)| *other != id));
                taken.push((id, hash, homes.move_in(id, hash)));
            } else if !taken.is_empty() {
                let (id, hash, stay) = taken.swap_remove(rng.below(taken.len() as u64) as usize);
                assert_eq!(homes.move_out(id, hash), stay);
                homes.release(id);
            }
            for (id, hash, stay) in &taken {
                match stay {
                    Stay::Home => assert!(homes.candidates(*hash).any(|found| found == *id)),
                    Stay::Guest => assert!(homes.some_are_away(*hash)),
                }
            }
        }
        for (_, hash, _) in &taken {
            let away = taken
                .iter()
                .any(|(_, other, stay)| *stay == Stay::Guest && homes.set_of(*other) == homes.set_of(*hash));
            assert_eq!(homes.some_are_away(*hash), away);
        }
        let mut next = 0;
        let mut found = Vec::new();
        while let Some(id) = homes.next_taken(next, homes.slots()) {
            found.push(id);
            next = id.index() + 1;
        }
        let mut wanted: Vec<ConnId> = taken.iter().map(|(id, ..)| *id).collect();
        wanted.sort();
        assert_eq!(found, wanted);
    }

    #[test]
    fn the_last_slot_is_given_out_too_and_then_none() {
        let mut homes = Homes::new(6);
        for _ in 0..homes.slots() {
            homes.take(u64::MAX).unwrap();
        }
        assert!(homes.take(7).is_none());
    }
}
