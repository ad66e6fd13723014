//! Buckets of 12 conns, each one cache line, chosen by a keyed hash of the client's endpoint (or of both ends of a
//! FULL-NAT reply). A tag, one byte of the hash, says which of the 12 records to look at.
//!
//! A conn whose bucket is full goes to the overflow index; the bucket counts how many did.
//!
//! There are as many buckets as the conns need: one more is split in two as their number grows (linear hashing, Litwin
//! 1980), so that no packet waits for all to be moved. Never reads a record.

use std::ops::Range;

use super::memory::addresses;
use crate::base::{ConnId, prefetch};

/// Words of a bucket: a cache line of 64 bytes.
const WORDS: usize = 16;
/// Conns of a bucket.
const WAYS: usize = 12;
/// The lowest and the highest bit of each byte.
const LOWEST: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = 0x8080_8080_8080_8080;
/// The tag that no hash has.
const FREE: u8 = 0;

/// Where a conn is entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Placement {
    /// In the bucket that its hash names.
    Bucket,
    /// In the overflow index, because that bucket is full.
    Overflow,
}

/// Buckets of the smallest table: a megabyte.
const FEWEST: usize = 1 << 14;
/// A bucket is split when there are more entries than this for each.
const LOAD: usize = 4;

/// All buckets. Memory of buckets that are not in use yet is never touched.
pub(super) struct Buckets {
    words: Vec<u32>,
    /// Words before the first bucket, which starts at a cache line.
    skip: usize,
    /// Buckets in use.
    count: usize,
    /// Of the bits of a hash that name a bucket, those that `count` buckets need.
    mask: usize,
    /// Buckets that there is memory for.
    most: usize,
    entries: usize,
}

/// One cache line: 12 conns, a tag byte for each, and how many conns overflowed. A word can count them all: there are at
/// most 2^30 conns, with two entries each.
type Bucket = [u32; WORDS];
const TAGS: usize = WAYS;
const OVERFLOWED: usize = WORDS - 1;
/// In the count of overflowed conns: some may be counted by the bucket that this one was split from.
const INHERITED: u32 = 1 << 31;

impl Buckets {
    pub(super) fn memory(&self) -> Range<usize> {
        addresses(&self.words)
    }

    /// For up to `max` conns of up to two entries, because FULL-NAT conns are entered twice. At `max` conns hardly any
    /// overflows; with FULL-NAT alone, one entry in nine at the most.
    pub(super) fn new(max: usize) -> Buckets {
        let most = (2 * max).div_ceil(WAYS).max(1).next_power_of_two();
        let count = most.min(FEWEST);
        let words = vec![0; (most + 1) * WORDS];
        // In words; it cannot fail for a pointer to words.
        let skip = words.as_ptr().align_offset(size_of::<Bucket>()).min(WORDS);
        Buckets { words, skip, count, mask: count - 1, most, entries: 0 }
    }

    /// Makes room for so many entries at once, while there are none: no bucket has to be split for them.
    pub(super) fn expect(&mut self, entries: usize) {
        debug_assert_eq!(self.entries, 0);
        self.count = entries.div_ceil(LOAD).clamp(self.count, self.most);
        self.mask = self.count.next_power_of_two() - 1;
    }

    /// True if there are too many entries for the number of buckets, and there may be more of these.
    #[inline]
    pub(super) fn are_crowded(&self) -> bool {
        self.entries >= self.count * LOAD && self.count < self.most
    }

    /// Splits a bucket in two; call before each `insert` while they are crowded. `hashes_of` tells the hashes by which a conn
    /// was entered.
    #[inline(never)]
    pub(super) fn split(&mut self, hashes_of: impl Fn(ConnId) -> [Option<u64>; 2]) {
        let added = self.count;
        self.count += 1;
        self.mask |= added;
        let half = self.mask >> 1;
        let split = added & half;
        let (old, mut parts) = (*self.at(split), [[0; WORDS]; 2]);
        parts[0][OVERFLOWED] = old[OVERFLOWED];
        parts[1][OVERFLOWED] = if old[OVERFLOWED] > 0 { INHERITED } else { 0 };
        let mut filled = [0; 2];
        for way in (0..WAYS).filter(|way| tag_at(&old, *way) != FREE) {
            let (id, tag) = (ConnId(old[way]), tag_at(&old, way));
            // Both entries of a conn may lie here under one tag: then each takes one of its hashes.
            let before = (0..way).filter(|other| old[*other] == id.0 && tag_at(&old, *other) == tag).count();
            let names_it = |hash: &u64| tag_of(*hash) == tag && (*hash >> 32) as usize & half == split;
            let hash = hashes_of(id).into_iter().flatten().filter(names_it).nth(before);
            debug_assert!(hash.is_some(), "an entry that its record does not account for");
            let part = usize::from(hash.is_some_and(|hash| self.place(hash) == added));
            parts[part][filled[part]] = id.0;
            set_tag(&mut parts[part], filled[part], tag);
            filled[part] += 1;
        }
        *self.at_mut(split) = parts[0];
        *self.at_mut(added) = parts[1];
    }

