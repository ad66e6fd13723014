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

/// Adds two folded sums.
pub fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

/// The checksum after `old` became `new` under it (RFC 1624, eqn 3); both of the same even length.
///
/// A checksum that was wrong stays wrong by the same difference.
#[inline]
pub fn update(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    !shift(!checksum, old, new)
}

/// The folded, non-inverted sum after `old` became `new` under it.
#[inline]
pub fn shift(folded: u16, old: &[u8], new: &[u8]) -> u16 {
    let mut total = u64::from(folded);
    for pair in old.chunks_exact(2) {
        total += u64::from(!u16::from_be_bytes([pair[0], pair[1]]));
    }
    for pair in new.chunks_exact(2) {
        total += u64::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    fold(total)
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

#[inline]
fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
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
    fn an_update_equals_a_sum_made_anew() {
        let mut rng = Rng::seeded(3);
        for _ in 0..10_000 {
            let mut bytes: Vec<u8> = (0..40).map(|_| rng.next_u64() as u8).collect();
            let before = !sum(&bytes);
            let at = 2 * rng.below(18) as usize;
            let old = bytes[at..at + 4].to_vec();
            let new = (rng.next_u64() as u32).to_be_bytes();
            bytes[at..at + 4].copy_from_slice(&new);
            assert_eq!(update(before, &old, &new), !sum(&bytes));
        }
    }
}
