//! Packets of a scenario, read by etherparse.
//!
//! Never uses the director's own parser.

use etherparse::{Icmpv4Slice, IpNumber, Ipv4Header, Ipv6Header, TcpHeader, UdpHeader};

use super::packet::{Kind, Packet, letters};

impl Packet {
    /// Reads an IP packet, or what is there of one: of a quote the payload ends where the quote does. Panics where there
    /// is no whole header. Flags come in the order `SFRAPUEC`.
    pub fn read(bytes: &[u8]) -> Packet {
        let mut packet = Packet::new("0.0.0.0", "0.0.0.0", Kind::Other(0));
        let (proto, rest) = if bytes[0] >> 4 == 4 {
            let (header, rest) = Ipv4Header::from_slice(bytes).unwrap();
            (packet.src.addr, packet.dst.addr) = (header.source.into(), header.destination.into());
            packet.ttl = header.time_to_live;
            packet.tos = header.dscp.value() << 2 | header.ecn.value();
            packet.dont_fragment = header.dont_fragment;
            packet.id = header.identification;
            packet.fragment = (header.fragment_offset.value() * 8, header.more_fragments);
            (header.protocol, &rest[..rest.len().min(usize::from(header.payload_len().unwrap()))])
        } else {
            let (header, rest) = Ipv6Header::from_slice(bytes).unwrap();
            (packet.src.addr, packet.dst.addr) = (header.source.into(), header.destination.into());
            packet.ttl = header.hop_limit;
            packet.tos = header.traffic_class;
            (header.next_header, &rest[..rest.len().min(usize::from(header.payload_length))])
        };
        packet.read_layer4(proto, rest);
        packet
    }

    fn read_layer4(&mut self, proto: IpNumber, bytes: &[u8]) {
        (self.kind, self.payload) = (Kind::Other(proto.0), bytes.to_vec());
        if self.fragment.0 > 0 {
            return;
        }
        match proto {
            IpNumber::TCP => {
                let Ok((header, payload)) = TcpHeader::from_slice(bytes) else { return self.read_ports(bytes) };
                (self.src.port, self.dst.port) = (header.source_port, header.destination_port);
                (self.seq, self.ack) = (header.sequence_number, header.acknowledgment_number);
                (self.kind, self.payload) = (Kind::Tcp(letters(&header)), payload.to_vec());
            }
            IpNumber::UDP => {
                let (header, payload) = UdpHeader::from_slice(bytes).unwrap();
                (self.src.port, self.dst.port) = (header.source_port, header.destination_port);
                self.kind = if header.checksum == 0 { Kind::UdpWithout } else { Kind::Udp };
                self.payload = payload.to_vec();
            }
            IpNumber::ICMP | IpNumber::IPV6_ICMP => {
                // Both families begin alike.
                let message = Icmpv4Slice::from_slice(bytes).unwrap();
                self.kind = Kind::Icmp(message.type_u8(), message.code_u8(), message.bytes5to8());
                self.payload = message.slice()[8..].to_vec();
            }
            IpNumber::SCTP => self.read_ports(bytes),
            _ => {}
        }
    }

    /// The ports of a segment that is quoted in part, or of SCTP; the payload is all of it.
    fn read_ports(&mut self, bytes: &[u8]) {
        if let [a, b, c, d, ..] = *bytes {
            (self.src.port, self.dst.port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        }
    }
}
