//! Messages that directors of this kind alone understand: who asks for the whole table, and who has told how much of it.
//!
//! ```text
//! message   0 | syncid | length(2) | 0 | 1 | 0(2) | "tapv" | kind | records | 0(2)          16 bytes, then
//! asks      number(8)
//! tells     number(8) | records that were told(4) | 1: these are all(1) | 0(3)
//!           | records of conns between families that were told(4)
//! conns     records of FULL-NAT
//! sealed    another message (`seal`)
//! crossed   records whose real server is of another family than client and virtual address
//! ```
//! To a kernel each is a message of version 1 without records, of which it reads no more (`ip_vs_process_message`); so are kinds
//! that a director does not know, and what is behind what it knows of one. Bytes only.

use std::net::IpAddr;

use crate::base::Family;

/// Bytes before what a message says.
pub(super) const HEADER: usize = 16;
/// Byte of the header that counts the records.
pub(super) const COUNT: usize = 13;
const BEFORE: usize = 8;
const MAGIC: [u8; 4] = *b"tapv";
const ASKS: u8 = 1;
const TELLS: u8 = 2;
pub(super) const CONNS: u8 = 3;
pub(super) const SEALED: u8 = 4;
pub(super) const CROSSED: u8 = 5;

/// What a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Own {
    /// A director that has just begun asks for all conns, under this number.
    Asks(u64),
    /// Another one has heard it.
    Tells {
        /// The asker's number.
        number: u64,
        /// Records that were told since.
        records: Tally,
        /// The table has no more.
        all: bool,
    },
    /// Conns of FULL-NAT follow, this many.
    Conns(u8),
    /// Conns between families follow, this many.
    Crossed(u8),
}

/// Records of a table. Directors that cannot read those between families count the others alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally {
    /// Of one family.
    pub(super) plain: u32,
    /// Between families.
    pub(super) crossed: u32,
}

impl Tally {
    /// One more, of a conn between these.
    pub(super) fn add(&mut self, client: IpAddr, real: IpAddr) {
        let crosses = Family::of(client) != Family::of(real);
        *(if crosses { &mut self.crossed } else { &mut self.plain }) += 1;
    }

    /// All.
    pub(super) fn sum(self) -> u64 {
        u64::from(self.plain) + u64::from(self.crossed)
    }
}

/// The header of a message of a kind; its length and count are the caller's.
pub(super) fn header(syncid: u8, kind: u8) -> [u8; HEADER] {
    let [a, b, c, d] = MAGIC;
    [0, syncid, 0, 0, 0, 1, 0, 0, a, b, c, d, kind, 0, 0, 0]
}

/// True for a message with a proof of who has sent it.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    matches!(*bytes, [0, _, _, _, 0, 1, 0, 0, a, b, c, d, SEALED, ..] if [a, b, c, d] == MAGIC)
}

impl Own {
    /// The whole message.
    pub(super) fn bytes(self, syncid: u8) -> Vec<u8> {
        let mut bytes = header(syncid, CONNS).to_vec();
        match self {
            Own::Asks(number) => {
                bytes[COUNT - 1] = ASKS;
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            Own::Tells { number, records, all } => {
                bytes[COUNT - 1] = TELLS;
                bytes.extend_from_slice(&number.to_be_bytes());
                bytes.extend_from_slice(&records.plain.to_be_bytes());
                bytes.extend_from_slice(&[u8::from(all), 0, 0, 0]);
                bytes.extend_from_slice(&records.crossed.to_be_bytes());
            }
            Own::Conns(count) => bytes[COUNT] = count,
            Own::Crossed(count) => (bytes[COUNT - 1], bytes[COUNT]) = (CROSSED, count),
        }
        let len = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        bytes
    }
}

/// Reads a message whose length and syncid are right already; `None` for one of another kind.
pub(super) fn read(bytes: &[u8]) -> Option<Own> {
    let [0, _, _, _, 0, 1, 0, 0, a, b, c, d, kind, count, ..] = *bytes else { return None };
    if [a, b, c, d] != MAGIC {
        return None;
    }
    let body = bytes.get(HEADER..)?;
    let number = || body.first_chunk().map(|number| u64::from_be_bytes(*number));
    let word = |at: usize| body.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word));
    match kind {
        ASKS => Some(Own::Asks(number()?)),
        TELLS => {
            // An older director says nothing of conns between families, for it has none.
            let records = Tally { plain: word(8)?, crossed: word(16).unwrap_or(0) };
            Some(Own::Tells { number: number()?, records, all: *body.get(12)? == 1 })
        }
        CONNS => Some(Own::Conns(count)),
        CROSSED => Some(Own::Crossed(count)),
        _ => None,
    }
}

const _: () = assert!(BEFORE + MAGIC.len() + 1 == COUNT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_kernel_sees_no_record() {
        for own in [
            Own::Asks(0x0102_0304_0506_0708),
            Own::Tells { number: 9, records: Tally { plain: 70_000, crossed: 3 }, all: false },
            Own::Tells { number: u64::MAX, records: Tally { plain: u32::MAX, crossed: u32::MAX }, all: true },
            Own::Conns(7),
            Own::Crossed(7),
        ] {
            let bytes = own.bytes(51);
            assert_eq!(read(&bytes), Some(own));
            assert_eq!(bytes[..8], [0, 51, 0, bytes.len() as u8, 0, 1, 0, 0], "version 1, no record");
            for len in 0..bytes.len() {
                let _ = read(&bytes[..len]);
            }
        }
        assert_eq!(read(&[0, 51, 0, 8, 0, 1, 0, 0]), None);
        let older = &Own::Tells { number: 9, records: Tally { plain: 5, crossed: 3 }, all: true }.bytes(51)[..32];
        let records = Tally { plain: 5, crossed: 0 };
        assert_eq!(read(older), Some(Own::Tells { number: 9, records, all: true }), "as an older director says it");
    }
}
