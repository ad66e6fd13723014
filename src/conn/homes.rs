//! Conns by a hash of what packets carry, the client's endpoint or both ends of FULL-NAT's replies, twelve to a set: one
//! look at one line of memory says where a record can be.
//!
//! A conn stands in the set that its hash names, its home, with a byte of the hash as its tag. Who finds that set full is a
//! guest, and nobody looks for it here. Never looks at the records themselves.

use crate::base::ConnId;

/// Words of a set: one line of the cache, of 64 bytes.
const WORDS: usize = 16;
/// Conns of a set.
const WAYS: usize = 12;
/// The lowest and the highest bit of each byte.
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

/// All sets. Memory that nobody has moved into was never touched.
pub(super) struct Homes {
    words: Vec<u32>,
    /// Words before the first set, which begins with a line.
    skip: usize,
    count: usize,
}

/// One line: the conns, then a byte of tag for each, then how many are guests elsewhere. There are
/// fewer than a word counts: 2^30 conns of two places.
type Set = [u32; WORDS];
const TAGS: usize = WAYS;
const AWAY: usize = WORDS - 1;

impl Homes {
    /// Sets for `max` conns, two places for each: those of FULL-NAT are looked for in two sets. When all that may come are
    /// there, hardly any is a guest; if all are of FULL-NAT, one in nine at each of its places.
    pub(super) fn new(max: usize) -> Homes {
        let count = (2 * max).div_ceil(WAYS).max(1);
        let words = vec![0; (count + 1) * WORDS];
        // In words; it cannot fail for a pointer to words.
        let skip = words.as_ptr().align_offset(size_of::<Set>()).min(WORDS);
        Homes { words, skip, count }
    }

    /// The conns of this set and tag: few, and hardly ever one of another hash.
    #[inline(always)]
    pub(super) fn candidates(&self, hash: u64) -> impl Iterator<Item = ConnId> {
        let set = self.set(hash);
        let mut places = Places::of(set, tag_of(hash));
        std::iter::from_fn(move || places.next().map(|way| ConnId(set[way % WORDS])))
    }

    /// The line in which a conn of this hash is named.
    pub(super) fn line(&self, hash: u64) -> *const () {
        (&raw const *self.set(hash)).cast()
    }

    /// True if a conn of this hash may be a guest somewhere.
    #[inline]
    pub(super) fn some_are_away(&self, hash: u64) -> bool {
        self.set(hash)[AWAY] > 0
    }

    /// Lets a conn be found by this hash, if there is room at home.
    pub(super) fn move_in(&mut self, id: ConnId, hash: u64) -> Stay {
        let set = self.set_mut(hash);
        let Some(way) = Places::of(set, FREE).next() else {
            set[AWAY] += 1;
            return Stay::Guest;
        };
        set[way] = id.0;
        set_tag(set, way, tag_of(hash));
        Stay::Home
    }

    /// The opposite of `move_in`. Says what the conn was.
    pub(super) fn move_out(&mut self, id: ConnId, hash: u64) -> Stay {
        let set = self.set_mut(hash);
        if let Some(way) = Places::of(set, tag_of(hash)).find(|way| set[*way] == id.0) {
            set_tag(set, way, FREE);
            return Stay::Home;
        }
        set[AWAY] -= 1;
        Stay::Guest
    }

    #[inline(always)]
    fn set(&self, hash: u64) -> &Set {
        &self.words[self.skip..].as_chunks().0[self.place(hash)]
    }

    #[inline(always)]
    fn set_mut(&mut self, hash: u64) -> &mut Set {
        let place = self.place(hash);
        &mut self.words[self.skip..].as_chunks_mut().0[place]
    }

    #[inline(always)]
    fn place(&self, hash: u64) -> usize {
        (((hash >> 32) * self.count as u64) >> 32) as usize
    }
}

#[inline(always)]
fn tag_of(hash: u64) -> u8 {
    (hash as u8).max(FREE + 1)
}

fn set_tag(set: &mut Set, way: usize, tag: u8) {
    let (word, shift) = (&mut set[TAGS + way / 4], way % 4 * 8);
    *word = *word & !(0xff << shift) | u32::from(tag) << shift;
}

/// The places of a set that have one tag, as bits: the highest one of each byte for the first eight, and the one below it
/// for the others.
struct Places(u64);

impl Places {
    #[inline(always)]
    fn of(set: &Set, tag: u8) -> Places {
        let first = u64::from(set[TAGS]) | u64::from(set[TAGS + 1]) << 32;
        let others = bytes_like(set[TAGS + 2].into(), tag) & (HIGHEST >> 32);
        Places(bytes_like(first, tag) | others >> 1)
    }
}

impl Iterator for Places {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit / 8 + (!bit & 1) * 8)
    }
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
            let same_home = |other: &u64| homes.place(*other) == homes.place(*hash);
            let guests = known.iter().any(|(_, other, stay)| *stay == Stay::Guest && same_home(other));
            assert_eq!(homes.some_are_away(*hash), guests);
        }
    }
}
