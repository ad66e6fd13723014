//! Messages with a proof that a director with the same key has sent them, and none taken twice (HMAC-SHA256, RFC 2104).
//!
//! ```text
//! sealed    0 | syncid | length(2) | 0 | 1 | 0(2) | "tapv" | 4 | 0(3)                             16 bytes, then
//!           milliseconds of the sender's clock(8) | its number(8) | a message | HMAC(32)
//! ```
//! The HMAC is of the sender's address (16 bytes, as IPv6) and all before it. Numbers grow, across restarts too: they begin
//! with the microseconds of the clock. A receiver takes each number once (a window, as in RFC 4303 3.4.3), and none whose
//! time is another than its own by more than a minute, so that what was recorded is of no use to a director that begins.

use std::net::IpAddr;
use std::time::Duration;

use ring::hmac::{HMAC_SHA256, Key, sign, verify};

use super::own;

const TAG: usize = 32;
/// Where the time and the number are, and the message.
const TIME: usize = own::HEADER;
const NUMBER: usize = TIME + 8;
const INSIDE: usize = NUMBER + 8;
/// How much longer a sealed message is.
pub(super) const OVERHEAD: usize = INSIDE + TAG;
/// How far two clocks may be apart.
const APART: Duration = Duration::from_secs(60);
/// Numbers before the highest that may still come.
const WINDOW: u64 = 64;
/// Directors whose numbers are known at the same time; they have the key.
const SENDERS: usize = 64;

/// Seals what is sent.
pub(super) struct Sealer {
    key: Key,
    number: u64,
    bytes: Vec<u8>,
}

impl Sealer {
    pub(super) fn new(key: &[u8]) -> Sealer {
        Sealer { key: Key::new(HMAC_SHA256, key), number: 0, bytes: Vec::new() }
    }

    /// The message, sealed; `clock` is the time since 1970.
    pub(super) fn seal(&mut self, message: &[u8], from: IpAddr, clock: Duration) -> &[u8] {
        self.number = self.number.max(clock.as_micros() as u64) + 1;
        let syncid = message.get(1).copied().unwrap_or(0);
        let len = (message.len() + OVERHEAD) as u16;
        self.bytes.clear();
        self.bytes.extend_from_slice(&own::header(syncid, own::SEALED));
        self.bytes[2..4].copy_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(&(clock.as_millis() as u64).to_be_bytes());
        self.bytes.extend_from_slice(&self.number.to_be_bytes());
        self.bytes.extend_from_slice(message);
        let tag = sign(&self.key, &covered(from, &self.bytes));
        self.bytes.extend_from_slice(tag.as_ref());
        &self.bytes
    }
}

/// What the HMAC is of.
fn covered(from: IpAddr, bytes: &[u8]) -> Vec<u8> {
    let from = match from {
        IpAddr::V4(addr) => addr.to_ipv6_mapped(),
        IpAddr::V6(addr) => addr,
    };
    [&from.octets(), bytes].concat()
}

/// Numbers of one director that were taken.
struct Window {
    from: IpAddr,
    highest: u64,
    /// Bit n: `highest` - n was taken.
    taken: u64,
    /// The time of the last one.
    last: Duration,
}

/// Opens what comes.
pub(super) struct Opener {
    key: Key,
    windows: Vec<Window>,
}

impl Opener {
    pub(super) fn new(key: &[u8]) -> Opener {
        Opener { key: Key::new(HMAC_SHA256, key), windows: Vec::new() }
    }

