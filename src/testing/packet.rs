//! Packets of a scenario, built by etherparse: what goes in, and what must come out.
//!
//! Never uses the director's own builders or its parser.

use std::net::IpAddr;
use std::sync::LazyLock;

use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, TcpHeader, TransportHeader, UdpHeader,
};

use crate::base::{Endpoint, Mac};

/// What a packet carries.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// A TCP segment with these flags, letters of `SFRAPUEC`.
    Tcp(&'static str),
    /// A UDP datagram.
    Udp,
    /// A UDP datagram whose checksum is 0.
    UdpWithout,
    /// ICMP: type, code, second word; the payload follows.
    Icmp(u8, u8, [u8; 4]),
    /// Another protocol: the payload is all there is.
    Other(u8),
}

/// A packet, and the frame around it.
#[derive(Clone, PartialEq, Debug)]
pub struct Packet {
    /// Source.
    pub src: Endpoint,
    /// Destination.
    pub dst: Endpoint,
    /// Layer 4.
    pub kind: Kind,
    /// What it carries.
    pub payload: Vec<u8>,
    /// TTL.
    pub ttl: u8,
    /// TOS.
    pub tos: u8,
    /// DF.
    pub dont_fragment: bool,
    /// Identification.
    pub id: u16,
    /// Fragment offset in bytes, and whether more follow.
    pub fragment: (u16, bool),
    /// TCP sequence number.
    pub seq: u32,
    /// TCP acknowledgement.
    pub ack: u32,
}

impl Packet {
    /// A packet between two endpoints, written `10.0.0.1:80` or `[2001:db8::1]:80`.
    pub fn new(src: &str, dst: &str, kind: Kind) -> Packet {
        Packet {
            src: endpoint(src),
            dst: endpoint(dst),
            kind,
            payload: Vec::new(),
            ttl: 64,
            tos: 0,
            dont_fragment: true,
            id: 0x1234,
            fragment: (0, false),
            seq: 1000,
            ack: 2000,
        }
    }

    /// A TCP segment.
    pub fn tcp(src: &str, dst: &str, flags: &'static str) -> Packet {
        Packet::new(src, dst, Kind::Tcp(flags))
    }

