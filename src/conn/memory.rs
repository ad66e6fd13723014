//! The arrays of a flow table that may outlive the process, and what in them can be trusted afterwards.
//!
//! A record counts only with the check beside it, a keyed sum of all that decides where its packets go: it is written after
//! the record and cleared before it, so a process that dies in between leaves nothing half-made. Never finds a conn.

use std::ops::Range;

use super::addresses::{ADDRESSES, AddressLine};
use super::key::Secret;
use super::record::Conn;
use crate::base::{Array, Plain};

/// Addresses that a record names, and one that is about to be.
const A_RECORD: usize = 4;

/// Memory for a flow table, zeroed or as another process has left it.
pub struct Memory {
    /// A record a slot.
    pub records: Array<Conn>,
    /// A check a slot; 0: vacant.
    pub checks: Array<u32>,
    /// By how much the sequence numbers of a conn's client are moved, a slot.
    pub shifts: Array<u32>,
    /// Interned addresses.
    pub addresses: Array<AddressLine>,
    /// Slots that were ever used.
    pub used: Array<u32>,
    /// Key of the checks and of the buckets.
    pub secret: Secret,
    /// Which process this is, of those that used the memory one after the other: slots of dests are of one generation.
    pub generation: u64,
}

impl Memory {
    /// Addresses that a table's memory has room for.
    pub const ADDRESSES: usize = ADDRESSES;

    /// Memory of this process, for `max` conns.
    pub fn new(max: usize, secret: Secret) -> Memory {
        Memory {
            records: Array::zeroed(max),
            checks: Array::zeroed(max),
            shifts: Array::zeroed(max),
            addresses: Array::zeroed(ADDRESSES.min(max.saturating_mul(A_RECORD))),
            used: Array::zeroed(1),
            secret,
            generation: 0,
        }
    }

    /// Slots that may hold something.
    pub(super) fn used(&self) -> usize {
        (self.used[0] as usize).min(self.records.len())
    }
}

/// The addresses of an array.
pub(super) fn addresses<T>(array: &[T]) -> Range<usize> {
    let bounds = array.as_ptr_range();
    bounds.start as usize..bounds.end as usize
}

/// A record's check; never 0. `generation` is the one whose dests it names.
///
/// It must find what was damaged or half-written, not what somebody forged who can write the file: two words a
/// multiplication do, in an order that counts, where SipHash would be half of what opening a conn costs.
pub(super) fn check_of(conn: &Conn, secret: Secret, generation: u64) -> u32 {
    sum_of(conn.identity(), [secret[0] ^ generation, secret[1]]).max(1)
}

fn sum_of([a, b, c, d, e, f, g]: [u64; 7], secret: Secret) -> u32 {
    // Digits of pi: a factor of few bits would leave the upper half of a product empty.
    let (first, other) = (secret[0] ^ 0x243f_6a88_85a3_08d3, secret[1] ^ 0x1319_8a2e_0370_7344);
    let pairs = [(a, b), (c, d), (e, f), (g, 0)];
    let sum = pairs.into_iter().fold(first, |sum, (one, two)| folded(sum ^ one, other ^ two));
    (sum >> 32) as u32
}

/// The product with its upper half laid over the lower one, so that every bit of both factors reaches it.
pub(super) fn folded(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    (product >> 64) as u64 ^ product as u64
}

// SAFETY: integers of every value, and addresses, which are numbers; they fill the line of the cache that a record is.
#[allow(unsafe_code)]
unsafe impl Plain for Conn {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn a_bit_turned_and_words_exchanged_make_another_sum() {
        let mut rng = Rng::seeded(3);
        for _ in 0..200 {
            let key = [rng.next_u64(), rng.next_u64()];
            let words: [u64; 7] = std::array::from_fn(|_| rng.next_u64() >> rng.below(64));
            let sum = sum_of(words, key);
            for bit in 0..7 * 64 {
                let mut turned = words;
                turned[bit / 64] ^= 1 << (bit % 64);
                assert_ne!(sum_of(turned, key), sum, "bit {bit} of {words:x?}");
            }
            for (one, two) in (0..7).flat_map(|one| (0..one).map(move |two| (one, two))) {
                let mut exchanged = words;
                exchanged.swap(one, two);
                assert!(exchanged == words || sum_of(exchanged, key) != sum, "{one} and {two} of {words:x?}");
            }
            for bit in 0..128 {
                let mut other = key;
                other[bit / 64] ^= 1 << (bit % 64);
                assert_ne!(sum_of(words, other), sum, "bit {bit} of the key");
            }
        }
    }
}
