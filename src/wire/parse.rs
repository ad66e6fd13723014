//! Frame to values: once per packet, total over every byte string, never a panic.
//!
//! Nobody above asks the bytes a question again. Never verifies L4 checksums: a forwarder must not
//! vouch for, nor condemn, what it only carries.

use std::net::IpAddr;

use etherparse::{IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::arp::{self, Arp};
use super::ndp::{self, Ndp};
use super::offload::{check_offload, header_end};
use super::{Gso, PacketBuf, checksum, extension};
use crate::base::{DropReason, Endpoint, Family, Mac, Proto, Tuple};

/// Bytes of an Ethernet header without tag; the IP header starts there.
pub const ETH_LEN: usize = 14;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// What a frame is.
#[derive(Clone, Copy, Debug)]
pub enum Parsed {
    /// ARP for IPv4 over Ethernet.
    Arp(Arp),
    /// Neighbour discovery of IPv6.
    Ndp(Ndp),
    /// An IP packet.
    Ip(Ip),
}

/// Everything the director wants to know of an IP packet.
#[derive(Clone, Copy, Debug)]
pub struct Ip {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Layer-4 protocol (after IPv6 extension headers).
    pub proto: Proto,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    /// IPv4 DF bit; an IPv6 packet never may be cut on the way.
    pub dont_fragment: bool,
    /// Its place in a fragmented datagram.
    pub fragment: Fragment,
    /// Where the L4 header starts in the frame.
    pub l4_at: usize,
    /// Where the packet ends in the frame (padding lies behind).
    pub end: usize,
    /// Layer 4.
    pub l4: L4,
}

/// A packet's place in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fragment {
    /// Not a fragment.
    Whole,
    /// Offset 0, more to come.
    First,
    /// Offset above 0: no L4 header here.
    Later,
}

/// The part of layer 4 that decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum L4 {
    /// TCP.
    Tcp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
        /// Flag bits.
        flags: TcpFlags,
    },
    /// UDP.
    Udp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
    },
    /// SCTP.
    Sctp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
        /// Type of the first chunk; an abort behind a cookie counts as first.
        chunk: u8,
    },
    /// ICMP or ICMPv6.
    Icmp {
        /// Type.
        icmp_type: u8,
        /// Code.
        code: u8,
    },
    /// A protocol without ports, or a later fragment.
    Other,
    /// A known protocol whose header does not fit the packet.
    Truncated,
}

/// TCP's flag byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// RST alone.
    pub const RST: TcpFlags = TcpFlags(0x04);

    /// FIN set.
    pub fn fin(self) -> bool {
        self.0 & 0x01 != 0
    }
    /// SYN set.
    pub fn syn(self) -> bool {
        self.0 & 0x02 != 0
    }
    /// RST set.
    pub fn rst(self) -> bool {
        self.0 & 0x04 != 0
    }
    /// ACK set.
    pub fn ack(self) -> bool {
        self.0 & 0x10 != 0
    }
}

impl Ip {
    /// The packet's family.
    pub fn family(&self) -> Family {
        Family::of(self.dst)
    }

    /// Length of the IP packet, header included.
    pub fn total_len(&self) -> usize {
        self.end - ETH_LEN
    }

    /// Source and destination port, of protocols that have them.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.l4 {
            L4::Tcp { sport, dport, .. } | L4::Udp { sport, dport } | L4::Sctp { sport, dport, .. } => {
                Some((sport, dport))
            }
            L4::Icmp { .. } | L4::Other | L4::Truncated => None,
        }
    }

    /// The flow this packet belongs to, if its protocol has ports.
    pub fn tuple(&self) -> Option<Tuple> {
        let (sport, dport) = self.ports()?;
        Some(Tuple { proto: self.proto, src: Endpoint::new(self.src, sport), dst: Endpoint::new(self.dst, dport) })
    }

    /// Length of the largest packet this frame becomes on the wire: one segment of a superframe.
    pub fn wire_len(&self, buf: &PacketBuf) -> usize {
        // What came in fragments goes on in fragments; IPv4 is asked about the whole all the same, as in the kernel.
        if let (Some(cut), Family::V6) = (buf.cut, self.family()) {
            return usize::from(cut);
        }
        match buf.vnet.gso {
            Gso::None | Gso::Unknown => self.total_len(),
            Gso::Tcp4 | Gso::Tcp6 | Gso::Udp => {
                let headers = header_end(buf).saturating_sub(ETH_LEN);
                (headers + usize::from(buf.vnet.gso_size)).min(self.total_len())
            }
        }
    }
}

/// Destination and source MAC of a frame.
pub fn macs(frame: &[u8]) -> Result<(Mac, Mac), DropReason> {
    let (dst, rest) = frame.split_first_chunk::<6>().ok_or(DropReason::Malformed)?;
    let (src, _) = rest.split_first_chunk::<6>().ok_or(DropReason::Malformed)?;
    Ok((Mac(*dst), Mac(*src)))
}

