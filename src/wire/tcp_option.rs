//! TCP options (RFC 9293 3.2), changed in place: blanked, put in, a maximum segment size lowered.
//!
//! Every change keeps a checksum that was right right, and one that is not complete yet as it must be.

use std::ops::Range;

use super::field::{ETH_LEN, be16, put, put16, tcp};
use super::ip::{l4_header_len, set_length};
use super::{Ip, PacketBuf, checksum};

/// Kinds of options.
const END: u8 = 0;
pub(super) const NOP: u8 = 1;
pub(super) const MSS: u8 = 2;
pub(super) const WINDOW_SCALE: u8 = 3;
/// Selective acknowledgements may be sent (RFC 2018).
pub const SACK_PERMITTED: u8 = 4;
pub(super) const SACK: u8 = 5;
/// RFC 7323.
pub const TIMESTAMPS: u8 = 8;
/// The longest header.
const HEADER_AT_MOST: usize = 60;
/// Nobody sends smaller segments (Linux's TCP_MIN_MSS).
const MSS_AT_LEAST: u16 = 88;

/// Calls `each` with every option that is longer than a byte: its kind and where it stands.
pub(super) fn each(buf: &mut PacketBuf, ip: &Ip, mut each: impl FnMut(&mut PacketBuf, u8, Range<usize>)) {
    let end = (ip.l4_at + l4_header_len(buf.frame(), ip)).min(ip.end);
    let mut at = ip.l4_at + tcp::LEN;
    while at + 2 <= end {
        let (option, len) = (buf.frame()[at], usize::from(buf.frame()[at + 1]));
        match option {
            END => return,
            NOP => at += 1,
            _ if len < 2 || at + len > end => return,
            _ => {
                each(buf, option, at..at + len);
                at += len;
            }
        }
    }
}

/// Replaces the options of a kind and length by padding.
pub fn blank(buf: &mut PacketBuf, ip: &Ip, kind: u8, len: usize) {
    each(buf, ip, |buf, option, range| {
        if option == kind && range.len() == len {
            edit(buf, ip, range, |option| option.fill(NOP));
        }
    });
}

/// Lowers the maximum segment size that a SYN names, not below what everybody must take. One without names none.
pub fn lower_mss(buf: &mut PacketBuf, ip: &Ip, by: u16) {
    each(buf, ip, |buf, option, range| {
        if option == MSS && range.len() == 4 {
            edit(buf, ip, range, |option| {
                let named = be16(option, 2);
                put16(option, 2, named.min(named.saturating_sub(by).max(MSS_AT_LEAST)));
            });
        }
    });
}

/// Puts an option, a multiple of four bytes, ahead of all others. False, and nothing changed, if it has no room in the header,
/// the packet or the buffer.
pub fn put_first(buf: &mut PacketBuf, ip: &mut Ip, option: &[u8]) -> bool {
    let fits = l4_header_len(buf.frame(), ip) + option.len() <= HEADER_AT_MOST
        && ip.end + option.len() - ETH_LEN <= usize::from(u16::MAX);
    if !fits || !buf.insert(ip.l4_at + tcp::LEN, option.len()) {
        return false;
    }
    ip.end += option.len();
    let complete = !buf.vnet.needs_csum;
    let frame = buf.frame_mut();
    put(frame, ip.l4_at + tcp::LEN, option);
    let place = ip.l4_at + tcp::DATA_OFFSET;
    let before = be16(frame, place).to_be_bytes();
    frame[place] += (option.len() as u8 / 4) << 4;
    let header = checksum::change(&before, &be16(frame, place).to_be_bytes());
    set_length(&mut frame[ETH_LEN..ip.end], ip.family(), ip.l4_at - ETH_LEN);
    // The pseudo-header has the segment's length.
    let (length, field) = (option.len() as u16, be16(frame, ip.l4_at + tcp::CHECKSUM));
    let sum = match complete {
        true => checksum::update(field, checksum::add(checksum::add(header, checksum::sum(option)), length)),
        false => checksum::add(field, length),
    };
    put16(frame, ip.l4_at + tcp::CHECKSUM, sum);
    true
}

/// Changes the bytes of an option, and the checksum if it is complete.
fn edit(buf: &mut PacketBuf, ip: &Ip, range: Range<usize>, change: impl Fn(&mut [u8])) {
    let complete = !buf.vnet.needs_csum;
    let frame = buf.frame_mut();
    // Whole words of the checksum.
    let odd = (range.start - ip.l4_at) % 2;
    let words = range.start - odd..range.end + (range.end - ip.l4_at) % 2;
    let old = checksum::sum(&frame[words.clone()]);
    change(&mut frame[range]);
    if complete {
        let changed = checksum::add(checksum::sum(&frame[words]), !old);
        let field = be16(frame, ip.l4_at + tcp::CHECKSUM);
        put16(frame, ip.l4_at + tcp::CHECKSUM, checksum::update(field, changed));
    }
}
