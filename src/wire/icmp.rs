//! ICMP and ICMPv6: errors a router owes, echo answers, and the packet quoted inside an error.
//!
//! Builds and reads; never decides whether an answer is due, and never limits its rate.

use std::net::IpAddr;

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::parse::{ETH_LEN, Fragment, Ip};
use super::{PacketBuf, checksum, extension};
use crate::base::{Endpoint, Family, Proto, Tuple};

/// TTL of what the director itself says (RFC 1700).
pub const DEFAULT_TTL: u8 = 64;
/// An ICMP error is at most this long (RFC 1812 4.3.2.3).
const ERROR_LIMIT: usize = 576;
/// An ICMPv6 error is at most this long (RFC 4443 2.4).
const ERROR_LIMIT6: usize = 1280;

/// What a router or host tells a sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpError {
    /// TTL or hop limit used up.
    TimeExceeded,
    /// No route.
    NetUnreachable,
    /// A link-local source, whose packets no router sends on.
    BeyondScope,
    /// No answer from the next hop.
    HostUnreachable,
    /// Nothing takes this protocol (of IPv6 a parameter problem, which points to where the protocol is named).
    ProtocolUnreachable,
    /// Nothing listens there.
    PortUnreachable,
    /// Does not fit; the next link takes this many bytes.
    TooBig(u16),
    /// An IPv4 option that cannot be, at this byte of the header.
    BadOption(u8),
    /// A type, code and second word of the family, as they came or as a header's reader has them.
    Raw(u8, u8, u32),
}

impl IcmpError {
    /// Type, code and the header's second word (RFC 792, RFC 4443).
    fn header(self, family: Family) -> (u8, u8, u32) {
        match (family, self) {
            (_, IcmpError::Raw(icmp_type, code, word)) => (icmp_type, code, word),
            (Family::V4, IcmpError::TimeExceeded) => (11, 0, 0),
            (Family::V4, IcmpError::NetUnreachable | IcmpError::BeyondScope) => (3, 0, 0),
            (Family::V4, IcmpError::HostUnreachable) => (3, 1, 0),
            (Family::V4, IcmpError::ProtocolUnreachable) => (3, 2, 0),
            (Family::V4, IcmpError::PortUnreachable) => (3, 3, 0),
            (Family::V4, IcmpError::TooBig(mtu)) => (3, 4, u32::from(mtu)),
            (Family::V4, IcmpError::BadOption(at)) => (12, 0, u32::from(at) << 24),
            (Family::V6, IcmpError::TimeExceeded) => (3, 0, 0),
            (Family::V6, IcmpError::NetUnreachable) => (1, 0, 0),
            (Family::V6, IcmpError::BeyondScope) => (1, 2, 0),
            (Family::V6, IcmpError::HostUnreachable) => (1, 3, 0),
            (Family::V6, IcmpError::ProtocolUnreachable) => (4, 1, 6),
            (Family::V6, IcmpError::BadOption(at)) => (4, 0, u32::from(at)),
            (Family::V6, IcmpError::PortUnreachable) => (1, 4, 0),
            (Family::V6, IcmpError::TooBig(mtu)) => (2, 0, u32::from(mtu)),
        }
    }
}

/// Writes an error about the IP packet `about` (from its IP header on), MACs left open.
///
/// The quote is cut so that the whole stays within what every path takes.
pub fn error(out: &mut PacketBuf, complaint: IcmpError, about: &[u8], src: IpAddr, dst: IpAddr, id: u16) {
    let family = Family::of(dst);
    let (header, limit) = match family {
        Family::V4 => (20, ERROR_LIMIT),
        Family::V6 => (40, ERROR_LIMIT6),
    };
    let quote = &about[..about.len().min(limit - header - 8)];
    let (icmp_type, code, word) = complaint.header(family);
    let tos = match family {
        // Precedence "internetwork control", the rest from the packet (RFC 1812 4.3.2.5).
        Family::V4 => (about[1] & 0x1e) | 0xc0,
        Family::V6 => 0,
    };
    let frame = out.reset(ETH_LEN + header + 8 + quote.len());
    let body = &mut frame[ETH_LEN + header..];
    body[0] = icmp_type;
    body[1] = code;
    body[4..8].copy_from_slice(&word.to_be_bytes());
    body[8..].copy_from_slice(quote);
    let sum = match family {
        Family::V4 => checksum::sum(body),
        Family::V6 => sum6(src, dst, body),
    };
    body[2..4].copy_from_slice(&(!sum).to_be_bytes());
    let proto = if family == Family::V4 { Proto::ICMP } else { Proto::ICMP6 };
    ip_header(frame, &Header { src, dst, proto, ttl: DEFAULT_TTL, tos, id, dont_fragment: false });
}