    /// Flags by their letters, in any order.
    pub fn flags(letters: &str) -> Result<&'static str, String> {
        let at = |letter| LETTERS.find(letter).ok_or_else(|| format!("'{letter}' is not a TCP flag"));
        let bits = letters.chars().try_fold(0, |bits, letter| at(letter).map(|at| bits | 1 << at))?;
        Ok(&FLAGS[bits])
    }

    /// A UDP datagram.
    pub fn udp(src: &str, dst: &str) -> Packet {
        Packet::new(src, dst, Kind::Udp)
    }

    /// An ICMP message that quotes the beginning of a packet.
    pub fn icmp_about(src: &str, dst: &str, (kind, code, word): (u8, u8, u32), about: &Packet) -> Packet {
        let quote = about.bytes();
        let quote = quote[..quote.len().min(60)].to_vec();
        Packet::new(src, dst, Kind::Icmp(kind, code, word.to_be_bytes())).carrying(quote)
    }

    /// With a payload.
    pub fn carrying(self, payload: impl Into<Vec<u8>>) -> Packet {
        Packet { payload: payload.into(), ..self }
    }

    /// One hop further.
    pub fn one_hop_on(self) -> Packet {
        Packet { ttl: self.ttl - 1, ..self }
    }

    /// From another source.
    pub fn from(self, src: &str) -> Packet {
        Packet { src: endpoint(src), ..self }
    }

    /// To another destination.
    pub fn to(self, dst: &str) -> Packet {
        Packet { dst: endpoint(dst), ..self }
    }

    /// The IP packet.
    pub fn bytes(&self) -> Vec<u8> {
        let l4 = self.layer4();
        let mut bytes = Vec::new();
        let proto = match self.kind {
            Kind::Tcp(_) => IpNumber::TCP,
            Kind::Udp | Kind::UdpWithout => IpNumber::UDP,
            Kind::Icmp(..) if self.dst.addr.is_ipv4() => IpNumber::ICMP,
            Kind::Icmp(..) => IpNumber::IPV6_ICMP,
            Kind::Other(number) => IpNumber(number),
        };
        match (self.src.addr, self.dst.addr) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mut header = Ipv4Header::new(l4.len() as u16, self.ttl, proto, src.octets(), dst.octets()).unwrap();
                header.dont_fragment = self.dont_fragment;
                header.identification = self.id;
                header.dscp = (self.tos >> 2).try_into().unwrap();
                header.ecn = (self.tos & 3).try_into().unwrap();
                header.fragment_offset = (self.fragment.0 / 8).try_into().unwrap();
                header.more_fragments = self.fragment.1;
                header.header_checksum = header.calc_header_checksum();
                header.write_raw(&mut bytes).unwrap();
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let header = Ipv6Header {
                    traffic_class: self.tos,
                    payload_length: l4.len() as u16,
                    next_header: proto,
                    hop_limit: self.ttl,
                    source: src.octets(),
                    destination: dst.octets(),
                    ..Ipv6Header::default()
                };
                header.write(&mut bytes).unwrap();
            }
            _ => panic!("a packet of two families"),
        }
        bytes.extend(l4);
        bytes
    }

    /// How long the IP header at the beginning of these bytes is, IPv6's extension headers left out.
    pub fn header_len(bytes: &[u8]) -> usize {
        if bytes[0] >> 4 == 4 { usize::from(bytes[0] & 15) * 4 } else { Ipv6Header::LEN }
    }

    /// The frame between two stations.
    pub fn frame(&self, from: Mac, to: Mac) -> Vec<u8> {
        let ether_type = if self.dst.addr.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
        let header = Ethernet2Header { source: from.0, destination: to.0, ether_type };
        let mut frame = header.to_bytes().to_vec();
        frame.extend(self.bytes());
        frame
    }

    fn layer4(&self) -> Vec<u8> {
        if self.fragment.0 > 0 {
            return self.payload.clone();
        }
        let mut bytes = Vec::new();
        match &self.kind {
            Kind::Tcp(flags) => {
                let mut header = TcpHeader::new(self.src.port, self.dst.port, self.seq, 64_240);
                for flag in flags.chars() {
                    match flag {
                        'S' => header.syn = true,
                        'A' => header.ack = true,
                        'F' => header.fin = true,
                        'R' => header.rst = true,
                        'P' => header.psh = true,
                        'U' => header.urg = true,
                        'E' => header.ece = true,
                        'C' => header.cwr = true,
                        other => panic!("flag {other}"),
                    }
                }
                header.acknowledgment_number = self.ack;
                self.finish(TransportHeader::Tcp(header), &mut bytes);
            }
            Kind::Udp => {
                let length = 8 + self.payload.len() as u16;
                let (source_port, destination_port) = (self.src.port, self.dst.port);
                let header = UdpHeader { source_port, destination_port, length, checksum: 0 };
                self.finish(TransportHeader::Udp(header), &mut bytes);
            }
            Kind::UdpWithout => {
                let length = 8 + self.payload.len() as u16;
                let (source_port, destination_port) = (self.src.port, self.dst.port);
                let header = UdpHeader { source_port, destination_port, length, checksum: 0 };
                bytes.extend(header.to_bytes());
                bytes.extend(&self.payload);
            }
            Kind::Icmp(kind, code, word) => self.icmp(*kind, *code, *word, &mut bytes),
            Kind::Other(_) => bytes.extend(&self.payload),
        }
        bytes
    }

    fn finish(&self, mut header: TransportHeader, bytes: &mut Vec<u8>) {
        match (self.src.addr, self.dst.addr) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let ip = Ipv4Header::new(0, 1, IpNumber::TCP, src.octets(), dst.octets()).unwrap();
                header.update_checksum_ipv4(&ip, &self.payload).unwrap();
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let ip = Ipv6Header { source: src.octets(), destination: dst.octets(), ..Ipv6Header::default() };
                header.update_checksum_ipv6(&ip, &self.payload).unwrap();
            }
            _ => panic!("a packet of two families"),
        }
        header.write(bytes).unwrap();
        bytes.extend(&self.payload);
    }

    fn icmp(&self, kind: u8, code: u8, word: [u8; 4], bytes: &mut Vec<u8>) {
        let mut built = Vec::new();
        match (self.src.addr, self.dst.addr) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let builder = PacketBuilder::ipv4(src.octets(), dst.octets(), 1).icmpv4_raw(kind, code, word);
                builder.write(&mut built, &self.payload).unwrap();
                bytes.extend(&built[20..]);
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let builder = PacketBuilder::ipv6(src.octets(), dst.octets(), 1).icmpv6_raw(kind, code, word);
                builder.write(&mut built, &self.payload).unwrap();
                bytes.extend(&built[40..]);
            }
            _ => panic!("a packet of two families"),
        }
    }
}

