//! Messages by which directors tell each other of their conns (IPVS connection synchronisation); the records of version 1
//! are in `record`, version 0 is in `version0`.
//!
//! ```text
//! message   0 | syncid | length(2) | records | 1 | 0(2)                               8 bytes, then records
//! ```
//! Records start at multiples of 4; all numbers in network order. Bytes only: what is worth telling is decided above.

use super::own::{self, Own};
use super::record::{self, Record};
use super::version0;

const HEADER: usize = 8;
/// Byte of the header that counts the records.
const COUNT: usize = 4;
const VERSION: u8 = 1;
/// The form of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// IPv4 alone, without marks, timeouts and persistence engines.
    Zero,
    /// All of a conn.
    One,
    /// Records of version 1 with what FULL-NAT needs, which no kernel reads (`own`).
    Own,
    /// The same of conns between families.
    Crossed,
}

/// A message that fills up.
pub struct Message {
    bytes: Vec<u8>,
    limit: usize,
    syncid: u8,
    version: Version,
}

impl Message {
    /// An empty message of at most `limit` bytes.
    pub fn new(limit: usize, syncid: u8) -> Message {
        Message { bytes: Vec::with_capacity(limit), limit, syncid, version: Version::One }
    }

    /// True without records.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets all records.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The message as it is sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// True if a kernel would send the message without waiting for the next record.
    pub fn is_full(&self) -> bool {
        self.version == Version::Zero && self.bytes.len() + version0::LARGEST > self.limit
    }

    /// Adds a record, which the version can tell; false, and nothing is added, if it does not fit. Into an empty message every
    /// record goes.
    pub fn push(&mut self, record: &Record, version: Version) -> bool {
        let before = self.bytes.len();
        if before == 0 {
            self.begin(version);
        } else if version != self.version || self.bytes[self.count_at()] == u8::MAX {
            return false;
        }
        let from = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(from, 0);
        let end = match version {
            Version::Zero => {
                version0::write(record, &mut self.bytes);
                from + version0::LARGEST
            }
            Version::One | Version::Own | Version::Crossed => {
                record.write(&mut self.bytes);
                self.bytes.len()
            }
        };
        if before != 0 && end > self.limit {
            self.bytes.truncate(before);
            return false;
        }
        let count_at = self.count_at();
        self.bytes[count_at] += 1;
        let len = self.bytes.len() as u16;
        self.bytes[2..4].copy_from_slice(&len.to_be_bytes());
        true
    }

    fn begin(&mut self, version: Version) {
        let Message { bytes, syncid, .. } = self;
        match version {
            Version::Zero => bytes.extend_from_slice(&[0, *syncid, 0, 0]),
            Version::One => bytes.extend_from_slice(&[0, *syncid, 0, 0, 0, VERSION, 0, 0]),
            Version::Own => bytes.extend_from_slice(&own::header(*syncid, own::CONNS)),
            Version::Crossed => bytes.extend_from_slice(&own::header(*syncid, own::CROSSED)),
        }
        self.version = version;
    }

    fn count_at(&self) -> usize {
        match self.version {
            Version::Zero => version0::COUNT,
            Version::One => COUNT,
            Version::Own | Version::Crossed => own::COUNT,
        }
    }
}

/// Why a message, or what is left of it, is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadMessage;

