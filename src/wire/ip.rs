//! The IP header: read into values, and written by builders.
//!
//! Reading is total over every byte string. Never verifies L4 checksums: a forwarder passes damage on as it came, and
//! vouches for nothing.

use std::net::{IpAddr, Ipv6Addr};

use etherparse::{IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::field::{ETH_LEN, be16, ipv4, ipv6, ports, put, put16, sctp, take, tcp, udp};
use super::packet::{Fragment, Ip, L4, TcpFlags};
use super::{checksum, extension};
use crate::base::{DropReason, Family, Proto};

/// TTL of packets that the director itself sends (RFC 1700).
pub const DEFAULT_TTL: u8 = 64;

/// Bytes of an IP header without options.
pub const fn header_len(family: Family) -> usize {
    match family {
        Family::V4 => ipv4::LEN,
        Family::V6 => ipv6::LEN,
    }
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
            let header = &mut packet[..ipv4::LEN];
            header.fill(0);
            header[0] = 0x45;
            header[ipv4::TOS] = fields.tos;
            put16(header, ipv4::TOTAL_LEN, total as u16);
            put16(header, ipv4::ID, fields.id);
            put16(header, ipv4::FRAGMENT, if fields.dont_fragment { ipv4::DONT_FRAGMENT } else { 0 });
            header[ipv4::TTL] = fields.ttl;
            header[ipv4::PROTOCOL] = fields.proto.0;
            put(header, ipv4::SRC, &src.octets());
            put(header, ipv4::DST, &dst.octets());
            set_header_checksum(header);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = &mut packet[..ipv6::LEN];
            header.fill(0);
            header[0] = 0x60 | (fields.tos >> 4);
            header[1] = fields.tos << 4;
            put16(header, ipv6::PAYLOAD_LEN, (total - ipv6::LEN) as u16);
            header[ipv6::NEXT_HEADER] = fields.proto.0;
            header[ipv6::HOP_LIMIT] = fields.ttl;
            put(header, ipv6::SRC, &src.octets());
            put(header, ipv6::DST, &dst.octets());
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            debug_assert!(false, "a header has one family");
        }
    }
}

/// Computes the checksum of an IPv4 header, options included, and writes it.
#[inline]
pub(super) fn set_header_checksum(header: &mut [u8]) {
    put16(header, ipv4::CHECKSUM, 0);
    let sum = !checksum::sum(header);
    put16(header, ipv4::CHECKSUM, sum);
}

/// Writes the length of an IP packet that fills `packet` into its header; `header_len` counts IPv4 options.
pub(super) fn set_length(packet: &mut [u8], family: Family, header_len: usize) {
    let total = packet.len();
    match family {
        Family::V4 => {
            put16(packet, ipv4::TOTAL_LEN, total as u16);
            set_header_checksum(&mut packet[..header_len]);
        }
        Family::V6 => put16(packet, ipv6::PAYLOAD_LEN, (total - ipv6::LEN) as u16),
    }
}

/// Parses an IP packet that stands at `ETH_LEN` of `frame`, whatever the Ethernet header says.
pub fn ip_packet(frame: &[u8]) -> Result<Ip, DropReason> {
    match frame.get(ETH_LEN).map(|byte| byte >> 4) {
        Some(4) => parse_ipv4(frame),
        Some(6) => parse_ipv6(frame),
        _ => Err(DropReason::Malformed),
    }
}

#[inline(always)]
pub(super) fn parse_ipv4(frame: &[u8]) -> Result<Ip, DropReason> {
    let packet = frame.get(ETH_LEN..).ok_or(DropReason::Malformed)?;
    let header = Ipv4HeaderSlice::from_slice(packet).map_err(|_| DropReason::Malformed)?;
    let header_len = header.slice().len();
    let total = usize::from(header.total_len());
    if total < header_len || total > packet.len() {
        return Err(DropReason::Malformed);
    }
    let sum = match header.slice().first_chunk::<{ ipv4::LEN }>() {
        Some(plain) if header_len == ipv4::LEN => checksum::sum_of(plain),
        _ => checksum::sum(header.slice()),
    };
    if sum != 0xffff {
        return Err(DropReason::HeaderChecksum);
    }
    let fragment = match (u16::from(header.fragments_offset()), header.more_fragments()) {
        (0, false) => Fragment::Whole,
        (0, true) => Fragment::First,
        (_, _) => Fragment::Later,
    };
    let proto = Proto(header.protocol().0);
    Ok(Ip {
        src: IpAddr::V4(header.source_addr()),
        dst: IpAddr::V4(header.destination_addr()),
        proto,
        ttl: header.ttl(),
        tos: packet[ipv4::TOS],
        dont_fragment: header.dont_fragment(),
        fragment,
        l4_at: ETH_LEN + header_len,
        end: ETH_LEN + total,
        l4: layer4(proto, fragment, &packet[header_len..total]),
    })
}

