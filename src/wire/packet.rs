//! An IP packet as values: addresses, protocol, where its parts start in the frame.
//!
//! Made by `parse` and kept true by whoever edits the packet. Never reads a byte itself.

use std::net::IpAddr;

use super::field::{ETH_LEN, ipv6};
use crate::base::{Endpoint, Family, Proto, Tuple};

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

    /// True for an IPv6 packet with extension headers.
    #[inline]
    pub fn has_extensions(&self) -> bool {
        self.family() == Family::V6 && self.l4_at != ETH_LEN + ipv6::LEN
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
}