    /// The conns of this bucket and tag: few, and hardly ever one of another hash.
    #[inline(always)]
    pub(super) fn candidates(&self, hash: u64) -> impl Iterator<Item = ConnId> {
        let bucket = self.bucket(hash);
        let mut places = Places::of(bucket, tag_of(hash));
        std::iter::from_fn(move || places.next().map(|way| ConnId(bucket[way % WORDS])))
    }

    /// Prefetches this hash's bucket.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch(self.bucket(hash));
    }

    /// True if a conn of this hash may be in the overflow index.
    #[inline]
    pub(super) fn overflowed(&self, hash: u64) -> bool {
        self.bucket(hash)[OVERFLOWED] > 0
    }

    /// False if no conn of this hash is entered anywhere.
    #[inline(always)]
    pub(super) fn may_have(&self, hash: u64) -> bool {
        let bucket = self.bucket(hash);
        Places::of(bucket, tag_of(hash)).0 != 0 || bucket[OVERFLOWED] > 0
    }

    /// Enters a conn in the bucket of this hash, or counts it as overflowed if the bucket is full.
    pub(super) fn insert(&mut self, id: ConnId, hash: u64) -> Placement {
        self.entries += 1;
        let bucket = self.at_mut(self.place(hash));
        let Some(way) = Places::of(bucket, FREE).next() else {
            bucket[OVERFLOWED] += 1;
            return Placement::Overflow;
        };
        bucket[way] = id.0;
        set_tag(bucket, way, tag_of(hash));
        Placement::Bucket
    }

    /// The opposite of `insert`. Says where the conn was.
    pub(super) fn remove(&mut self, id: ConnId, hash: u64) -> Placement {
        self.entries -= 1;
        let place = self.place(hash);
        let bucket = self.at_mut(place);
        if let Some(way) = Places::of(bucket, tag_of(hash)).find(|way| bucket[*way] == id.0) {
            set_tag(bucket, way, FREE);
            return Placement::Bucket;
        }
        self.uncount_overflowed(place);
        Placement::Overflow
    }

    /// One overflowed conn less: counted here, or where this bucket was split from before.
    ///
    /// A bucket never loses the count of a conn of its own that way: what its parts take from it beyond what they counted
    /// themselves are conns of theirs that it counted before the split.
    fn uncount_overflowed(&mut self, mut place: usize) {
        while self.at(place)[OVERFLOWED] & !INHERITED == 0 && place > 0 {
            place &= (place + 1).next_power_of_two() / 2 - 1;
        }
        debug_assert!(self.at(place)[OVERFLOWED] & !INHERITED > 0);
        self.at_mut(place)[OVERFLOWED] -= 1;
    }

    #[inline(always)]
    fn bucket(&self, hash: u64) -> &Bucket {
        self.at(self.place(hash))
    }

    #[inline(always)]
    fn at(&self, place: usize) -> &Bucket {
        &self.words[self.skip..].as_chunks().0[place]
    }

    #[inline(always)]
    fn at_mut(&mut self, place: usize) -> &mut Bucket {
        &mut self.words[self.skip..].as_chunks_mut().0[place]
    }

    /// A bucket that is not in use yet has its conns in the one that it will be split from.
    #[inline(always)]
    fn place(&self, hash: u64) -> usize {
        let place = (hash >> 32) as usize & self.mask;
        if place < self.count { place } else { place & (self.mask >> 1) }
    }
}

fn tag_at(bucket: &Bucket, way: usize) -> u8 {
    (bucket[TAGS + way / 4] >> (way % 4 * 8)) as u8
}

#[inline(always)]
fn tag_of(hash: u64) -> u8 {
    (hash as u8).max(FREE + 1)
}