/// The fields of an IP header that a builder chooses.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Source address.
    pub src: IpAddr,
    /// Destination address, of the same family.
    pub dst: IpAddr,
    /// Protocol of what follows.
    pub proto: Proto,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    /// IPv4 identification.
    pub id: u16,
    /// IPv4 DF.
    pub dont_fragment: bool,
}

/// Writes an IP header at `ETH_LEN` of a frame whose length is already final.
pub fn ip_header(frame: &mut [u8], fields: &Header) {
    let packet = &mut frame[ETH_LEN..];
    let total = packet.len();
    match (fields.src, fields.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let header = &mut packet[..20];
            header.fill(0);
            header[0] = 0x45;
            header[1] = fields.tos;
            header[2..4].copy_from_slice(&(total as u16).to_be_bytes());
            header[4..6].copy_from_slice(&fields.id.to_be_bytes());
            header[6] = if fields.dont_fragment { 0x40 } else { 0 };
            header[8] = fields.ttl;
            header[9] = fields.proto.0;
            header[12..16].copy_from_slice(&src.octets());
            header[16..20].copy_from_slice(&dst.octets());
            let sum = !checksum::sum(header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = &mut packet[..40];
            header.fill(0);
            header[0] = 0x60 | (fields.tos >> 4);
            header[1] = fields.tos << 4;
            header[4..6].copy_from_slice(&((total - 40) as u16).to_be_bytes());
            header[6] = fields.proto.0;
            header[7] = fields.ttl;
            header[8..24].copy_from_slice(&src.octets());
            header[24..40].copy_from_slice(&dst.octets());
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            debug_assert!(false, "a header has one family");
        }
    }
}

/// True for an echo request of either family.
pub fn is_echo_request(ip: &Ip, icmp_type: u8) -> bool {
    (ip.proto == Proto::ICMP && icmp_type == 8) || (ip.proto == Proto::ICMP6 && icmp_type == 128)
}

/// True for types that report an error about another packet (RFC 1122 3.2.2; RFC 4443 2.1).
pub fn is_error(ip: &Ip, icmp_type: u8) -> bool {
    match ip.proto {
        Proto::ICMP => matches!(icmp_type, 3 | 4 | 5 | 11 | 12),
        _ => icmp_type < 128,
    }
}

/// True for the errors that IPVS relates to a conn: IPv4 unreachable, quench, time exceeded; every ICMPv6 error.
pub fn is_related(ip: &Ip, icmp_type: u8) -> bool {
    match ip.proto {
        Proto::ICMP => matches!(icmp_type, 3 | 4 | 11),
        _ => icmp_type < 128,
    }
}

/// True for "fragmentation needed" (RFC 1191) and "packet too big" (RFC 4443 3.2).
pub fn is_too_big(ip: &Ip, icmp_type: u8, code: u8) -> bool {
    match ip.proto {
        Proto::ICMP => (icmp_type, code) == (3, 4),
        _ => icmp_type == 2,
    }
}

/// The second word of a message: an MTU, a pointer, or nothing. A message has at least 8 bytes.
pub fn second_word(frame: &[u8], ip: &Ip) -> u32 {
    let word = frame[ip.l4_at + 4..].first_chunk::<4>();
    word.map_or(0, |word| u32::from_be_bytes(*word))
}

/// Turns an echo request into its reply, in place; MACs left open.
pub fn echo_reply(out: &mut PacketBuf, request: &[u8], ip: &Ip, id: u16) {
    let len = ip.end - ip.l4_at;
    let header = if ip.family() == Family::V4 { 20 } else { 40 };
    let frame = out.reset(ETH_LEN + header + len);
    let body = &mut frame[ETH_LEN + header..];
    body.copy_from_slice(&request[ip.l4_at..ip.end]);
    let old = [body[0], body[1]];
    body[0] = if ip.family() == Family::V4 { 0 } else { 129 };
    // The pseudo-header's sum does not change when its two addresses change places.
    let sum = checksum::update(u16::from_be_bytes([body[2], body[3]]), checksum::change(&old, &[body[0], body[1]]));
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let fields =
        Header { src: ip.dst, dst: ip.src, proto: ip.proto, ttl: DEFAULT_TTL, tos: ip.tos, id, dont_fragment: false };
    ip_header(frame, &fields);
}

/// True if the ICMP checksum of a whole message is right.
pub fn checksum_is_right(frame: &[u8], ip: &Ip) -> bool {
    let body = &frame[ip.l4_at..ip.end];
    let sum = match ip.family() {
        Family::V4 => checksum::sum(body),
        Family::V6 => sum6(ip.src, ip.dst, body),
    };
    sum == 0xffff
}

