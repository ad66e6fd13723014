//! The only source of randomness: a seeded generator, so that a run can be repeated.
//!
//! Never used for secrets that must resist prediction; keys come from the daemon.

/// What is random of a director: drawn where it starts, for nothing below the daemon draws.
#[derive(Clone, Copy, Debug)]
pub struct Chance {
    /// Key of the flow table: clients choose their endpoints, and must not know which of them share a bucket.
    pub key: [u64; 2],
    /// Seed of all else.
    pub seed: u64,
}

impl Chance {
    /// The same each time: for tests, and for directors that no packet reaches.
    pub const KNOWN: Chance = Chance { key: [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03], seed: 1 };
}

/// SplitMix64: small, fast, one 64-bit state (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The same seed gives the same draws.
    pub fn seeded(seed: u64) -> Rng {
        Rng(seed)
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound` (0 if `bound` is 0); the bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_draws() {
        let (mut a, mut b) = (Rng::seeded(7), Rng::seeded(7));
        assert!((0..100).all(|_| a.next_u64() == b.next_u64()));
        assert_ne!(Rng::seeded(7).next_u64(), Rng::seeded(8).next_u64());
    }

    #[test]
    fn draws_below_a_bound_reach_every_value() {
        let mut rng = Rng::seeded(1);
        let mut seen = [false; 10];
        for _ in 0..1000 {
            seen[rng.below(10) as usize] = true;
        }
        assert!(seen.iter().all(|s| *s));
        assert_eq!(rng.below(0), 0);
    }
}