fn set_tag(bucket: &mut Bucket, way: usize, tag: u8) {
    let (word, shift) = (&mut bucket[TAGS + way / 4], way % 4 * 8);
    *word = *word & !(0xff << shift) | u32::from(tag) << shift;
}

/// The places of a bucket that have one tag, as bits: the highest bit of each byte for the first eight, and the bit below
/// it for the other four.
struct Places(u64);

impl Places {
    #[inline(always)]
    fn of(bucket: &Bucket, tag: u8) -> Places {
        let first = u64::from(bucket[TAGS]) | u64::from(bucket[TAGS + 1]) << 32;
        let others = bytes_like(bucket[TAGS + 2].into(), tag) & (HIGHEST >> 32);
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
    fn a_conn_is_found_in_its_bucket_or_counted_as_overflowed() {
        let mut rng = Rng::seeded(5);
        let mut buckets = Buckets::new(600);
        let mut known: Vec<(ConnId, u64, Placement)> = Vec::new();
        for number in 1..20_000 {
            if known.len() < 600 && rng.below(3) > 0 {
                let hash = (rng.below(50) * (u64::MAX / 50)) & !0xff | rng.below(3);
                known.push((ConnId(number), hash, buckets.insert(ConnId(number), hash)));
            } else if !known.is_empty() {
                let (id, hash, placement) = known.swap_remove(rng.below(known.len() as u64) as usize);
                assert_eq!(buckets.remove(id, hash), placement);
            }
            if number % 50 == 0 {
                check(&buckets, &known);
            }
        }
        assert!(known.iter().any(|(_, _, placement)| *placement == Placement::Overflow));
    }

    fn check(buckets: &Buckets, known: &[(ConnId, u64, Placement)]) {
        for (id, hash, placement) in known {
            let found = buckets.candidates(*hash).filter(|found| found == id).count();
            assert_eq!(found, usize::from(*placement == Placement::Bucket));
            let same_bucket = |other: &u64| buckets.place(*other) == buckets.place(*hash);
            let overflowed =
                known.iter().any(|(_, other, placement)| *placement == Placement::Overflow && same_bucket(other));
            assert_eq!(buckets.overflowed(*hash), overflowed);
        }
    }

    #[test]
    fn buckets_are_split_as_conns_come_and_each_is_still_found() {
        let mut rng = Rng::seeded(9);
        let mut buckets = Buckets::new(400_000);
        let (before, most) = (buckets.count, 200_000);
        let mut hashes: Vec<[Option<u64>; 2]> = vec![[None; 2]; most];
        let mut placed = vec![[Placement::Bucket; 2]; most];
        for id in 0..most {
            // Some clients have many conns, so that buckets overflow; some conns have both entries in one bucket.
            let client = if rng.below(4) == 0 { rng.below(300) * (u64::MAX / 300) } else { rng.next_u64() };
            let reply = [None, Some(rng.next_u64()), Some(client)][rng.below(3) as usize];
            for (side, hash) in [Some(client), reply].into_iter().enumerate() {
                if buckets.are_crowded() {
                    buckets.split(|other| hashes[other.index()]);
                }
                hashes[id][side] = hash;
                placed[id][side] = hash.map_or(Placement::Bucket, |hash| buckets.insert(ConnId(id as u32), hash));
            }
        }
        assert!(buckets.count > 3 * before, "{}", buckets.count);
        let each = (0..most).flat_map(|id| [(id, 0), (id, 1)]);
        for (id, side) in each.clone().filter(|(id, side)| hashes[*id][*side].is_some()) {
            let hash = hashes[id][side].unwrap_or_default();
            match placed[id][side] {
                Placement::Bucket => assert!(buckets.candidates(hash).any(|found| found.index() == id)),
                Placement::Overflow => assert!(buckets.overflowed(hash)),
            }
        }
        for (id, side) in each {
            let Some(hash) = hashes[id][side] else { continue };
            let now = buckets.remove(ConnId(id as u32), hash);
            // Two entries of one conn under one hash are alike.
            assert!(now == placed[id][side] || hashes[id][0] == hashes[id][1]);
        }
        let counted = (0..buckets.count).map(|place| buckets.at(place)[OVERFLOWED] & !INHERITED).sum::<u32>();
        assert_eq!((counted, buckets.entries), (0, 0));
    }
}
