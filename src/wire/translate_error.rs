//! An ICMP error given the other family's headers, its own and that of the packet it quotes (RFC 7915 4.2, 4.3, 5.2, 5.3).
//!
//! Edits in place; what has no counterpart is refused.

use std::net::IpAddr;

use super::PacketBuf;
use super::field::{ETH_LEN, be16, icmp as icmp_field, ipv4, ipv6, ports, put16};
use super::icmp::{self, IcmpError};
use super::ip::{Header, header_len, ip_header, ip_packet, set_header_checksum};
use super::packet::{Ip, L4};
use super::quote::Quote;
use crate::base::{DropReason, Endpoint, Family};

/// What an error becomes in the other family: its addresses and those of the packet that it quotes.
#[derive(Clone, Copy, Debug)]
pub struct ErrorEnds {
    /// Who seems to send the error.
    pub src: IpAddr,
    /// Who is told.
    pub dst: IpAddr,
    /// Source of the quoted packet.
    pub quoted_src: Endpoint,
    /// Destination of the quoted packet.
    pub quoted_dst: Endpoint,
    /// What the link takes that it leaves by: nobody is told of more.
    pub mtu: u16,
    /// Identification of an IPv4 packet.
    pub id: u16,
}

/// Replaces an ICMP error by the other family's, with the quoted packet translated too (RFC 7915 4.2, 4.3, 5.2, 5.3).
///
/// Errors without a counterpart end as unsupported.
pub fn translate_error(buf: &mut PacketBuf, ip: &mut Ip, quote: &Quote, ends: &ErrorEnds) -> Result<(), DropReason> {
    let L4::Icmp { icmp_type, code } = ip.l4 else { return Err(DropReason::Unsupported) };
    let word = icmp::second_word(buf.frame(), ip);
    let said = match (ip.family(), icmp::is_too_big(ip, icmp_type, code)) {
        (Family::V4, true) => {
            Some((2, 0, too_big6(word & 0xffff, be16(buf.frame(), quote.at + ipv4::TOTAL_LEN), ends.mtu)))
        }
        (Family::V4, false) => to_icmp6(icmp_type, code, word),
        (Family::V6, true) => {
            Some((3, 4, word.saturating_sub((ipv6::LEN - ipv4::LEN) as u32).min(u32::from(ends.mtu))))
        }
        (Family::V6, false) => to_icmp4(icmp_type, code, word),
    };
    let (icmp_type, code, mut word) = said.ok_or(DropReason::Unsupported)?;
    let mut room = [0; ETH_LEN + ipv6::MIN_MTU];
    let extended = Extended::of(buf.frame(), ip, quote);
    let end = extended.map_or(ip.end, |extended| extended.at);
    let len = translate_quote(&mut room, buf.frame(), end, quote, ends);
    let about = &mut room[ETH_LEN..];
    let extension = extended.and_then(|extended| extended.append(about, len, buf.frame(), ip));
    let (len, length) = extension.unwrap_or((len, 0));
    word |= length;
    icmp::error(buf, IcmpError::Raw(icmp_type, code, word), &about[..len], ends.src, ends.dst, ends.id);
    *ip = ip_packet(buf.frame())?;
    Ok(())
}

/// What follows the quoted packet of an error with a length (RFC 4884): for example the labels of MPLS.
#[derive(Clone, Copy)]
struct Extended {
    /// Where the quoted packet, which may be padded, ends in the frame.
    at: usize,
}

impl Extended {
    /// The least that an error with an extension quotes (RFC 4884 section 4.1).
    const LEAST: usize = 128;

    fn of(frame: &[u8], ip: &Ip, quote: &Quote) -> Option<Extended> {
        let L4::Icmp { icmp_type, .. } = ip.l4 else { return None };
        let word = icmp::second_word(frame, ip);
        let bytes = match (ip.family(), icmp_type) {
            (Family::V4, 3 | 11 | 12) => (word >> 16 & 0xff) as usize * 4,
            (Family::V6, 1 | 3) => (word >> 24) as usize * 8,
            _ => 0,
        };
        let at = quote.at + bytes;
        (bytes >= Extended::LEAST && at < ip.end && quote.l4_at <= at).then_some(Extended { at })
    }

    /// Appends the extension to a quoted packet of `len` bytes, padded as the other family counts them. The whole length and
    /// the bits of the second word that say where the extension begins; `None` if there is no room for it.
    fn append(self, about: &mut [u8], len: usize, frame: &[u8], ip: &Ip) -> Option<(usize, u32)> {
        // The other family's: what an error may be long in all, how it counts, and where it says so.
        let (limit, unit, shift) = match ip.family() {
            Family::V4 => (ipv6::MIN_MTU - ipv6::LEN, 8, 24),
            Family::V6 => (icmp::ERROR_LIMIT - ipv4::LEN, 4, 16),
        };
        let extension = frame.get(self.at..ip.end)?;
        // The quoted packet makes room, as far as it may.
        let room = limit.checked_sub(icmp_field::LEN + extension.len())?.min(0xff * unit) / unit * unit;
        let padded = len.max(Extended::LEAST).next_multiple_of(unit).min(room);
        if padded < Extended::LEAST {
            return None;
        }
        let whole = padded + extension.len();
        about.get_mut(len.min(padded)..padded)?.fill(0);
        about.get_mut(padded..whole)?.copy_from_slice(extension);
        Some((whole, ((padded / unit) as u32) << shift))
    }
}

