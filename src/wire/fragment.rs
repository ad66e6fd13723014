//! Cutting a packet into fragments (RFC 791 3.2, RFC 8200 4.5).
//!
//! Works on complete packets, IPv4 fragments included; never on a superframe. What came in fragments is cut where it was
//! cut before, if those fragments still fit; the headers of a tunnel lengthen the first. Whether a packet may be cut is
//! the caller's to know.

use super::PacketBuf;
use super::extension::{FRAGMENT, unfragmentable_end};
use super::field::{ETH_LEN, be16, ipv4, ipv6, put16, put32};
use super::ip::set_length;
use super::packet::Ip;
use crate::base::Family;

/// Where the cutting stands.
pub struct Fragments {
    family: Family,
    /// Where IPv6 headers name what follows them.
    next_header_at: usize,
    payload_at: usize,
    next: usize,
    size: usize,
    id: u32,
    /// The place in `PacketBuf::parts` of the next fragment, where they are kept.
    part: Option<usize>,
}

/// Part of a datagram.
#[derive(Clone, Copy)]
struct Part<'a> {
    data: &'a [u8],
    offset: usize,
    /// Others follow.
    more: bool,
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
                (next_header_at, at, at - ETH_LEN + ipv6::FRAGMENT_LEN)
            }
        };
        let most = mtu.checked_sub(headers)?;
        let size = most & !7;
        debug_assert!(payload_at <= ip.end);
        let part = are_kept(whole, ip.end - payload_at, most).then_some(0);
        (size > 0).then_some(Fragments { family, next_header_at, payload_at, next: payload_at, size, id, part })
    }

    /// Bytes of the next fragment.
    fn take_size(&mut self, whole: &PacketBuf, ip: &Ip) -> usize {
        let Some(index) = self.part else { return self.size };
        self.part = Some(index + 1);
        let added = if index == 0 { ip.end - self.payload_at - sum(&whole.parts) } else { 0 };
        whole.parts.get(index).map_or(self.size, |part| usize::from(*part) + added)
    }

    /// Writes the next fragment; false when all payload is out.
    pub fn next_into(&mut self, whole: &PacketBuf, ip: &Ip, out: &mut PacketBuf) -> bool {
        if self.next >= ip.end {
            return false;
        }
        let source = whole.frame();
        let size = self.take_size(whole, ip);
        let data = &source[self.next..ip.end.min(self.next + size)];
        let more = self.next + data.len() < ip.end;
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
        let old = be16(source, ETH_LEN + ipv4::FRAGMENT);
        let more = if part.more { ipv4::MORE_FRAGMENTS } else { old & ipv4::MORE_FRAGMENTS };
        if part.offset > 0 {
            forget_uncopied_options(&mut frame[ETH_LEN + ipv4::LEN..self.payload_at]);
        }
        let packet = &mut frame[ETH_LEN..];
        put16(packet, ipv4::FRAGMENT, ((old & ipv4::OFFSET_MASK) + (part.offset / 8) as u16) | more);
        set_length(packet, Family::V4, self.payload_at - ETH_LEN);
    }

    fn write_v6(&self, source: &[u8], part: Part, out: &mut PacketBuf) {
        let at = self.payload_at;
        let frame = out.reset(at + ipv6::FRAGMENT_LEN + part.data.len());
        frame[..at].copy_from_slice(&source[..at]);
        frame[at + ipv6::FRAGMENT_LEN..].copy_from_slice(part.data);
        frame[at] = source[self.next_header_at];
        frame[self.next_header_at] = FRAGMENT;
        put16(frame, at + ipv6::FRAGMENT_OFFSET, part.offset as u16 | u16::from(part.more));
        put32(frame, at + ipv6::FRAGMENT_ID, self.id);
        set_length(&mut frame[ETH_LEN..], Family::V6, ipv6::LEN);
    }
}

/// True if a packet of `len` bytes behind its headers is cut where it was cut before: no fragment has more than `most`
/// bytes, and all but the last are multiples of eight.
fn are_kept(whole: &PacketBuf, len: usize, most: usize) -> bool {
    let [first, between @ .., last] = whole.parts.as_slice() else { return false };
    let Some(added) = len.checked_sub(sum(&whole.parts)) else { return false };
    let fits = |size: usize| size <= most && size.is_multiple_of(8);
    fits(usize::from(*first) + added)
        && between.iter().all(|part| fits(usize::from(*part)))
        && usize::from(*last) <= most
}

fn sum(parts: &[u16]) -> usize {
    parts.iter().map(|part| usize::from(*part)).sum()
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
