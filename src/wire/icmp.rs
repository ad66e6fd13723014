//! ICMP and ICMPv6: errors a router owes, and echo answers.
//!
//! Builds and reads; never decides whether an answer is due, and never limits its rate.

use std::net::IpAddr;

use super::field::{ETH_LEN, be16, be32, icmp, ipv6, put, put16, put32};
use super::ip::{DEFAULT_TTL, Header, header_len, ip_header};
use super::packet::Ip;
use super::{PacketBuf, checksum};
use crate::base::{Family, Proto};

/// An ICMP error is at most this long (RFC 1812 4.3.2.3); an ICMPv6 error fits the smallest MTU (RFC 4443 2.4).
pub(super) const ERROR_LIMIT: usize = 576;

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

/// Bytes of an echo's data by which its reply is known.
const PROOF_LEN: usize = 4;

/// Writes an error about the IP packet `about` (from its IP header on), MACs left open.
///
/// The quote is cut so that the whole stays within what every path takes.
#[allow(clippy::too_many_arguments)]
pub fn error(out: &mut PacketBuf, error: IcmpError, about: &[u8], src: IpAddr, dst: IpAddr, id: u16) {
    let family = Family::of(dst);
    let limit = if family == Family::V4 { ERROR_LIMIT } else { ipv6::MIN_MTU };
    let header = header_len(family);
    let quote = &about[..about.len().min(limit - header - icmp::LEN)];
    let (icmp_type, code, word) = error.header(family);
    let tos = match family {
        // Precedence "internetwork control", the rest from the packet (RFC 1812 4.3.2.5).
        Family::V4 => (about[1] & 0x1e) | 0xc0,
        Family::V6 => 0,
    };
    let frame = out.reset(ETH_LEN + header + icmp::LEN + quote.len());
    let message = &mut frame[ETH_LEN + header..];
    message[icmp::TYPE] = icmp_type;
    message[icmp::CODE] = code;
    put32(message, icmp::SECOND_WORD, word);
    put(message, icmp::LEN, quote);
    let sum = !message_sum(src, dst, message);
    put16(message, icmp::CHECKSUM, sum);
    let proto = if family == Family::V4 { Proto::ICMP } else { Proto::ICMP6 };
    ip_header(frame, &Header { src, dst, proto, ttl: DEFAULT_TTL, tos, id, dont_fragment: false });
}

/// True for an echo request of either family.
pub fn is_echo_request(ip: &Ip, icmp_type: u8) -> bool {
    (ip.proto == Proto::ICMP && icmp_type == 8) || (ip.proto == Proto::ICMP6 && icmp_type == 128)
}

/// True for an echo reply of either family.
pub fn is_echo_reply(ip: &Ip, icmp_type: u8) -> bool {
    (ip.proto == Proto::ICMP && icmp_type == 0) || (ip.proto == Proto::ICMP6 && icmp_type == 129)
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

/// True for an error that says that a packet does not arrive at its end: neither its size nor its age is the reason.
pub fn is_unreachable(ip: &Ip, (icmp_type, code): (u8, u8)) -> bool {
    match ip.proto {
        Proto::ICMP => icmp_type == 3 && code != 4,
        _ => icmp_type == 1,
    }
}

/// True for the errors that may concern a conn: those of `is_related`, and the parameter problem of IPv4, which only a conn
/// between families carries on (RFC 7915 4.2).
pub fn is_translatable(ip: &Ip, icmp_type: u8) -> bool {
    is_related(ip, icmp_type) || (ip.proto == Proto::ICMP && icmp_type == 12)
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
    be32(frame, ip.l4_at + icmp::SECOND_WORD)
}

/// Writes the second word of a message, whose checksum must be set afterwards.
pub fn set_second_word(buf: &mut PacketBuf, ip: &Ip, word: u32) {
    put32(buf.frame_mut(), ip.l4_at + icmp::SECOND_WORD, word);
}

/// Turns an echo request into its reply, in place; MACs left open.
pub fn echo_reply(out: &mut PacketBuf, request: &[u8], ip: &Ip, id: u16) {
    let len = ip.end - ip.l4_at;
    let header = header_len(ip.family());
    let frame = out.reset(ETH_LEN + header + len);
    let message = &mut frame[ETH_LEN + header..];
    message.copy_from_slice(&request[ip.l4_at..ip.end]);
    let old = [message[icmp::TYPE], message[icmp::CODE]];
    message[icmp::TYPE] = if ip.family() == Family::V4 { 0 } else { 129 };
    // The pseudo-header's sum does not change when its two addresses change places.
    let change = checksum::change(&old, &[message[icmp::TYPE], message[icmp::CODE]]);
    let sum = checksum::update(be16(message, icmp::CHECKSUM), change);
    put16(message, icmp::CHECKSUM, sum);
    let fields =
        Header { src: ip.dst, dst: ip.src, proto: ip.proto, ttl: DEFAULT_TTL, tos: ip.tos, id, dont_fragment: false };
    ip_header(frame, &fields);
}

/// Writes an echo request that carries `proof`; MACs left open.
pub fn echo_request(out: &mut PacketBuf, (src, dst): (IpAddr, IpAddr), id: u16, proof: u32) {
    let family = Family::of(dst);
    let header = header_len(family);
    let frame = out.reset(ETH_LEN + header + icmp::LEN + PROOF_LEN);
    let message = &mut frame[ETH_LEN + header..];
    message[icmp::TYPE] = if family == Family::V4 { 8 } else { 128 };
    message[icmp::CODE] = 0;
    put32(message, icmp::SECOND_WORD, u32::from(id) << 16);
    put32(message, icmp::LEN, proof);
    let sum = !message_sum(src, dst, message);
    put16(message, icmp::CHECKSUM, sum);
    let proto = if family == Family::V4 { Proto::ICMP } else { Proto::ICMP6 };
    ip_header(frame, &Header { src, dst, proto, ttl: DEFAULT_TTL, tos: 0, id, dont_fragment: false });
}

/// The identifier of an echo, and the proof that `echo_request` wrote.
pub fn echo_proof(frame: &[u8], ip: &Ip) -> Option<(u16, u32)> {
    let is_whole = ip.end - ip.l4_at == icmp::LEN + PROOF_LEN && checksum_is_right(frame, ip);
    is_whole.then(|| ((second_word(frame, ip) >> 16) as u16, be32(frame, ip.l4_at + icmp::LEN)))
}

/// True if the ICMP checksum of a whole message is right.
pub fn checksum_is_right(frame: &[u8], ip: &Ip) -> bool {
    message_sum(ip.src, ip.dst, &frame[ip.l4_at..ip.end]) == 0xffff
}

/// The folded sum of a message; ICMPv6 includes a pseudo-header (RFC 4443 2.3).
pub(super) fn message_sum(src: IpAddr, dst: IpAddr, message: &[u8]) -> u16 {
    match Family::of(dst) {
        Family::V4 => checksum::sum(message),
        Family::V6 => checksum::with_pseudo(src, dst, Proto::ICMP6, message),
    }
}

/// Makes the ICMP checksum anew after the message was edited.
pub fn set_checksum(buf: &mut PacketBuf, ip: &Ip) {
    let message = &mut buf.frame_mut()[ip.l4_at..ip.end];
    put16(message, icmp::CHECKSUM, 0);
    let sum = !message_sum(ip.src, ip.dst, message);
    put16(message, icmp::CHECKSUM, sum);
}
