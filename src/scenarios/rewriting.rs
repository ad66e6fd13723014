//! Properties of rewriting over many random packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::{Endpoint, Rng};
use crate::testing::{DIRECTOR, Kind, Packet, ROUTER};
use crate::wire::{End, Ip, PacketBuf, Parsed, Vnet, parse, set_endpoint};

pub(super) fn endpoint(rng: &mut Rng, v6: bool) -> Endpoint {
    let port = 1 + rng.below(65_535) as u16;
    let addr = match v6 {
        true => IpAddr::V6(Ipv6Addr::from((0x2001_0db8_u128 << 96) | u128::from(rng.next_u64()))),
        false => IpAddr::V4(Ipv4Addr::from((rng.below(200) as u32 + 11) << 24 | rng.below(1 << 24) as u32)),
    };
    Endpoint::new(addr, port)
}

pub(super) fn packet(rng: &mut Rng) -> Packet {
    let v6 = rng.below(2) == 1;
    let kind = match rng.below(5) {
        0 | 1 => Kind::Udp,
        2 if !v6 => Kind::UdpWithout,
        _ => Kind::Tcp(["S", "A", "AP", "FA", "R"][rng.below(5) as usize]),
    };
    let payload: Vec<u8> = (0..rng.below(64)).map(|_| rng.next_u64() as u8).collect();
    let packet = Packet::new("10.0.0.1:1", "10.0.0.2:2", kind).carrying(payload);
    let ttl = 1 + rng.below(255) as u8;
    let (id, seq, ack) = (rng.next_u64() as u16, rng.next_u64() as u32, rng.next_u64() as u32);
    Packet { src: endpoint(rng, v6), dst: endpoint(rng, v6), tos: rng.next_u64() as u8, ttl, id, seq, ack, ..packet }
}

pub(super) fn load(bytes: &[u8], vnet: Vnet, buf: &mut PacketBuf) -> Ip {
    buf.set(bytes);
    buf.vnet = vnet;
    match parse(buf).unwrap() {
        Parsed::Ip(ip) => ip,
        other => panic!("{other:?}"),
    }
}

/// The same frame with its checksum left to the device: the field holds the pseudo-header's sum.
pub(super) fn partial(packet: &Packet) -> (Vec<u8>, Vnet) {
    let mut frame = packet.frame(ROUTER, DIRECTOR);
    let l4 = if packet.dst.addr.is_ipv4() { 34 } else { 54 };
    let (offset, proto) = if matches!(packet.kind, Kind::Tcp(_)) { (16, 6u32) } else { (6, 17) };
    let addresses = if l4 == 34 { &frame[26..34] } else { &frame[22..54] };
    let words = addresses.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let mut sum: u32 = words.sum::<u32>() + proto + (frame.len() - l4) as u32;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[l4 + offset..l4 + offset + 2].copy_from_slice(&(sum as u16).to_be_bytes());
    let (csum_start, csum_offset) = (l4 as u16, offset as u16);
    (frame, Vnet { needs_csum: true, csum_start, csum_offset, ..Vnet::default() })
}

/// The L4 checksum field as a number, both zeros of one's complement being one.
pub(super) fn checksum_of(frame: &[u8], packet: &Packet) -> u16 {
    let l4 = if packet.dst.addr.is_ipv4() { 34 } else { 54 };
    let at = l4 + if matches!(packet.kind, Kind::Tcp(_)) { 16 } else { 6 };
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

#[test]
fn a_rewritten_packet_equals_one_built_that_way() {
    let mut rng = Rng::seeded(7);
    let mut buf = PacketBuf::new();
    for _ in 0..100_000 {
        let packet = packet(&mut rng);
        let v6 = packet.dst.addr.is_ipv6();
        let (src, dst) = (endpoint(&mut rng, v6), endpoint(&mut rng, v6));
        let mut ip = load(&packet.frame(ROUTER, DIRECTOR), Vnet::default(), &mut buf);

        set_endpoint(&mut buf, &mut ip, End::Destination, dst);
        set_endpoint(&mut buf, &mut ip, End::Source, src);

        // A datagram without a checksum is given one.
        let kind = if packet.kind == Kind::UdpWithout { Kind::Udp } else { packet.kind.clone() };
        let wanted = Packet { src, dst, kind, ..packet };
        assert_eq!(buf.frame(), wanted.frame(ROUTER, DIRECTOR), "{wanted:?}");
    }
}

#[test]
fn an_unfinished_checksum_stays_the_pseudo_headers_sum() {
    let mut rng = Rng::seeded(8);
    let mut buf = PacketBuf::new();
    for _ in 0..100_000 {
        let packet = packet(&mut rng);
        let packet = if packet.kind == Kind::UdpWithout { Packet { kind: Kind::Udp, ..packet } } else { packet };
        let v6 = packet.dst.addr.is_ipv6();
        let (src, dst) = (endpoint(&mut rng, v6), endpoint(&mut rng, v6));
        let (frame, vnet) = partial(&packet);
        let mut ip = load(&frame, vnet, &mut buf);

        set_endpoint(&mut buf, &mut ip, End::Destination, dst);
        set_endpoint(&mut buf, &mut ip, End::Source, src);

        let wanted = Packet { src, dst, ..packet };
        let (mut frame, vnet) = partial(&wanted);
        let sums = (checksum_of(buf.frame(), &wanted), checksum_of(&frame, &wanted));
        if matches!(sums, (0, 0xffff) | (0xffff, 0)) {
            // One's complement has two zeros; they finish to the same checksum.
            frame = buf.frame().to_vec();
        }
        assert_eq!((buf.frame(), buf.vnet), (frame.as_slice(), vnet), "{wanted:?}");
    }
}

#[test]
fn there_and_back_is_where_it_was() {
    let mut rng = Rng::seeded(9);
    let mut buf = PacketBuf::new();
    for _ in 0..20_000 {
        let packet = packet(&mut rng);
        if packet.kind == Kind::UdpWithout {
            continue;
        }
        let before = packet.frame(ROUTER, DIRECTOR);
        let mut ip = load(&before, Vnet::default(), &mut buf);
        let other = endpoint(&mut rng, packet.dst.addr.is_ipv6());
        set_endpoint(&mut buf, &mut ip, End::Destination, other);
        set_endpoint(&mut buf, &mut ip, End::Destination, packet.dst);
        assert_eq!(buf.frame(), before, "{packet:?}");
    }
}
