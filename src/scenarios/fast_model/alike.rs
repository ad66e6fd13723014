//! What must be the same with and without a kernel that forwards, and what need not be.

use super::case::Case;
use crate::base::{Instant, Proto};
use crate::service::Stats;
use crate::testing::Frame;

/// What is known of a conn at the end.
pub(super) type Known = (String, u8, u32, Instant);

/// Of all conns, and what is counted of each dest and of all.
pub(super) type Everything = (Vec<Known>, Vec<Stats>);

/// What the director makes itself is numbered, and what passes through it takes a number too where it is the director that
/// forwards: of errors, of the outer headers of tunnels without DF, and of fragments of IPv6, the numbers are another thing.
pub(super) fn without_ids(frame: &mut Frame, in_tunnels: bool) {
    const ICMP: u8 = 1;
    const FRAGMENT: u8 = 44;
    let bytes = &mut frame.bytes;
    if bytes[12..14] == [8, 0] && (bytes[23] == ICMP || in_tunnels && bytes[20] & 0x40 == 0) {
        bytes[18..20].fill(0);
        bytes[24..26].fill(0);
    }
    if bytes[12..14] == [0x86, 0xdd] && bytes[20] == FRAGMENT {
        bytes[58..62].fill(0);
    }
}

/// Conns that end in the same tick give their local ports back in any order, so that later conns of FULL-NAT have others: the
/// port and the numbers that follow from it are left out of a segment, and of an error about one what it quotes.
fn without_local(frame: &Frame) -> Vec<u8> {
    let mut bytes = frame.bytes.clone();
    let (l4, address) = if bytes[12..14] == [8, 0] { (34, 4) } else { (54, 16) };
    let is_local = |bytes: &[u8], at: usize| {
        bytes[at..at + address].ends_with(&[0x30]) || bytes[at..at + address] == [10, 0, 0, 30]
    };
    let (from, to) = (is_local(&bytes, l4 - 2 * address), is_local(&bytes, l4 - address));
    let proto = Proto(bytes[if address == 4 { 23 } else { 20 }]);
    let is_tcp = proto == Proto::TCP;
    if matches!(proto, Proto::ICMP | Proto::ICMP6) && (from || to) {
        bytes[l4 + 2..l4 + 4].fill(0);
        bytes.truncate(l4 + 8);
        return bytes;
    }
    for (there, range) in [(from, 0..2), (to, 2..4), (is_tcp, 4..12), (is_tcp, 16..18), (!is_tcp, 6..8)] {
        if there && bytes.len() >= l4 + range.end {
            bytes[l4 + range.start..l4 + range.end].fill(0);
        }
    }
    bytes
}

pub(super) fn compare(case: Case, [without, with]: &[Vec<Frame>; 2], place: impl Fn() -> String) {
    let are_alike = |(one, other): &(&Frame, &Frame)| {
        one == other || case.is_full_nat() && without_local(one) == without_local(other)
    };
    if let Some((one, other)) = without.iter().zip(with).find(|pair| !are_alike(pair)) {
        panic!("{}\n{:02x?} without\n{:02x?} with", place(), one.bytes, other.bytes);
    }
    assert_eq!(without.len(), with.len(), "frames of {}", place());
}

/// A worker that dies leaves no word of how many packets of a conn the director forwarded while the kernel had it: they are taken
/// to be the kernel's that were counted, so that fewer are counted afterwards, never more.
pub(super) fn compare_known(without: Everything, mut with: Everything, case: Case, place: impl Fn() -> String) {
    if case.crashes && without.0.len() == with.0.len() {
        for (one, other) in without.0.iter().zip(&mut with.0) {
            assert!(other.2 <= one.2, "{} {one:?} without, {other:?} with", place());
            other.2 = one.2;
        }
    }
    assert_eq!(without, with, "{}", place());
}