/// Reads a message of either version; each record, or the end of what could be read. Records that cannot be understood are
/// skipped.
pub fn read(bytes: &[u8], syncid: u8) -> Result<Records<'_>, BadMessage> {
    let [count, id, high, low] = *bytes.first_chunk::<{ version0::HEADER }>().ok_or(BadMessage)?;
    let whole = usize::from(u16::from_be_bytes([high, low])) == bytes.len();
    let meant = syncid == 0 || id == syncid;
    if !whole || !meant {
        return Err(BadMessage);
    }
    let of_own = |left, version| Ok(Records { bytes, at: own::HEADER, left, version });
    match own::read(bytes) {
        Some(Own::Conns(left)) => return of_own(left, Version::Own),
        Some(Own::Crossed(left)) => return of_own(left, Version::Crossed),
        Some(Own::Asks(_) | Own::Tells { .. }) | None => {}
    }
    if let [0, _, _, _, count, VERSION, 0, 0, ..] = *bytes {
        return Ok(Records { bytes, at: HEADER, left: count, version: Version::One });
    }
    // A message of version 0 without records is none: later versions begin with 0 too.
    if count == 0 {
        return Err(BadMessage);
    }
    Ok(Records { bytes, at: version0::HEADER, left: count, version: Version::Zero })
}

/// The records of a message.
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    left: u8,
    version: Version,
}