    /// The message inside, or why it is not taken: `key`, `clock` or `replay`.
    pub(super) fn open<'a>(
        &mut self,
        bytes: &'a [u8],
        from: IpAddr,
        clock: Duration,
    ) -> Result<&'a [u8], &'static str> {
        let (before, tag) = bytes.split_last_chunk::<TAG>().ok_or("key")?;
        let message = before.get(INSIDE..).filter(|_| own::is_sealed(bytes)).ok_or("key")?;
        verify(&self.key, &covered(from, before), tag).map_err(|_| "key")?;
        let number = |at: usize| before[at..].first_chunk().map_or(0, |number| u64::from_be_bytes(*number));
        if Duration::from_millis(number(TIME)).abs_diff(clock) > APART {
            return Err("clock");
        }
        if self.take(from, number(NUMBER), clock) { Ok(message) } else { Err("replay") }
    }

    /// Takes a number; false if it was taken before, or may have been.
    fn take(&mut self, from: IpAddr, number: u64, clock: Duration) -> bool {
        // All that a director has sent before is too old by its time.
        self.windows.retain(|known| clock.abs_diff(known.last) <= 2 * APART);
        let Some(known) = self.windows.iter_mut().find(|known| known.from == from) else {
            let has_room = self.windows.len() < SENDERS;
            if has_room {
                self.windows.push(Window { from, highest: number, taken: 1, last: clock });
            }
            return has_room;
        };
        let bit = match number.checked_sub(known.highest) {
            Some(0) | None => {
                let behind = known.highest - number;
                if behind >= WINDOW || known.taken & (1 << behind) != 0 {
                    return false;
                }
                1 << behind
            }
            Some(ahead) => {
                known.taken = if ahead < WINDOW { known.taken << ahead } else { 0 };
                known.highest = number;
                1
            }
        };
        (known.taken, known.last) = (known.taken | bit, clock);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"sixteen bytes at least";
    const MESSAGE: &[u8] = &[0, 7, 0, 8, 0, 1, 0, 0];
    const CLOCK: Duration = Duration::from_secs(1_800_000_000);

    fn addr(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn a_message_is_taken_once_with_the_key_and_from_its_sender() {
        let (mut sealer, mut opener) = (Sealer::new(KEY), Opener::new(KEY));
        let sealed: Vec<Vec<u8>> = (0..70).map(|_| sealer.seal(MESSAGE, addr(1), CLOCK).to_vec()).collect();
        assert_eq!(sealed[0].len(), MESSAGE.len() + OVERHEAD);
        assert_eq!(sealed[0][..8], [0, 7, 0, sealed[0].len() as u8, 0, 1, 0, 0], "to a kernel, no record");
        let mut open = |which: usize, from: u8, clock| opener.open(&sealed[which], addr(from), clock);
        assert_eq!(open(3, 1, CLOCK), Ok(MESSAGE));
        assert_eq!(open(3, 1, CLOCK), Err("replay"));
        assert_eq!(open(1, 1, CLOCK), Ok(MESSAGE), "overtaken on the way");
        assert_eq!(open(1, 1, CLOCK), Err("replay"));
        assert_eq!(open(2, 9, CLOCK), Err("key"), "of another sender");
        assert_eq!(open(69, 1, CLOCK), Ok(MESSAGE));
        assert_eq!(open(5, 1, CLOCK), Err("replay"), "too far behind to be known");
        assert_eq!(open(6, 1, CLOCK), Ok(MESSAGE));
        assert_eq!(open(8, 1, CLOCK + Duration::from_secs(61)), Err("clock"));
        assert_eq!(open(8, 1, CLOCK - Duration::from_secs(61)), Err("clock"));
        assert_eq!(open(8, 1, CLOCK + Duration::from_secs(59)), Ok(MESSAGE));
    }

    #[test]
    fn no_bit_can_be_changed_and_no_other_key_opens() {
        let sealed = Sealer::new(KEY).seal(MESSAGE, addr(1), CLOCK).to_vec();
        for at in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert_eq!(Opener::new(KEY).open(&changed, addr(1), CLOCK), Err("key"), "bit {at}");
        }
        for len in 0..sealed.len() {
            assert_eq!(Opener::new(KEY).open(&sealed[..len], addr(1), CLOCK), Err("key"), "{len} bytes");
        }
        assert_eq!(Opener::new(b"another one").open(&sealed, addr(1), CLOCK), Err("key"));
    }

    #[test]
    fn a_director_that_was_restarted_is_heard() {
        let mut opener = Opener::new(KEY);
        let mut sealer = Sealer::new(KEY);
        for _ in 0..200 {
            assert!(opener.open(sealer.seal(MESSAGE, addr(1), CLOCK), addr(1), CLOCK).is_ok());
        }
        let later = CLOCK + Duration::from_secs(1);
        let again = Sealer::new(KEY).seal(MESSAGE, addr(1), later).to_vec();
        assert_eq!(opener.open(&again, addr(1), later), Ok(MESSAGE));
        // Its clock was set back meanwhile: it is heard once its old messages have aged.
        let back = |clock| Sealer::new(KEY).seal(MESSAGE, addr(1), clock).to_vec();
        let earlier = CLOCK - Duration::from_secs(30);
        assert_eq!(opener.open(&back(earlier), addr(1), CLOCK), Err("replay"));
        let much_later = CLOCK + Duration::from_secs(200);
        assert_eq!(opener.open(&back(much_later - Duration::from_secs(30)), addr(1), much_later), Ok(MESSAGE));
    }

    #[test]
    fn the_proof_is_the_one_that_others_compute() {
        // By Python's hmac, of ::ffff:10.0.0.1, the header, time, number and message.
        let clock = Duration::from_micros(1_234_567);
        let sealed = Sealer::new(b"0123456789abcdef").seal(MESSAGE, addr(1), clock).to_vec();
        let hex: String = sealed[sealed.len() - TAG..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, PROOF);
    }

    const PROOF: &str = "7b42d65b4a89f768ced98ec6dfc675aad3f8aebb3a384a2dfb802b60675f11d2";
}