#[inline(always)]
pub(super) fn parse_ipv6(frame: &[u8]) -> Result<Ip, DropReason> {
    let packet = frame.get(ETH_LEN..).ok_or(DropReason::Malformed)?;
    let header = Ipv6HeaderSlice::from_slice(packet).map_err(|_| DropReason::Malformed)?;
    let total = ipv6::LEN + usize::from(header.payload_length());
    let packet = packet.get(..total).ok_or(DropReason::Malformed)?;
    // As a whole: `header.source_addr()` reads, and keeps, byte by byte.
    let address = |at| IpAddr::V6(Ipv6Addr::from(take::<16>(packet, at)));
    let extension::Upper { proto, at, fragment, .. } = extension::upper(packet).ok_or(DropReason::Malformed)?;
    let proto = Proto(proto);
    Ok(Ip {
        src: address(ipv6::SRC),
        dst: address(ipv6::DST),
        proto,
        ttl: header.hop_limit(),
        tos: header.traffic_class(),
        dont_fragment: true,
        fragment,
        l4_at: ETH_LEN + at,
        end: ETH_LEN + total,
        l4: layer4(proto, fragment, &packet[at..]),
    })
}

#[inline(always)]
fn layer4(proto: Proto, fragment: Fragment, bytes: &[u8]) -> L4 {
    if fragment == Fragment::Later {
        return L4::Other;
    }
    let both_ports = |least: usize| {
        let bytes = bytes.get(..least)?;
        Some((be16(bytes, ports::SRC), be16(bytes, ports::DST)))
    };
    match IpNumber(proto.0) {
        IpNumber::TCP => match both_ports(tcp::LEN) {
            Some((sport, dport)) => L4::Tcp { sport, dport, flags: TcpFlags(bytes[tcp::FLAGS]) },
            None => L4::Truncated,
        },
        IpNumber::UDP => both_ports(udp::LEN).map_or(L4::Truncated, |(sport, dport)| L4::Udp { sport, dport }),
        IpNumber::SCTP => match (both_ports(sctp::LEN + sctp::CHUNK_LEN), first_chunk(bytes)) {
            (Some((sport, dport)), Some(chunk)) => L4::Sctp { sport, dport, chunk },
            (_, _) => L4::Truncated,
        },
        IpNumber::ICMP | IpNumber::IPV6_ICMP => match bytes {
            [icmp_type, code, _, _, _, _, _, _, ..] => L4::Icmp { icmp_type: *icmp_type, code: *code },
            _ => L4::Truncated,
        },
        _ => L4::Other,
    }
}

/// The chunk type that moves an SCTP association (RFC 9260 3.2).
fn first_chunk(bytes: &[u8]) -> Option<u8> {
    const ABORT: u8 = 6;
    const COOKIE_ECHO: u8 = 10;
    const COOKIE_ACK: u8 = 11;
    let header = bytes.get(sctp::LEN..sctp::LEN + sctp::CHUNK_LEN)?;
    let (first, len) = (header[0], usize::from(be16(header, 2)));
    let second = bytes.get(sctp::LEN + len.next_multiple_of(4));
    match (first, second) {
        (COOKIE_ECHO | COOKIE_ACK, Some(&ABORT)) if len >= 4 => Some(ABORT),
        (_, _) => Some(first),
    }
}

/// Bytes of the L4 header, for protocols that segment; 0 otherwise.
pub fn l4_header_len(frame: &[u8], ip: &Ip) -> usize {
    match ip.l4 {
        L4::Tcp { .. } => (usize::from(frame[ip.l4_at + tcp::DATA_OFFSET] >> 4) * 4).clamp(tcp::LEN, 60),
        L4::Udp { .. } => udp::LEN,
        L4::Sctp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => 0,
    }
}