impl<'a> Iterator for Records<'a> {
    /// An error says that the rest of the message cannot be read.
    type Item = Result<Record<'a>, BadMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let read = match self.version {
            Version::Zero => version0::record,
            Version::One | Version::Own => record::record,
            Version::Crossed => record::crossed,
        };
        let record = self.bytes.get(self.at..).and_then(read);
        match &record {
            Some((_, len)) => self.at = (self.at + len).next_multiple_of(4),
            None => self.left = 0,
        }
        Some(record.map(|(record, _)| record).ok_or(BadMessage))
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{FullNat, Under};
    use super::*;
    use crate::alg::Helped;
    use crate::base::{Endpoint, Proto, Tuple};
    use crate::testing::hex;

    fn end(addr: &str, port: u16) -> Endpoint {
        Endpoint::new(addr.parse().unwrap(), port)
    }

    fn established(port: u16) -> Record<'static> {
        Record {
            proto: Proto::TCP,
            flags: 0,
            state: 1,
            client: end("100.76.37.54", port),
            virt: end("198.51.100.85", 443),
            real: end("172.20.103.2", 81),
            mark: 0,
            timeout: 900,
            engine: None,
            full_nat: None,
            join: None,
            under: None,
            helped: Helped::default(),
        }
    }

    /// What a kernel master sent.
    const TWO: &str = "00070050020100000006002400000000\
        0001526801bb00510000000000000384644c2536c6336455ac146702\
        00060024000000000001526901bb00510000000000000384644c2536c6336455ac146702";

    fn collected(bytes: &[u8], syncid: u8) -> Vec<Result<Record<'_>, BadMessage>> {
        read(bytes, syncid).map(Iterator::collect).unwrap_or_default()
    }

    #[test]
    fn a_message_is_as_a_kernel_master_sends_it() {
        let mut message = Message::new(1472, 7);
        message.push(&established(21096), Version::One);
        message.push(&established(21097), Version::One);
        assert_eq!(message.bytes(), hex(TWO));
        assert_eq!(collected(message.bytes(), 7), [Ok(established(21096)), Ok(established(21097))]);
        assert_eq!(collected(message.bytes(), 0).len(), 2, "syncid 0 takes all");
        assert!(read(message.bytes(), 8).is_err());
    }

    /// The same two in version 0.
    const TWO_OLD: &str = "02070034 00065268 01bb0051 644c2536 c6336455 ac146702 00000001\
        00065269 01bb0051 644c2536 c6336455 ac146702 00000001";

    #[test]
    fn a_message_of_version_0_has_no_timeouts() {
        let mut message = Message::new(1472, 7);
        let marked = Record { mark: 9, engine: Some(("sip", b"abc")), ..established(21096) };
        message.push(&marked, Version::Zero);
        message.push(&established(21097), Version::Zero);
        assert_eq!(message.bytes(), hex(TWO_OLD));
        let old = |port| Record { timeout: 0, ..established(port) };
        assert_eq!(collected(message.bytes(), 7), [Ok(old(21096)), Ok(old(21097))]);
        assert_eq!(collected(message.bytes(), 0).len(), 2);
        assert!(read(message.bytes(), 8).is_err());
        assert!(!message.push(&established(1), Version::One), "one message, one version");
        message.clear();
        message.push(&established(21096), Version::One);
        assert!(!message.push(&established(1), Version::Zero));
        assert_eq!(collected(message.bytes(), 7), [Ok(established(21096))]);
    }

    #[test]
    fn sequence_numbers_of_version_0_are_passed_over() {
        // What a kernel's FTP conn carries: its numbers are in the byte order of the master.
        let mut message = hex(TWO_OLD);
        message[24] = 0x06;
        message.splice(28..28, [0xaa; 24]);
        message[3] += 24;
        let told: Vec<u16> = collected(&message, 7).iter().map(|record| record.as_ref().unwrap().client.port).collect();
        assert_eq!(told, [21096, 21097]);
        message.truncate(28);
        message[3] = 28;
        assert_eq!(collected(&message, 7), [Err(BadMessage)], "numbers that are not there");
        assert_eq!(collected(&[0, 7, 0, 4], 7), [], "no record at all");
    }

    #[test]
    fn a_message_of_version_0_is_full_as_a_kernels() {
        let mut message = Message::new(4 + 2 * 24 + 47, 1);
        message.push(&established(1), Version::Zero);
        assert!(!message.is_full() && message.push(&established(2), Version::Zero));
        assert!(message.is_full() && !message.push(&established(3), Version::Zero));
    }

    #[test]
    fn options_make_a_record_longer_and_the_next_one_aligned() {
        let call = Record { flags: 0x1100, proto: Proto::UDP, engine: Some(("sip", b"abc@x")), ..established(0) };
        let v6 = Record {
            client: end("2001:db8::1", 9),
            virt: end("2001:db8::2", 80),
            real: end("2001:db8::3", 81),
            ..established(9)
        };
        let mut message = Message::new(1472, 0);
        message.push(&call, Version::One);
        message.push(&v6, Version::One);
        let (length, padded) = (36 + 7 + 5, 8 + 48);
        assert_eq!(message.bytes()[10..12], [0, length]);
        assert_eq!(message.bytes()[8 + 36..8 + 48], *b"\x02\x05abc@x\x03\x03sip");
        assert_eq!(message.bytes()[padded..padded + 4], [1, 6, 0, 72]);
        assert_eq!(collected(message.bytes(), 0), [Ok(call), Ok(v6)]);
    }

    #[test]
    fn full_nat_is_told_in_messages_of_its_own() {
        let full_nat = |local: &str| Some(FullNat { local: end(local, 5001), shift: 0xdead_beef });
        let four = Record { full_nat: full_nat("203.0.113.1"), ..established(1) };
        let six = Record { full_nat: full_nat("2001:db8::9"), ..established(2) };
        let mut message = Message::new(1472, 7);
        message.push(&four, Version::Own);
        message.push(&six, Version::Own);
        assert_eq!(message.bytes()[4], 0, "no record for a kernel");
        assert_eq!(collected(message.bytes(), 7), [Ok(four), Ok(six)]);
        assert!(!message.push(&established(3), Version::One), "each to its readers");
    }

    #[test]
    fn conns_between_families_are_told_in_messages_of_their_own() {
        let full_nat = |local: &str| Some(FullNat { local: end(local, 5001), shift: 0xdead_beef });
        let to_six = Record { real: end("2001:db8::21", 81), full_nat: full_nat("2001:db8::9"), ..established(1) };
        let (client, virt) = (end("2001:db8::1", 9), end("2001:db8::2", 80));
        let to_four = Record { client, virt, full_nat: full_nat("203.0.113.1"), ..established(2) };
        let tunnelled = Record { client, virt, engine: Some(("sip", b"abc@x")), ..established(3) };
        let mut message = Message::new(1472, 7);
        for record in [&to_six, &to_four, &tunnelled] {
            assert!(record.crosses() && message.push(record, Version::Crossed));
        }
        let bytes = message.bytes();
        assert_eq!((bytes[4], bytes[12]), (0, 5), "no record for a kernel, and a kind that older directors pass over");
        assert_eq!(collected(bytes, 7), [Ok(to_six), Ok(to_four), Ok(tunnelled)]);
        let unknown = [&bytes[..12], &[9], &bytes[13..]].concat();
        assert_eq!(collected(&unknown, 7), [], "a kind that comes later is passed over here");
        assert!(!message.push(&established(3), Version::Own));
    }

    #[test]
    fn what_was_announced_is_told_with_what_controls_it() {
        let client = end("192.0.2.7", 4000);
        let ways = [("198.51.100.1", "203.0.113.1"), ("2001:db8::1", "2001:db8::9")];
        let mut told = Vec::new();
        for (virt, local) in ways {
            let control = Tuple { proto: Proto::TCP, src: end(virt, 9), dst: end(virt, 21) };
            for (announced, control) in [(true, Some(control)), (false, Some(control)), (false, None)] {
                let full_nat = Some(FullNat { local: end(local, 5001), shift: 7 });
                let under = Some(Under { announced, control });
                let record =
                    Record { client: if virt.contains(':') { end(virt, 1) } else { client }, ..established(3) };
                let same = Record { virt: end(virt, 80), real: end(virt, 81), full_nat, under, ..record };
                told.push(same);
            }
        }
        let mut message = Message::new(1472, 7);
        told.iter().for_each(|record| assert!(message.push(record, Version::Own)));
        assert_eq!(collected(message.bytes(), 7), told.into_iter().map(Ok).collect::<Vec<_>>());
    }

    #[test]
    fn a_message_is_full_at_its_limit() {
        let mut message = Message::new(8 + 2 * 36, 1);
        for port in 1..=2 {
            assert!(message.push(&established(port), Version::One));
        }
        let full = message.bytes().to_vec();
        assert!(!message.push(&established(3), Version::One));
        assert_eq!(message.bytes(), full, "nothing of it was added");
        message.clear();
        assert!(message.is_empty() && message.push(&established(3), Version::One));
        let mut large = Message::new(65_000, 1);
        (0..255).for_each(|port| assert!(large.push(&established(port), Version::One)));
        assert!(!large.push(&established(256), Version::One), "the count has one byte");
    }

    #[test]
    fn what_cannot_be_read_ends_a_message_and_what_is_optional_does_not() {
        let mut message = Message::new(1472, 0);
        message.push(&Record { engine: Some(("sip", b"abcd")), ..established(1) }, Version::One);
        let good = message.bytes().to_vec();
        let with = |at: usize, value: u8| {
            let mut changed = good.clone();
            changed[at] = value;
            collected(&changed, 0).into_iter().map(|record| record.is_ok()).collect::<Vec<_>>()
        };
        assert_eq!(with(8 + 36, 0x7f), [true], "an unknown optional option");
        assert_eq!(with(8 + 36, 0x3f), [false], "an unknown option");
        assert_eq!(with(8 + 37, 200), [false], "an option longer than its record");
        assert_eq!(with(8 + 2, 0x10), [false], "another version");
        assert_eq!(with(8 + 3, 20), [false], "too short");
        assert_eq!(with(5, 2), [] as [bool; 0], "another protocol");
        assert_eq!(with(3, 200), [] as [bool; 0], "another length");
        assert_eq!(with(4, 3), [true, false], "fewer records than promised");
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        let mut rng = crate::base::Rng::seeded(5);
        let good = [hex(TWO), hex(TWO_OLD)];
        for round in 0..100_000 {
            let mut changed = good[round % 2].clone();
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(changed.len() as u64) as usize;
                changed[at] = rng.next_u64() as u8;
            }
            collected(&changed, 0);
        }
    }
}
