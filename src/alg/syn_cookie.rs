//! SYN cookies: a sequence number, and a clock, from which the director knows again whom it has answered without keeping
//! anything.
//!
//! ```text
//! sequence number   parity of the minute (1) | class of the segment size (4) | keyed hash (27)
//! clock             milliseconds (26) | 0 (1) | selective acknowledgements (1) | window shift, 15: none (4)
//! ```
//! The hash covers both ends, the client's own number, the minute and the class. The options in the clock are not protected: they
//! are the client's own, and come back only from a client that has timestamps. Pure.

use crate::base::{Instant, Packed, Tuple, siphash13};
use crate::wire::Offer;

/// A cookie is good for one to two of these.
const SECONDS: u64 = 64;
/// Segment sizes that a cookie can name; each client is taken to have the largest that is not above its own. Linux takes
/// nothing below the first.
const SIZES: [u16; 16] = [88, 216, 536, 1024, 1220, 1300, 1360, 1380, 1400, 1420, 1440, 1452, 1460, 4312, 8940, 8960];
const HASH_BITS: u32 = 27;
const NO_SCALE: u32 = 15;
const SACK: u32 = 1 << 4;
const CLOCK_BITS: u32 = 63;

/// Answers SYNs, and knows its own answers.
#[derive(Clone, Copy)]
pub struct Cookies {
    /// A secret.
    pub key: [u64; 2],
}

impl Cookies {
    /// The sequence number with which a SYN is answered; `first` is the number of the client's first byte.
    pub fn issue(self, tuple: &Tuple, first: u32, mss: u16, now: Instant) -> u32 {
        let class = SIZES.iter().rposition(|size| *size <= mss).unwrap_or(0) as u32;
        self.number(tuple, first, class, now.secs() / SECONDS)
    }

    /// The segment size of the SYN that was answered with this number, if one was, and not too long ago.
    pub fn check(self, tuple: &Tuple, first: u32, number: u32, now: Instant) -> Option<u16> {
        let class = number >> HASH_BITS & 15;
        let minute = now.secs() / SECONDS;
        let same_parity = (minute as u32 & 1) == number >> 31;
        let minute = if same_parity { Some(minute) } else { minute.checked_sub(1) }?;
        (self.number(tuple, first, class, minute) == number).then_some(SIZES[class as usize])
    }

    fn number(self, tuple: &Tuple, first: u32, class: u32, minute: u64) -> u32 {
        let [[a, b], [c, d]] = [tuple.src.addr, tuple.dst.addr].map(|addr| Packed::from(addr).halves());
        let ports = u64::from(tuple.src.port) << 16 | u64::from(tuple.dst.port);
        // The length of the message, 48, stands in the highest byte of its last block.
        let last = 48 << 56 | (minute & 0xffff_ffff) << 4 | u64::from(class);
        let hash = siphash13(self.key, [a, b, c, d, ports << 32 | u64::from(first), last]) as u32;
        (minute as u32 & 1) << 31 | class << HASH_BITS | hash & ((1 << HASH_BITS) - 1)
    }

    /// The director's clock in timestamps.
    pub fn clock(self, now: Instant) -> u32 {
        (now.0 as u32).wrapping_add(self.key[0] as u32)
    }

    /// The clock that carries the options of a SYN: not later than the clock itself.
    pub fn clock_with(self, offer: &Offer, now: Instant) -> u32 {
        let bits = offer.scale.map_or(NO_SCALE, u32::from) | if offer.sack { SACK } else { 0 };
        let clock = self.clock(now);
        let with = clock & !CLOCK_BITS | bits;
        if (clock.wrapping_sub(with) as i32) < 0 { with.wrapping_sub(CLOCK_BITS + 1) } else { with }
    }
}

/// The options that a client offered, from its acknowledgement and the segment size in the cookie.
pub fn offered(mss: u16, timestamps: Option<(u32, u32)>) -> Offer {
    let Some((value, echo)) = timestamps else { return Offer { mss: Some(mss), ..Offer::default() } };
    let scale = Some(echo & NO_SCALE).filter(|bits| *bits != NO_SCALE).map(|bits| bits as u8);
    Offer { mss: Some(mss), scale, sack: echo & SACK != 0, timestamps: Some((value, 0)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Proto, Rng};
    use crate::testing::endpoint;

    const COOKIES: Cookies = Cookies { key: [7, 11] };

    fn tuple(client: &str) -> Tuple {
        Tuple { proto: Proto::TCP, src: endpoint(client), dst: endpoint("198.51.100.1:80") }
    }

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1000)
    }

    #[test]
    fn a_cookie_is_good_for_its_client_alone_and_for_a_minute_or_two() {
        let (client, other) = (tuple("192.0.2.7:4000"), tuple("192.0.2.7:4001"));
        for begun in [0, 1, 63, 64, 100, 127, 128, 1 << 38] {
            let cookie = COOKIES.issue(&client, 1000, 1460, at(begun));
            for later in 0..=300 {
                let known = COOKIES.check(&client, 1000, cookie, at(begun + later));
                let periods = (begun + later) / SECONDS - begun / SECONDS;
                assert_eq!(known, (periods <= 1).then_some(1460), "{begun} + {later}");
            }
            assert_eq!(COOKIES.check(&other, 1000, cookie, at(begun)), None);
            assert_eq!(COOKIES.check(&client, 1001, cookie, at(begun)), None);
            assert_eq!(Cookies { key: [7, 12] }.check(&client, 1000, cookie, at(begun)), None);
        }
    }

    #[test]
    fn one_number_in_as_many_as_the_hash_has_values_is_a_cookie() {
        let (client, mut rng, mut found) = (tuple("192.0.2.7:4000"), Rng::seeded(3), 0);
        for _ in 0..2_000_000 {
            found += usize::from(COOKIES.check(&client, 1, rng.below(1 << 32) as u32, at(1000)).is_some());
        }
        assert!(found <= 2, "{found} guesses of 2,000,000");
    }

    #[test]
    fn a_size_comes_back_as_the_largest_class_below_it() {
        let client = tuple("[2001:db8::7]:4000");
        for (mss, class) in [(0, 88), (87, 88), (88, 88), (535, 216), (536, 536), (1459, 1452), (65_535, 8960)] {
            let cookie = COOKIES.issue(&client, 5, mss, at(9));
            assert_eq!(COOKIES.check(&client, 5, cookie, at(9)), Some(class), "{mss}");
        }
    }

    #[test]
    fn options_come_back_in_the_clock_which_never_runs_ahead() {
        for now in (0..200).map(Instant).chain([Instant(u64::from(u32::MAX) + 3)]) {
            for scale in (0..=14).map(Some).chain([None]) {
                for sack in [false, true] {
                    let offer = Offer { mss: Some(1460), scale, sack, timestamps: Some((77, 0)) };
                    let clock = COOKIES.clock_with(&offer, now);
                    assert_eq!(offered(1460, Some((77, clock))), offer);
                    let behind = COOKIES.clock(now).wrapping_sub(clock);
                    assert!(behind < 64, "{behind}");
                }
            }
        }
        assert_eq!(offered(536, None), Offer { mss: Some(536), ..Offer::default() });
    }
}