/// Parses a frame whose virtio header says how its checksums stand.
#[inline(always)]
pub fn parse(buf: &PacketBuf) -> Result<Parsed, DropReason> {
    let frame = buf.frame();
    let ethertype = frame.get(12..14).ok_or(DropReason::Malformed)?;
    let ip = match u16::from_be_bytes([ethertype[0], ethertype[1]]) {
        ETHERTYPE_IPV4 => ipv4(frame)?,
        ETHERTYPE_IPV6 => ipv6(frame)?,
        ETHERTYPE_ARP => return arp::parse(&frame[ETH_LEN..]).map(Parsed::Arp),
        _ => return Err(DropReason::EtherType),
    };
    check_offload(buf, &ip)?;
    if ndp::concerns(&ip) {
        return ndp::parse(frame, &ip).map(Parsed::Ndp);
    }
    Ok(Parsed::Ip(ip))
}

/// Parses an IP packet that stands at `ETH_LEN` of `frame`, whatever the Ethernet header says.
pub fn ip_packet(frame: &[u8]) -> Result<Ip, DropReason> {
    match frame.get(ETH_LEN).map(|byte| byte >> 4) {
        Some(4) => ipv4(frame),
        Some(6) => ipv6(frame),
        _ => Err(DropReason::Malformed),
    }
}

#[inline(always)]
fn ipv4(frame: &[u8]) -> Result<Ip, DropReason> {
    let packet = frame.get(ETH_LEN..).ok_or(DropReason::Malformed)?;
    let header = Ipv4HeaderSlice::from_slice(packet).map_err(|_| DropReason::Malformed)?;
    let header_len = header.slice().len();
    let total = usize::from(header.total_len());
    if total < header_len || total > packet.len() {
        return Err(DropReason::Malformed);
    }
    let sum = match header.slice().first_chunk::<20>() {
        Some(plain) if header_len == 20 => checksum::sum_of(plain),
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
        tos: packet[1],
        dont_fragment: header.dont_fragment(),
        fragment,
        l4_at: ETH_LEN + header_len,
        end: ETH_LEN + total,
        l4: layer4(proto, fragment, &packet[header_len..total]),
    })
}

fn ipv6(frame: &[u8]) -> Result<Ip, DropReason> {
    let packet = frame.get(ETH_LEN..).ok_or(DropReason::Malformed)?;
    let header = Ipv6HeaderSlice::from_slice(packet).map_err(|_| DropReason::Malformed)?;
    let total = 40 + usize::from(header.payload_length());
    let packet = packet.get(..total).ok_or(DropReason::Malformed)?;
    let extension::Upper { proto, at, fragment, .. } = extension::upper(packet).ok_or(DropReason::Malformed)?;
    let proto = Proto(proto);
    Ok(Ip {
        src: IpAddr::V6(header.source_addr()),
        dst: IpAddr::V6(header.destination_addr()),
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
    let ports = |least: usize| {
        let bytes = bytes.get(..least)?;
        Some((u16::from_be_bytes([bytes[0], bytes[1]]), u16::from_be_bytes([bytes[2], bytes[3]])))
    };
    match IpNumber(proto.0) {
        IpNumber::TCP => match ports(20) {
            Some((sport, dport)) => L4::Tcp { sport, dport, flags: TcpFlags(bytes[13]) },
            None => L4::Truncated,
        },
        IpNumber::UDP => ports(8).map_or(L4::Truncated, |(sport, dport)| L4::Udp { sport, dport }),
        IpNumber::SCTP => match (ports(16), first_chunk(bytes)) {
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

/// The chunk type that moves an SCTP association (the common header has 12 bytes, a chunk's header 4).
fn first_chunk(bytes: &[u8]) -> Option<u8> {
    const ABORT: u8 = 6;
    const COOKIE_ECHO: u8 = 10;
    const COOKIE_ACK: u8 = 11;
    let first = *bytes.get(12)?;
    let len = usize::from(u16::from_be_bytes([*bytes.get(14)?, *bytes.get(15)?]));
    let second = bytes.get(12 + len.next_multiple_of(4));
    match (first, second) {
        (COOKIE_ECHO | COOKIE_ACK, Some(&ABORT)) if len >= 4 => Some(ABORT),
        (_, _) => Some(first),
    }
}

/// Bytes of the L4 header, for protocols that segment; 0 otherwise.
pub fn l4_header_len(frame: &[u8], ip: &Ip) -> usize {
    match ip.l4 {
        L4::Tcp { .. } => (usize::from(frame[ip.l4_at + 12] >> 4) * 4).clamp(20, 60),
        L4::Udp { .. } => 8,
        L4::Sctp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => 0,
    }
}
