//! Cutting a packet into fragments (RFC 791 3.2, RFC 8200 4.5).
//!
//! Works on complete packets, IPv4 fragments included; never on a superframe. Whether it may be cut is the caller's to know.

use super::extension::FRAGMENT;
use super::parse::{ETH_LEN, Ip};
use super::reassembly::unfragmentable_end;
use super::{PacketBuf, checksum};
use crate::base::Family;

const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;
const FRAGMENT_HEADER_LEN: usize = 8;

/// Where the cutting stands.
pub struct Fragments {
    family: Family,
    /// Where IPv6 headers name what follows them.
    next_header_at: usize,
    payload_at: usize,
    next: usize,
    size: usize,
    id: u32,
}

/// Part of a datagram.
#[derive(Clone, Copy)]
struct Part<'a> {
    data: &'a [u8],
    offset: usize,
    /// `MORE` if others follow.
    more: u16,
}

impl Fragments {
    /// Fragments of at most `mtu` bytes; `None` if not even 8 bytes of payload fit behind the headers.
    ///
    /// `id` is the identification of an IPv6 datagram; an IPv4 packet has one already.
    pub fn new(whole: &PacketBuf, ip: &Ip, mtu: usize, id: u32) -> Option<Fragments> {
        let family = ip.family();
        let (next_header_at, payload_at, headers) = match family {
            Family::V4 => {
                let at = ETH_LEN + usize::from(whole.frame()[ETH_LEN] & 0xf) * 4;
                (0, at, at - ETH_LEN)
            }
            Family::V6 => {
                let (next_header_at, at) = unfragmentable_end(whole.frame(), ip.end);
                (next_header_at, at, at - ETH_LEN + FRAGMENT_HEADER_LEN)
            }
        };
        let size = mtu.checked_sub(headers)? & !7;
        debug_assert!(payload_at <= ip.end);
        (size > 0).then_some(Fragments { family, next_header_at, payload_at, next: payload_at, size, id })
    }

    /// Writes the next fragment; false when all payload is out.
    pub fn next_into(&mut self, whole: &PacketBuf, ip: &Ip, out: &mut PacketBuf) -> bool {
        if self.next >= ip.end {
            return false;
        }
        let source = whole.frame();
        let data = &source[self.next..ip.end.min(self.next + self.size)];
        let more = if self.next + data.len() < ip.end { MORE } else { 0 };
        let part = Part { data, offset: self.next - self.payload_at, more };
        match self.family {
            Family::V4 => self.write_v4(source, part, out),
            Family::V6 => self.write_v6(source, part, out),
        }
        self.next += part.data.len();
        true
    }

    fn write_v4(&self, source: &[u8], part: Part, out: &mut PacketBuf) {
        let frame = out.reset(self.payload_at + part.data.len());
        frame[..self.payload_at].copy_from_slice(&source[..self.payload_at]);
        frame[self.payload_at..].copy_from_slice(part.data);
        // What is cut may be a fragment itself.
        let old = u16::from_be_bytes([source[ETH_LEN + 6], source[ETH_LEN + 7]]);
        let field = ((old & OFFSET) + (part.offset / 8) as u16) | part.more | (old & MORE);
        if part.offset > 0 {
            forget_uncopied_options(&mut frame[ETH_LEN + 20..self.payload_at]);
        }
        let length = (frame.len() - ETH_LEN) as u16;
        frame[ETH_LEN + 2..ETH_LEN + 4].copy_from_slice(&length.to_be_bytes());
        frame[ETH_LEN + 6..ETH_LEN + 8].copy_from_slice(&field.to_be_bytes());
        frame[ETH_LEN + 10..ETH_LEN + 12].fill(0);
        let sum = !checksum::sum(&frame[ETH_LEN..self.payload_at]);
        frame[ETH_LEN + 10..ETH_LEN + 12].copy_from_slice(&sum.to_be_bytes());
    }

    fn write_v6(&self, source: &[u8], part: Part, out: &mut PacketBuf) {
        let at = self.payload_at;
        let frame = out.reset(at + FRAGMENT_HEADER_LEN + part.data.len());
        frame[..at].copy_from_slice(&source[..at]);
        frame[at + FRAGMENT_HEADER_LEN..].copy_from_slice(part.data);
        frame[at] = source[self.next_header_at];
        frame[self.next_header_at] = FRAGMENT;
        let field = part.offset as u16 | u16::from(part.more != 0);
        frame[at + 2..at + 4].copy_from_slice(&field.to_be_bytes());
        frame[at + 4..at + 8].copy_from_slice(&self.id.to_be_bytes());
        let length = (frame.len() - ETH_LEN - 40) as u16;
        frame[ETH_LEN + 4..ETH_LEN + 6].copy_from_slice(&length.to_be_bytes());
    }
}

/// Options without the "copied" bit stand in the first fragment only; later ones carry no-ops in their place.
fn forget_uncopied_options(options: &mut [u8]) {
    const END: u8 = 0;
    const NOP: u8 = 1;
    let mut at = 0;
    while at < options.len() && options[at] != END {
        let len = match (options[at], options.get(at + 1)) {
            (NOP, _) => 1,
            (_, Some(len)) if *len >= 2 && at + usize::from(*len) <= options.len() => usize::from(*len),
            _ => return,
        };
        if options[at] & 0x80 == 0 {
            options[at..at + len].fill(NOP);
        }
        at += len;
    }
}
