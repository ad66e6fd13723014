//! Buckets of 12 conns, each one cache line, chosen by a keyed hash of the client's endpoint (or of both ends of a
//! FULL-NAT reply). A tag, one byte of the hash, says which of the 12 records to look at.
//!
//! A conn whose bucket is full goes to the overflow index; the bucket counts how many did. Never reads a record.

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

/// All buckets. Memory of buckets that no conn was put into is never touched.
pub(super) struct Buckets {
    words: Vec<u32>,
    /// Words before the first bucket, which starts at a cache line.
    skip: usize,
    count: usize,
}

/// One cache line: 12 conns, a tag byte for each, and how many conns overflowed. A word can count them all: there are at
/// most 2^30 conns, with two entries each.
type Bucket = [u32; WORDS];
const TAGS: usize = WAYS;
const OVERFLOWED: usize = WORDS - 1;

impl Buckets {
    /// Sized for two entries a conn, because FULL-NAT conns are entered twice. Even at `max` conns hardly any overflows;
    /// with FULL-NAT alone, one entry in nine.
    pub(super) fn new(max: usize) -> Buckets {
        let count = (2 * max).div_ceil(WAYS).max(1);
        let words = vec![0; (count + 1) * WORDS];
        // In words; it cannot fail for a pointer to words.
        let skip = words.as_ptr().align_offset(size_of::<Bucket>()).min(WORDS);
        Buckets { words, skip, count }
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

    /// Enters a conn in the bucket of this hash, or counts it as overflowed if the bucket is full.
    pub(super) fn insert(&mut self, id: ConnId, hash: u64) -> Placement {
        let bucket = self.bucket_mut(hash);
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
        let bucket = self.bucket_mut(hash);
        if let Some(way) = Places::of(bucket, tag_of(hash)).find(|way| bucket[*way] == id.0) {
            set_tag(bucket, way, FREE);
            return Placement::Bucket;
        }
        bucket[OVERFLOWED] -= 1;
        Placement::Overflow
    }

    #[inline(always)]
    fn bucket(&self, hash: u64) -> &Bucket {
        &self.words[self.skip..].as_chunks().0[self.place(hash)]
    }

    #[inline(always)]
    fn bucket_mut(&mut self, hash: u64) -> &mut Bucket {
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
}