/// Writes the quoted packet with its new header into `room`, behind a place for MACs; it stays as incomplete as it was.
/// The length.
fn translate_quote(room: &mut [u8], frame: &[u8], end: usize, quote: &Quote, ends: &ErrorEnds) -> usize {
    let old = &frame[quote.at..];
    let (total, ttl, tos) = match old[0] >> 4 {
        4 => (usize::from(be16(old, ipv4::TOTAL_LEN)), old[ipv4::TTL], old[ipv4::TOS]),
        _ => {
            let total = usize::from(be16(old, ipv6::PAYLOAD_LEN)) + ipv6::LEN;
            (total, old[ipv6::HOP_LIMIT], old[0] << 4 | old[1] >> 4)
        }
    };
    let full_l4 = total.saturating_sub(quote.l4_at - quote.at);
    let header = header_len(Family::of(ends.quoted_dst.addr));
    let kept = (end - quote.l4_at).min(room.len() - ETH_LEN - header);
    let made = &mut room[..ETH_LEN + header + kept];
    let (src, dst) = (ends.quoted_src.addr, ends.quoted_dst.addr);
    let fields = Header { src, dst, proto: quote.proto, ttl, tos, id: 0, dont_fragment: true };
    ip_header(made, &fields);
    let packet = &mut made[ETH_LEN..];
    let l4 = &mut packet[header..];
    l4.copy_from_slice(&frame[quote.l4_at..quote.l4_at + kept]);
    if let Some(both) = l4.get_mut(..4).filter(|_| quote.ports.is_some()) {
        put16(both, ports::SRC, ends.quoted_src.port);
        put16(both, ports::DST, ends.quoted_dst.port);
    }
    // The length is that of the packet as it was sent, not of the part that came back.
    match Family::of(dst) {
        Family::V4 => {
            put16(packet, ipv4::TOTAL_LEN, (full_l4 + ipv4::LEN) as u16);
            set_header_checksum(&mut packet[..ipv4::LEN]);
        }
        Family::V6 => put16(packet, ipv6::PAYLOAD_LEN, full_l4 as u16),
    }
    packet.len()
}

/// The size that an IPv6 sender is told for one that was told in IPv4 about a packet of `total` bytes (RFC 7915 4.2).
fn too_big6(told: u32, total: u16, mtu: u16) -> u32 {
    // Routers older than RFC 1191 do not say what fits; these are the sizes that links are known to have (its section 7).
    const PLATEAUS: [u32; 6] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492];
    let fits = match told {
        0 => PLATEAUS.into_iter().find(|plateau| *plateau < u32::from(total)).unwrap_or_default(),
        told => told + (ipv6::LEN - ipv4::LEN) as u32,
    };
    fits.min(u32::from(mtu)).max(ipv6::MIN_MTU as u32)
}

/// ICMP to ICMPv6: type, code and second word (RFC 7915 4.2).
fn to_icmp6(icmp_type: u8, code: u8, word: u32) -> Option<(u8, u8, u32)> {
    match (icmp_type, code) {
        (3, 0 | 1 | 5..=8 | 11 | 12) => Some((1, 0, 0)),
        (3, 2) => Some((4, 1, 6)),
        (3, 3) => Some((1, 4, 0)),
        (3, 9 | 10 | 13 | 15) => Some((1, 1, 0)),
        (11, code) => Some((3, code, 0)),
        (12, 0 | 2) => {
            let pointer = match word >> 24 {
                at @ (0 | 1) => at,
                2 | 3 => 4,
                8 => 7,
                9 => 6,
                12..=15 => 8,
                16..=19 => 24,
                _ => return None,
            };
            Some((4, 0, pointer))
        }
        _ => None,
    }
}

/// ICMPv6 to ICMP: type, code and second word (RFC 7915 5.2).
fn to_icmp4(icmp_type: u8, code: u8, word: u32) -> Option<(u8, u8, u32)> {
    match (icmp_type, code) {
        (1, 0 | 2 | 3) => Some((3, 1, 0)),
        (1, 1) => Some((3, 10, 0)),
        (1, 4) => Some((3, 3, 0)),
        (3, code) => Some((11, code, 0)),
        (4, 1) => Some((3, 2, 0)),
        (4, 0) => {
            let pointer = match word {
                at @ (0 | 1) => at,
                4 | 5 => 2,
                6 => 9,
                7 => 8,
                8..=23 => 12,
                24..=39 => 16,
                _ => return None,
            };
            Some((12, 0, pointer << 24))
        }
        _ => None,
    }
}
