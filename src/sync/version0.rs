//! Records of version 0, of kernels before 2.6.39: IPv4, without mark, timeout and options.
//!
//! ```text
//! message   records | syncid | length(2)                                  4 bytes, then records
//! record    0 | protocol | cport vport dport(6) | client virtual real(12) | flags(2) | state(2)
//!           | 24 bytes of sequence numbers, if the flags say so, in the sender's byte order
//! ```
//! All other numbers in network order. Bytes only.

use std::net::{IpAddr, Ipv4Addr};

use super::record::Record;
use crate::alg::Helped;
use crate::base::{Endpoint, Proto};

/// Bytes before the first record.
pub(super) const HEADER: usize = 4;
/// Byte of the header that counts the records.
pub(super) const COUNT: usize = 0;
const SIMPLE: usize = 24;
/// A record with sequence numbers. As in the kernel, a message without room for one more of these is full.
pub(super) const LARGEST: usize = 48;
/// Sequence numbers of a helper follow (`IP_VS_CONN_F_SEQ_MASK`).
const SEQUENCES: u16 = 0x0600;

/// Appends a record. What the version cannot say is left out.
pub(super) fn write(record: &Record, out: &mut Vec<u8>) {
    let ends = [record.client, record.virt, record.real];
    out.extend_from_slice(&[0, record.proto.0]);
    ends.iter().for_each(|end| out.extend_from_slice(&end.port.to_be_bytes()));
    for end in ends {
        if let IpAddr::V4(addr) = end.addr {
            out.extend_from_slice(&addr.octets());
        }
    }
    // No conn here has sequence numbers to tell.
    out.extend_from_slice(&(record.flags as u16 & !SEQUENCES).to_be_bytes());
    out.extend_from_slice(&record.state.to_be_bytes());
}

/// A record at the start of `bytes`, and its length.
pub(super) fn record(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let fixed = bytes.first_chunk::<SIMPLE>()?;
    let half = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let addr = |at: usize| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
    let end = |which: usize| Endpoint::new(addr(8 + 4 * which).into(), half(2 + 2 * which));
    let flags = half(20);
    let len = if flags & SEQUENCES == 0 { SIMPLE } else { LARGEST };
    let record = Record {
        proto: Proto(fixed[1]),
        flags: u32::from(flags),
        state: half(22),
        client: end(0),
        virt: end(1),
        real: end(2),
        mark: 0,
        timeout: 0,
        engine: None,
        full_nat: None,
        join: None,
        under: None,
        helped: Helped::default(),
    };
    (bytes.len() >= len).then_some((record, len))
}
