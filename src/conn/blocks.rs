//! Blocks of slots that a page of records each holds: a sum says whether anything in one has changed.
//!
//! Never reads what a record says.

use std::ops::Range;

use super::key::Secret;
use super::memory::folded;
use super::record::Conn;
use crate::base::bytes_of;

/// Slots of a block; few in tests, so that many are full.
pub(super) const BLOCK: usize = if cfg!(test) { 4 } else { 64 };
/// Sums beside each other, none of which waits for another one.
const LANES: usize = 4;
/// Bytes that one of them takes at a time.
const STEP: usize = 16;

/// The slots of a block.
pub(super) fn slots_of(block: usize) -> Range<usize> {
    block * BLOCK..(block + 1) * BLOCK
}

/// The sum of records and their checks, all bits of them. Nobody who does not know the secret can change some and keep it.
pub(super) fn sum_of(records: &[Conn], checks: &[u32], secret: Secret) -> u64 {
    let mut lanes: [u64; LANES] = std::array::from_fn(|lane| secret[0].rotate_left(lane as u32 * 16) ^ lane as u64);
    for part in [bytes_of(records), bytes_of(checks)] {
        let (lines, rest) = part.as_chunks::<{ LANES * STEP }>();
        lines.iter().for_each(|line| add(&mut lanes, line, secret));
        add(&mut lanes, rest, secret);
    }
    lanes.into_iter().fold(secret[1], |sum, lane| folded(sum ^ lane, secret[1]))
}

#[inline(always)]
fn add(lanes: &mut [u64; LANES], line: &[u8], secret: Secret) {
    for (lane, step) in lanes.iter_mut().zip(line.as_chunks::<STEP>().0) {
        let both = u128::from_ne_bytes(*step);
        *lane = folded(*lane ^ both as u64, secret[1] ^ (both >> 64) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::conn::record::NIL;

    #[test]
    fn a_bit_turned_and_records_exchanged_make_another_sum() {
        let mut rng = Rng::seeded(7);
        let secret = [rng.next_u64(), rng.next_u64()];
        let mut records: Vec<Conn> = (0..BLOCK as u32).map(Conn::vacant).collect();
        let mut checks: Vec<u32> = (0..BLOCK).map(|_| rng.next_u64() as u32).collect();
        let sum = sum_of(&records, &checks, secret);
        for slot in 0..BLOCK {
            for bit in 0..32 {
                checks[slot] ^= 1 << bit;
                assert_ne!(sum_of(&records, &checks, secret), sum, "bit {bit} of check {slot}");
                checks[slot] ^= 1 << bit;
                let before = std::mem::replace(&mut records[slot], Conn::vacant(slot as u32 ^ 1 << bit));
                assert_ne!(sum_of(&records, &checks, secret), sum, "bit {bit} of record {slot}");
                records[slot] = before;
            }
        }
        records.swap(0, BLOCK - 1);
        assert_ne!(sum_of(&records, &checks, secret), sum);
        records.swap(0, BLOCK - 1);
        assert_eq!(sum_of(&records, &checks, secret), sum);
        assert_ne!(sum_of(&records, &checks, [secret[0], NIL.into()]), sum, "another secret");
    }
}
