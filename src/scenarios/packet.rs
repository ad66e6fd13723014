//! Packets of a scenario, built by etherparse: what goes in, and what must come out.
//!
//! Never uses the director's own builders.

use std::net::IpAddr;

use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, TcpHeader, TransportHeader,
};

use crate::base::{Endpoint, Mac};

/// What a packet carries.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// A TCP segment with these flags (`SAFRP`).
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
                let header = etherparse::UdpHeader { source_port, destination_port, length, checksum: 0 };
                self.finish(TransportHeader::Udp(header), &mut bytes);
            }
            Kind::UdpWithout => {
                let length = 8 + self.payload.len() as u16;
                let (source_port, destination_port) = (self.src.port, self.dst.port);
                let header = etherparse::UdpHeader { source_port, destination_port, length, checksum: 0 };
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

/// An endpoint as it is written; an address alone has port 0.
pub fn endpoint(text: &str) -> Endpoint {
    match text.parse::<std::net::SocketAddr>() {
        Ok(socket) => Endpoint::new(socket.ip(), socket.port()),
        Err(_) => Endpoint::new(text.parse().unwrap(), 0),
    }
}
