//! Conns by their clients' endpoints, eight to a set: one look at one word says where a record can be.
//!
//! A conn stands in the set that its hash names, its home, with a byte of the hash as its tag. Who finds that set full is a
//! guest, and nobody looks for it here. Never looks at the records themselves.

use crate::base::ConnId;

/// Conns of a set: one tag each in a word.
const WAYS: usize = 8;
/// The lowest and the highest bit of each tag.
const LOWEST: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = 0x8080_8080_8080_8080;
/// The tag that no hash has.
const FREE: u8 = 0;

/// Whether a conn stands where its hash says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stay {
    /// It does.
    Home,
    /// There was no room.
    Guest,
}

/// All sets.
pub(super) struct Homes {
    tags: Vec<u64>,
    ids: Vec<[u32; WAYS]>,
    /// How many conns of each set are guests elsewhere; what is full stays full.
    away: Vec<u8>,
}

impl Homes {
    /// Sets for `max` conns, with a third of their places to spare: when all are there, one in twenty is a guest.
    pub(super) fn new(max: usize) -> Homes {
        let count = (max + max / 3).div_ceil(WAYS).max(1);
        Homes { tags: vec![0; count], ids: vec![[0; WAYS]; count], away: vec![0; count] }
    }

    /// The conns of this set and tag: few, and hardly ever one of another hash.
    #[inline(always)]
    pub(super) fn candidates(&self, hash: u64) -> impl Iterator<Item = ConnId> {
        let set = self.set_of(hash);
        let (mut hits, ids) = (bytes_like(self.tags[set], tag_of(hash)), &self.ids[set]);
        std::iter::from_fn(move || {
            let id = ids.get(hits.trailing_zeros() as usize / 8);
            hits &= hits.wrapping_sub(1);
            id.map(|id| ConnId(*id))
        })
    }

    /// True if a conn of this hash may be a guest somewhere.
    #[inline]
    pub(super) fn some_are_away(&self, hash: u64) -> bool {
        self.away[self.set_of(hash)] > 0
    }

    /// Lets a conn be found by this hash, if there is room at home.
    pub(super) fn move_in(&mut self, id: ConnId, hash: u64) -> Stay {
        let set = self.set_of(hash);
        let way = bytes_like(self.tags[set], FREE).trailing_zeros() as usize / 8;
        if way == WAYS {
            self.away[set] = self.away[set].saturating_add(1);
            return Stay::Guest;
        }
        self.ids[set][way] = id.0;
        self.tags[set] |= u64::from(tag_of(hash)) << (way * 8);
        Stay::Home
    }

    /// The opposite of `move_in`. Says what the conn was.
    pub(super) fn move_out(&mut self, id: ConnId, hash: u64) -> Stay {
        let set = self.set_of(hash);
        let is_it = |way: &usize| self.ids[set][*way] == id.0 && (self.tags[set] >> (way * 8)) as u8 != FREE;
        if let Some(way) = (0..WAYS).find(is_it) {
            self.tags[set] &= !(0xff << (way * 8));
            return Stay::Home;
        }
        if self.away[set] < u8::MAX {
            self.away[set] -= 1;
        }
        Stay::Guest
    }

    #[inline(always)]
    fn set_of(&self, hash: u64) -> usize {
        (((hash >> 32) * self.tags.len() as u64) >> 32) as usize
    }
}

#[inline(always)]
fn tag_of(hash: u64) -> u8 {
    (hash as u8).max(FREE + 1)
}

/// The highest bit of each byte of `word` that is `tag`.
#[inline(always)]
fn bytes_like(word: u64, tag: u8) -> u64 {
    let differences = word ^ (u64::from(tag) * LOWEST);
    // Each byte by itself: its lower bits carry into its highest one unless they are all 0.
    !(((differences & !HIGHEST) + !HIGHEST) | differences) & HIGHEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn who_has_moved_in_is_found_and_who_had_no_room_is_counted() {
        let mut rng = Rng::seeded(5);
        let mut homes = Homes::new(600);
        let mut known: Vec<(ConnId, u64, Stay)> = Vec::new();
        for number in 1..20_000 {
            if known.len() < 600 && rng.below(3) > 0 {
                let hash = (rng.below(50) * (u64::MAX / 50)) & !0xff | rng.below(3);
                known.push((ConnId(number), hash, homes.move_in(ConnId(number), hash)));
            } else if !known.is_empty() {
                let (id, hash, stay) = known.swap_remove(rng.below(known.len() as u64) as usize);
                assert_eq!(homes.move_out(id, hash), stay);
            }
            if number % 50 == 0 {
                check(&homes, &known);
            }
        }
        assert!(known.iter().any(|(_, _, stay)| *stay == Stay::Guest));
    }

    fn check(homes: &Homes, known: &[(ConnId, u64, Stay)]) {
        for (id, hash, stay) in known {
            let found = homes.candidates(*hash).filter(|found| found == id).count();
            assert_eq!(found, usize::from(*stay == Stay::Home));
            let same_home = |other: &u64| homes.set_of(*other) == homes.set_of(*hash);
            let guests = known.iter().any(|(_, other, stay)| *stay == Stay::Guest && same_home(other));
            assert_eq!(homes.some_are_away(*hash), guests);
        }
    }
}