/// The folded sum of an ICMPv6 message with its pseudo-header (RFC 4443 2.3).
pub(super) fn sum6(src: IpAddr, dst: IpAddr, message: &[u8]) -> u16 {
    checksum::add(checksum::pseudo(src, dst, Proto::ICMP6, message.len()), checksum::sum(message))
}

/// Makes the ICMP checksum anew after the message was edited.
pub fn set_checksum(buf: &mut PacketBuf, ip: &Ip) {
    let frame = buf.frame_mut();
    frame[ip.l4_at + 2..ip.l4_at + 4].fill(0);
    let body = &frame[ip.l4_at..ip.end];
    let sum = match ip.family() {
        Family::V4 => checksum::sum(body),
        Family::V6 => sum6(ip.src, ip.dst, body),
    };
    frame[ip.l4_at + 2..ip.l4_at + 4].copy_from_slice(&(!sum).to_be_bytes());
}

/// A packet quoted by an error, perhaps cut short.
#[derive(Clone, Copy, Debug)]
pub struct Quote {
    /// Where its IP header starts in the frame.
    pub at: usize,
    /// Where its L4 header starts.
    pub l4_at: usize,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Protocol.
    pub proto: Proto,
    /// IPv4 DF.
    pub dont_fragment: bool,
    /// Both ports, if the quote reaches that far and it is no later fragment.
    pub ports: Option<(u16, u16)>,
}

impl Quote {
    /// The flow of the quoted packet, as it was sent.
    pub fn tuple(&self) -> Option<Tuple> {
        let (sport, dport) = self.ports.filter(|_| self.proto.has_ports())?;
        Some(Tuple { proto: self.proto, src: Endpoint::new(self.src, sport), dst: Endpoint::new(self.dst, dport) })
    }
}

/// Reads the packet that an ICMP error quotes (its IP header stands 8 bytes into the message).
pub fn quote(frame: &[u8], ip: &Ip) -> Option<Quote> {
    quote_at(frame, ip.l4_at + 8, ip.end)
}

/// Reads a perhaps incomplete IP packet that starts at `at` and ends, as far as it is there, at `end`.
pub fn quote_at(frame: &[u8], at: usize, end: usize) -> Option<Quote> {
    let packet = frame.get(at..end)?;
    let (src, dst, proto, header, later, dont_fragment) = match packet.first()? >> 4 {
        4 => {
            let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
            let later = u16::from(header.fragments_offset()) != 0;
            let (src, dst) = (IpAddr::V4(header.source_addr()), IpAddr::V4(header.destination_addr()));
            (src, dst, header.protocol().0, header.slice().len(), later, header.dont_fragment())
        }
        6 => {
            let header = Ipv6HeaderSlice::from_slice(packet).ok()?;
            let extension::Upper { proto, at, fragment, .. } = extension::upper(packet)?;
            let (src, dst) = (IpAddr::V6(header.source_addr()), IpAddr::V6(header.destination_addr()));
            (src, dst, proto, at, fragment == Fragment::Later, true)
        }
        _ => return None,
    };
    let ports = packet.get(header..header + 4).filter(|_| !later);
    let ports = ports.map(|p| (u16::from_be_bytes([p[0], p[1]]), u16::from_be_bytes([p[2], p[3]])));
    Some(Quote { at, l4_at: at + header, src, dst, proto: Proto(proto), dont_fragment, ports })
}

/// Replaces one end of the quoted packet; its IP checksum is made anew, its L4 checksum left as it is.
///
/// The ICMP checksum must be set afterwards.
pub fn set_quoted(buf: &mut PacketBuf, quote: &Quote, end: super::End, to: Endpoint) {
    let source = end == super::End::Source;
    let frame = buf.frame_mut();
    match to.addr {
        IpAddr::V4(addr) => {
            let at = quote.at + if source { 12 } else { 16 };
            frame[at..at + 4].copy_from_slice(&addr.octets());
            let header = quote.at..quote.at + usize::from(frame[quote.at] & 0xf) * 4;
            frame[quote.at + 10..quote.at + 12].fill(0);
            let sum = !checksum::sum(&frame[header]);
            frame[quote.at + 10..quote.at + 12].copy_from_slice(&sum.to_be_bytes());
        }
        IpAddr::V6(addr) => {
            let at = quote.at + if source { 8 } else { 24 };
            frame[at..at + 16].copy_from_slice(&addr.octets());
        }
    }
    if quote.ports.is_some() && quote.proto.has_ports() {
        let at = quote.l4_at + if source { 0 } else { 2 };
        frame[at..at + 2].copy_from_slice(&to.port.to_be_bytes());
    }
}