/// A letter for each flag.
const LETTERS: &str = "SFRAPUEC";

/// Every set of flags: bit n of the index stands for the n-th letter.
static FLAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let of = |bits: usize| {
        LETTERS.chars().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, letter)| letter).collect()
    };
    (0..256).map(of).collect()
});

pub(super) fn letters(header: &TcpHeader) -> &'static str {
    let set = [header.syn, header.fin, header.rst, header.ack, header.psh, header.urg, header.ece, header.cwr];
    let bits = set.iter().enumerate().map(|(at, flag)| usize::from(*flag) << at).sum::<usize>();
    &FLAGS[bits]
}

/// The frame of a TCP segment without options, with these; their number of bytes is a multiple of four.
pub fn with_options(frame: Vec<u8>, options: &[u8]) -> Vec<u8> {
    let (ethernet, packet) = frame.split_at(Ethernet2Header::LEN);
    let length = options.len() as u16;
    let (mut bytes, segment) = (ethernet.to_vec(), &packet[Packet::header_len(packet)..]);
    let (mut tcp, payload) = TcpHeader::from_slice(segment).unwrap();
    tcp.set_options_raw(options).unwrap();
    if packet[0] >> 4 == 4 {
        let (mut ip, _) = Ipv4Header::from_slice(packet).unwrap();
        ip.total_len += length;
        ip.header_checksum = ip.calc_header_checksum();
        tcp.checksum = tcp.calc_checksum_ipv4(&ip, payload).unwrap();
        ip.write_raw(&mut bytes).unwrap();
    } else {
        let (mut ip, _) = Ipv6Header::from_slice(packet).unwrap();
        ip.payload_length += length;
        tcp.checksum = tcp.calc_checksum_ipv6(&ip, payload).unwrap();
        ip.write(&mut bytes).unwrap();
    }
    tcp.write(&mut bytes).unwrap();
    bytes.extend(payload);
    bytes
}

/// An endpoint as it is written; an address alone has port 0.
pub fn endpoint(text: &str) -> Endpoint {
    match text.parse::<std::net::SocketAddr>() {
        Ok(socket) => Endpoint::new(socket.ip(), socket.port()),
        Err(_) => Endpoint::new(text.parse().unwrap(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_as_it_was_built() {
        let error = Packet::tcp("10.0.0.1:80", "192.0.2.7:4000", "SA");
        for packet in [
            Packet {
                tos: 0x2b,
                ttl: 3,
                id: 77,
                dont_fragment: false,
                ..Packet::tcp("10.0.0.1:80", "10.0.0.2:81", "FAP")
            },
            Packet { seq: 1 << 31, ack: 5, ..Packet::tcp("10.0.0.1:80", "10.0.0.2:81", "SEC") }.carrying("text"),
            Packet::udp("10.0.0.1:80", "10.0.0.2:81").carrying("text"),
            Packet::new("10.0.0.1:80", "10.0.0.2:81", Kind::UdpWithout),
            Packet::icmp_about("10.0.0.1", "10.0.0.2", (3, 4, 1400), &error),
            Packet { fragment: (24, true), ..Packet::new("10.0.0.1", "10.0.0.2", Kind::Other(17)).carrying([7; 16]) },
            Packet::new("10.0.0.1", "10.0.0.2", Kind::Other(4)).carrying(error.bytes()),
        ] {
            assert_eq!(Packet::read(&packet.bytes()), packet);
        }
        // What only IPv4 has is as in `new`.
        for packet in [
            Packet { tos: 0x2b, ttl: 3, ..Packet::tcp("[2001:db8::1]:80", "[2001:db8::2]:81", "R") },
            Packet::new("2001:db8::1", "2001:db8::2", Kind::Icmp(128, 0, [1, 2, 3, 4])).carrying("text"),
        ] {
            assert_eq!(Packet::read(&packet.bytes()), packet);
        }
    }
}
