//! Hash functions: a keyed one for tables whose keys strangers choose, a quick one for small maps.
//!
//! SipHash-1-3 (Aumasson and Bernstein, 2012) is written out because `std` takes no key where the kernel's is wanted, and
//! is three times as slow on a tuple. The quick hash is foldhash, hashbrown's own; it has one fixed seed, so that a
//! replayed run walks its maps in the same order. Never use it for a map that strangers can fill without bound.

/// The third parameter of a small `HashMap` that packets look into: services, neighbours, configured addresses.
pub type FastHash = foldhash::fast::FixedState;

/// The hash of a message in 64-bit blocks; the last one carries the message's length in its highest byte.
#[inline]
pub fn siphash13<const BLOCKS: usize>(key: [u64; 2], message: [u64; BLOCKS]) -> u64 {
    // The letters of "somepseudorandomlygeneratedbytes", each half of the key over two of them.
    let mut v = [
        0x736f_6d65_7073_6575 ^ key[0],
        0x646f_7261_6e64_6f6d ^ key[1],
        0x6c79_6765_6e65_7261 ^ key[0],
        0x7465_6462_7974_6573 ^ key[1],
    ];
    for block in message {
        v[3] ^= block;
        round(&mut v);
        v[0] ^= block;
    }
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
    use std::collections::HashSet;
    use std::hash::{BuildHasher, Hasher};
    use std::net::IpAddr;

    use super::*;

    /// `DefaultHasher` is SipHash-1-3 under a key of zeros: an implementation that is not ours.
    #[test]
    fn it_agrees_with_the_standard_library_where_that_can_be_asked() {
        let theirs = |message: &[u8]| {
            let mut hasher = std::collections::hash_map::DefaultHasher::new();
            hasher.write(message);
            hasher.finish()
        };
        for word in [0, 1, 0xff, 0x0a00_0001, 0xdead_beef, u32::MAX] {
            let ours = siphash13([0; 2], [4 << 56 | u64::from(word)]);
            assert_eq!(ours, theirs(&word.to_le_bytes()), "{word:#x}");
        }
        let message: Vec<u8> = (0..14).collect();
        let blocks = [0x0706_0504_0302_0100, 14 << 56 | 0x0d0c_0b0a_0908];
        assert_eq!(siphash13([0; 2], blocks), theirs(&message));
    }

    #[test]
    fn both_halves_of_the_key_matter() {
        let hash = |key| siphash13(key, [1 << 56]);
        assert!(hash([0, 0]) != hash([1, 0]) && hash([0, 0]) != hash([0, 1]));
    }

    #[test]
    fn neighbours_of_one_net_spread_over_buckets_and_tags() {
        // What a hash table looks at: the lowest bits for the bucket, the highest seven for the tag.
        for net in ["10.0.0.0", "2001:db8::"] {
            let net: IpAddr = net.parse().unwrap();
            let hashes = (0..1024u32).map(|n| {
                let addr = match net {
                    IpAddr::V4(net) => IpAddr::from((net.to_bits() + n).to_be_bytes()),
                    IpAddr::V6(net) => IpAddr::from((net.to_bits() + u128::from(n)).to_be_bytes()),
                };
                FastHash::default().hash_one(addr)
            });
            let hashes: Vec<u64> = hashes.collect();
            let buckets: HashSet<u64> = hashes.iter().map(|hash| hash & 1023).collect();
            let tags: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
            assert!(buckets.len() > 500 && tags.len() > 100, "{net}: {} {}", buckets.len(), tags.len());
        }
    }
}
