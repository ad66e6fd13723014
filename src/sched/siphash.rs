//! SipHash-1-3 of one 32-bit word (Aumasson and Bernstein, 2012), as the kernel uses it for mh.
//!
//! Never a defence here: the keys are constants of the kernel. `std` has the function but takes no key.

/// The hash of the four little-endian bytes of `word` under the 128-bit key `(key, key)`.
#[inline]
pub(super) fn siphash13(word: u32, key: u64) -> u64 {
    // The letters of "somepseudorandomlygeneratedbytes", each half of the key over two of them.
    let mut v = [
        0x736f_6d65_7073_6575 ^ key,
        0x646f_7261_6e64_6f6d ^ key,
        0x6c79_6765_6e65_7261 ^ key,
        0x7465_6462_7974_6573 ^ key,
    ];
    // The only and last block: the message, and its length (4) in the highest byte.
    let block = (4 << 56) | u64::from(word);
    v[3] ^= block;
    round(&mut v);
    v[0] ^= block;
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use super::*;

    /// `DefaultHasher` is SipHash-1-3 under a key of zeros: an implementation that is not ours.
    #[test]
    fn it_agrees_with_the_standard_library_where_that_can_be_asked() {
        for word in [0, 1, 0xff, 0x0a00_0001, 0xdead_beef, u32::MAX] {
            let mut theirs = std::collections::hash_map::DefaultHasher::new();
            theirs.write(&word.to_le_bytes());
            assert_eq!(siphash13(word, 0), theirs.finish(), "{word:#x}");
        }
    }

    #[test]
    fn clients_hash_as_they_do_in_the_kernel() {
        let vectors = [([10, 0, 0, 1], 0x0308_0ce4), ([192, 0, 2, 1], 0x9288_9c88), ([203, 0, 113, 200], 0x9da0_894b)];
        for (addr, hash) in vectors {
            assert_eq!(siphash13(u32::from_be_bytes(addr), 2_654_435_761) as u32, hash, "{addr:?}");
        }
    }
}
