//! Internet checksums (RFC 1071) and their incremental update (RFC 1624).
//!
//! Sums are one's complement and folded to 16 bits in network order. Never verifies on its own account.

use std::net::IpAddr;

use crate::base::Proto;

/// The folded, non-inverted sum of `bytes`, an odd last byte padded with zero.
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    let mut total = 0u64;
    let mut words = bytes.chunks_exact(4);
    // In the machine's order, several at a time: one's complement sums do not mind until the end (RFC 1071 2B).
    for word in &mut words {
        total += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    }
    let mut last = [0; 4];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    u16::from_be(fold(total + u64::from(u32::from_ne_bytes(last))))
}

/// The same for a constant length, a multiple of four: unrolled.
#[inline(always)]
pub fn sum_of<const N: usize>(bytes: &[u8; N]) -> u16 {
    const { assert!(N.is_multiple_of(4)) };
    let words = bytes.as_chunks().0.iter();
    u16::from_be(fold(words.map(|word| u64::from(u32::from_ne_bytes(*word))).sum()))
}

/// Adds two folded sums.
#[inline]
pub fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

/// The change of a sum when `old` becomes `new` under it; an even number of bytes.
#[inline(always)]
pub fn change<const N: usize>(old: &[u8; N], new: &[u8; N]) -> u16 {
    let word = |bytes: &[u8]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let half = |bytes: &[u8]| u16::from_ne_bytes([bytes[0], bytes[1]]);
    let mut total = 0;
    for (old, new) in old.chunks_exact(4).zip(new.chunks_exact(4)) {
        total += u64::from(!word(old)) + u64::from(word(new));
    }
    if N % 4 == 2 {
        total += u64::from(!half(&old[N - 2..])) + u64::from(half(&new[N - 2..]));
    }
    u16::from_be(fold(total))
}

/// The checksum after its sum has changed so (RFC 1624, eqn 3). One that was wrong stays wrong by the same difference.
#[inline(always)]
pub fn update(checksum: u16, change: u16) -> u16 {
    !add(!checksum, change)
}

/// An IPv4 header's checksum after one was taken from its TTL (RFC 1141).
#[inline(always)]
pub fn one_hop_less(checksum: u16) -> u16 {
    let more = u32::from(checksum) + 0x0100;
    (more + u32::from(more >= 0xffff)) as u16
}

/// A UDP checksum as it is sent: 0 would say that there is none (RFC 768).
pub fn nonzero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// The folded sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1) for `len` bytes of layer 4.
pub fn pseudo(src: IpAddr, dst: IpAddr, proto: Proto, len: usize) -> u16 {
    let addresses = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => add(sum(&src.octets()), sum(&dst.octets())),
        (IpAddr::V6(src), IpAddr::V6(dst)) => add(sum(&src.octets()), sum(&dst.octets())),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            debug_assert!(false, "a packet has one family");
            0
        }
    };
    add(addresses, fold(u64::from(proto.0) + len as u64))
}

/// The folded sum of a layer-4 message with its pseudo-header; 0xffff if the checksum inside it is right.
pub fn with_pseudo(src: IpAddr, dst: IpAddr, proto: Proto, message: &[u8]) -> u16 {
    add(pseudo(src, dst, proto, message.len()), sum(message))
}

#[inline(always)]
fn fold(total: u64) -> u16 {
    let total = (total >> 32) + (total & 0xffff_ffff);
    // 33 bits, then 18, then 17, then 16.
    let total = (total >> 16) + (total & 0xffff);
    let total = (total >> 16) + (total & 0xffff);
    ((total >> 16) + (total & 0xffff)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn the_worked_example_of_rfc_1071() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(sum(&[0x12]), 0x1200);
        assert_eq!(sum(&[]), 0);
    }

    #[test]
    fn one_hop_less_is_an_update_for_every_checksum_and_ttl() {
        for checksum in 0..=u16::MAX {
            let ttl = (checksum % 255) as u8;
            let change = change(&[ttl + 1, 6], &[ttl, 6]);
            assert_eq!(one_hop_less(checksum), update(checksum, change), "{checksum:#06x}");
        }
    }

    #[test]
    fn a_sum_of_a_known_length_is_a_sum() {
        let mut rng = Rng::seeded(8);
        for _ in 0..1000 {
            let bytes: [u8; 20] = std::array::from_fn(|_| [rng.next_u64() as u8, 0xff][rng.below(2) as usize]);
            assert_eq!(sum_of(&bytes), sum(&bytes));
        }
    }

    #[test]
    fn an_update_equals_a_sum_made_anew() {
        let mut rng = Rng::seeded(3);
        for _ in 0..10_000 {
            let mut bytes: Vec<u8> = (0..40).map(|_| rng.next_u64() as u8).collect();
            let before = !sum(&bytes);
            let at = 2 * rng.below(16) as usize;
            let old: [u8; 6] = bytes[at..at + 6].try_into().unwrap();
            let new: [u8; 6] = std::array::from_fn(|_| rng.next_u64() as u8);
            bytes[at..at + 6].copy_from_slice(&new);
            assert_eq!(update(before, change(&old, &new)), !sum(&bytes));
        }
    }
}
