//! A quick hash for small maps that packets ask: of services, neighbours, configured addresses.
//!
//! Not keyed: never for a map whose keys strangers choose without bound.

use std::hash::{BuildHasherDefault, Hasher};

/// For `HashMap`'s third parameter.
pub type Mixing = BuildHasherDefault<Mixer>;

/// The state.
#[derive(Clone, Copy, Default)]
pub struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    #[inline]
    fn write_u16(&mut self, word: u16) {
        self.write_u64(u64::from(word));
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        // The golden ratio. A product's bits move upwards only, so both halves of it count: the end of an IPv6 address
        // stands in the highest bits of a word.
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    #[inline]
    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;
    use std::net::IpAddr;

    use super::*;

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
                Mixing::default().hash_one(addr)
            });
            let hashes: Vec<u64> = hashes.collect();
            let buckets: HashSet<u64> = hashes.iter().map(|hash| hash & 1023).collect();
            let tags: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
            assert!(buckets.len() > 500 && tags.len() > 100, "{net}: {} {}", buckets.len(), tags.len());
        }
    }
}
