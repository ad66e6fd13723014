//! Encapsulation of an IP packet towards a tunnel's other end, as IPVS's tunnel method does it.
//!
//! ```text
//! ipip   outer IP | inner IP ...                                         RFC 2003, RFC 2473, RFC 4213
//! gre    outer IP | flags, protocol [sum, 0] | inner IP ...              RFC 2784
//! gue    outer IP | UDP | GUE [private flags, remote sum] | inner IP ... draft-ietf-intarea-gue, version 0
//!
//! TTL   the inner one, after its decrement       DF   copied from the inner packet
//! TOS   DSCP and ECN copied, but CE becomes ECT(0)     ID   0 with DF, else a fresh one
//! ```
//! Never segments. A superframe goes into GUE as it is, for whoever cuts it to repeat the headers, and is cut before it
//! comes here for the rest.

use std::net::IpAddr;

use super::field::{ETH_LEN, ethernet, gre, gue, ports, put16, put32, udp};
use super::ip::{Header, header_len, ip_header};
use super::packet::Ip;
use super::{Gso, PacketBuf, UdpTunnel, Vnet, checksum, finish_checksum};
use crate::base::{DropReason, Endpoint, Family, Proto, Tunnel, TunnelChecksum};

/// Source ports of UDP tunnels (`ip_local_port_range`).
const FIRST_PORT: u16 = 32_768;
const PORTS: u64 = 28_232;

/// What becomes of checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sums {
    None,
    Full,
    /// Full, and the inner packet's own is left to the other end: it sums from `start` on and writes the result at
    /// `place`, both counted from the inner packet.
    Remote {
        start: u16,
        place: u16,
    },
}

impl Sums {
    /// The remote option is for packets whose own checksum is unfinished, as in the kernel.
    fn of(asked: TunnelChecksum, inner: &PacketBuf) -> Sums {
        let vnet = &inner.vnet;
        match asked {
            TunnelChecksum::None => Sums::None,
            TunnelChecksum::Remote if vnet.needs_csum && vnet.gso == Gso::None => {
                let start = vnet.csum_start.saturating_sub(ETH_LEN as u16);
                Sums::Remote { start, place: start.saturating_add(vnet.csum_offset) }
            }
            TunnelChecksum::Full | TunnelChecksum::Remote => Sums::Full,
        }
    }

    fn of_tunnel(tunnel: Tunnel, inner: &PacketBuf) -> Sums {
        match tunnel {
            Tunnel::Ipip => Sums::None,
            Tunnel::Gre { checksum: TunnelChecksum::None } => Sums::None,
            Tunnel::Gre { checksum: TunnelChecksum::Full | TunnelChecksum::Remote } => Sums::Full,
            Tunnel::Gue { checksum, .. } => Sums::of(checksum, inner),
        }
    }
}

/// Bytes that a tunnel towards `outer` adds in front of this packet.
pub fn overhead(tunnel: Tunnel, outer: Family, inner: &PacketBuf) -> usize {
    let sums = Sums::of_tunnel(tunnel, inner);
    let own = match tunnel {
        Tunnel::Ipip => 0,
        Tunnel::Gre { .. } => gre_len(sums),
        Tunnel::Gue { .. } => udp::LEN + gue_len(sums),
    };
    header_len(outer) + own
}

fn gre_len(sums: Sums) -> usize {
    match sums {
        Sums::None => gre::LEN,
        Sums::Full | Sums::Remote { .. } => gre::LEN + gre::CHECKSUM_LEN,
    }
}

fn gue_len(sums: Sums) -> usize {
    match sums {
        Sums::None | Sums::Full => gue::LEN,
        Sums::Remote { .. } => gue::LEN + gue::REMOTE_CHECKSUM_LEN,
    }
}

/// True if a superframe may go into this tunnel as it is, where a link takes such frames: only Linux's UDP tunnels are cut
/// outside, GUE among them; every segment must fit, the whole must have a length, it must be more than one segment and in no tunnel yet.
pub fn takes_whole(tunnel: Tunnel, outer: Family, inner: &Ip, buf: &PacketBuf, mtu: u16) -> bool {
    let (segment, added) = (inner.wire_len(buf), overhead(tunnel, outer, buf));
    matches!(tunnel, Tunnel::Gue { .. })
        && buf.vnet.tunnel.is_none()
        && segment + added <= usize::from(mtu)
        && inner.total_len() + added <= usize::from(u16::MAX)
        && segment < inner.total_len()
}

/// The two ends of a tunnel, of one family.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    /// The director's address.
    pub src: IpAddr,
    /// The real server's address.
    pub dst: IpAddr,
    /// IPv4 identification for a packet without DF; that of a superframe's first segment, which the others count on from.
    pub id: u16,
}

/// Puts the headers of a tunnel in front of a packet, either family in either.
///
/// DF is the inner packet's, and never set for an inner IPv6 packet.
pub fn wrap(buf: &mut PacketBuf, inner: &Ip, tunnel: Tunnel, outer: Outer) -> Result<(), DropReason> {
    if Family::of(outer.dst) != Family::of(outer.src) {
        return Err(DropReason::Unsupported);
    }
    let sums = Sums::of_tunnel(tunnel, buf);
    match sums {
        // Whoever cuts it finishes the checksums of every segment.
        Sums::None | Sums::Full if buf.vnet.gso != Gso::None => within(&mut buf.vnet, tunnel, outer, sums)?,
        Sums::None | Sums::Full => finish_checksum(buf, inner),
        Sums::Remote { .. } => buf.vnet = Vnet::default(),
    }
    let proto = match tunnel {
        Tunnel::Ipip => inner_proto(inner),
        Tunnel::Gre { .. } => add_gre(buf, inner, sums)?,
        Tunnel::Gue { port, .. } => {
            add_gue(buf, inner, sums)?;
            let (sport, dport) = inner.ports().unwrap_or_default();
            let ends = (Endpoint::new(inner.src, sport), Endpoint::new(inner.dst, dport));
            add_udp(buf, (flow_port(inner.proto, ends.0, ends.1), port), sums, outer)?
        }
    };
    insert(buf, header_len(Family::of(outer.dst)))?;
    if inner.family() != Family::of(outer.dst) {
        // The kernel does not carry the size over from one family to the other, but the parts.
        buf.cut = None;
    }
    let dont_fragment = inner.dont_fragment && inner.family() == Family::V4;
    let id = if dont_fragment { 0 } else { outer.id };
    let tos = outer_tos(inner.tos);
    let fields = Header { src: outer.src, dst: outer.dst, proto, ttl: inner.ttl, tos, id, dont_fragment };
    ip_header(buf.frame_mut(), &fields);
    Ok(())
}

/// Describes the tunnel that a superframe is about to be inside of.
fn within(vnet: &mut Vnet, tunnel: Tunnel, outer: Outer, sums: Sums) -> Result<(), DropReason> {
    if !matches!(tunnel, Tunnel::Gue { .. }) {
        return Err(DropReason::Unsupported);
    }
    let (family, own) = (Family::of(outer.dst), gue_len(sums));
    vnet.csum_start += (header_len(family) + udp::LEN + own) as u16;
    vnet.tunnel = Some(UdpTunnel { family, summed: sums != Sums::None, own: own as u16 });
    Ok(())
}

fn insert(buf: &mut PacketBuf, count: usize) -> Result<(), DropReason> {
    if buf.insert(ETH_LEN, count) { Ok(()) } else { Err(DropReason::NoHeadroom) }
}

fn inner_proto(inner: &Ip) -> Proto {
    match inner.family() {
        Family::V4 => Proto::IPIP,
        Family::V6 => Proto::IPV6,
    }
}

fn add_gre(buf: &mut PacketBuf, inner: &Ip, sums: Sums) -> Result<Proto, DropReason> {
    let len = gre_len(sums);
    insert(buf, len)?;
    let protocol = if inner.family() == Family::V4 { ethernet::IPV4 } else { ethernet::IPV6 };
    let packet = &mut buf.frame_mut()[ETH_LEN..];
    packet[..len].fill(0);
    put16(packet, gre::PROTOCOL, protocol);
    if sums != Sums::None {
        put16(packet, 0, gre::HAS_CHECKSUM);
        let sum = !checksum::sum(packet);
        put16(packet, gre::CHECKSUM, sum);
    }
    Ok(Proto::GRE)
}

fn add_gue(buf: &mut PacketBuf, inner: &Ip, sums: Sums) -> Result<(), DropReason> {
    let len = gue_len(sums);
    insert(buf, len)?;
    let header = &mut buf.frame_mut()[ETH_LEN..ETH_LEN + len];
    header.fill(0);
    // Version 0, no control message, and the length of what is optional, in words.
    header[0] = ((len - gue::LEN) / 4) as u8;
    header[gue::PROTOCOL] = inner_proto(inner).0;
    if let Sums::Remote { start, place } = sums {
        put16(header, gue::FLAGS, gue::PRIVATE);
        put32(header, gue::PRIVATE_FLAGS, gue::REMOTE_CHECKSUM);
        put16(header, gue::REMOTE_START, start);
        put16(header, gue::REMOTE_PLACE, place);
    }
    Ok(())
}

fn add_udp(buf: &mut PacketBuf, (from, to): (u16, u16), sums: Sums, outer: Outer) -> Result<Proto, DropReason> {
    insert(buf, udp::LEN)?;
    let is_whole = buf.vnet.tunnel.is_some();
    let datagram = &mut buf.frame_mut()[ETH_LEN..];
    let len = u16::try_from(datagram.len()).map_err(|_| DropReason::TooBig)?;
    put16(datagram, ports::SRC, from);
    put16(datagram, ports::DST, to);
    put16(datagram, udp::LENGTH, len);
    put16(datagram, udp::CHECKSUM, 0);
    if sums != Sums::None {
        let pseudo = checksum::pseudo(outer.src, outer.dst, Proto::UDP, datagram.len());
        let sum = match is_whole {
            true => pseudo,
            false => checksum::nonzero(!checksum::add(pseudo, checksum::sum(datagram))),
        };
        put16(datagram, udp::CHECKSUM, sum);
    }
    Ok(Proto::UDP)
}

/// The source port of a UDP tunnel: the same for all packets of an inner flow, so that they keep their order on
/// paths that spread load by ports.
pub fn flow_port(proto: Proto, src: Endpoint, dst: Endpoint) -> u16 {
    let fold = |addr: IpAddr| match addr {
        IpAddr::V4(addr) => u64::from(u32::from(addr)),
        IpAddr::V6(addr) => (u128::from(addr) >> 64) as u64 ^ u128::from(addr) as u64,
    };
    let ports = u64::from(src.port) << 24 | u64::from(dst.port) << 8 | u64::from(proto.0);
    // Fibonacci hashing of what tells flows apart; nobody gains by choosing it.
    let mixed = (fold(src.addr) ^ fold(dst.addr).rotate_left(21) ^ ports << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    FIRST_PORT + ((u128::from(mixed) * u128::from(PORTS)) >> 64) as u16
}

/// The outer TOS: congestion already experienced inside is not repeated outside (RFC 6040 "compatibility").
fn outer_tos(inner: u8) -> u8 {
    const CE: u8 = 0b11;
    const ECT0: u8 = 0b10;
    if inner & CE == CE { inner & !CE | ECT0 } else { inner }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;
    use crate::wire::decap::inner_at;
    use crate::wire::{ip_packet, set_macs};

    const GRE: Tunnel = Tunnel::Gre { checksum: TunnelChecksum::None };
    const GRE_SUM: Tunnel = Tunnel::Gre { checksum: TunnelChecksum::Full };
    const REMOTE: Tunnel = Tunnel::Gue { port: 6080, checksum: TunnelChecksum::Remote };

    // What a kernel IPVS sent, and the packet inside, TTL already decremented (Ethernet headers left out).
    const UDP6: &str =
        "60000000000d112020010db8700000000000f34983da14a6fd000100000000000000cc73acd3a38e6ce101bb000d090b68656c6c6f";
    const UDP6_GRE: &str =
        "60000000003d2f20fd000020000000000000000000000001fd0000200000000000004effd0a4093d800086dd88120000";
    const TCP6: &str = "610000000028063e20010db8700000000000c3b788341772fd000100000000000000987d170a2c0050d000500000006400000000a002faf010eb0000020405b40402080a000010000000000001030307";
    const TCP6_GUE: &str =
        "61000000005c113efd000020000000000000000000000001fd00002000000000000049c7367c7d1cbc1b17c0005ccc5600290000";
    const TCP4: &str = "45000028123400003f06b0c4645c2a3dc633640bcc6e13c4000003e8000000005002faf017ff0000";
    const TCP4_GRE: &str = "45000040c09400003f2f9f5aac140001ac14c37600000800";

    fn packet(text: &str) -> (PacketBuf, Ip) {
        let mut buf = PacketBuf::new();
        buf.set(&[vec![0; ETH_LEN], hex(text)].concat());
        let ip = ip_packet(buf.frame()).unwrap();
        (buf, ip)
    }

    fn wrapped(hex: &str, tunnel: Tunnel, src: &str, dst: &str, id: u16) -> Vec<u8> {
        let (mut buf, ip) = packet(hex);
        let expected = overhead(tunnel, Family::of(dst.parse().unwrap()), &buf);
        wrap(&mut buf, &ip, tunnel, Outer { src: src.parse().unwrap(), dst: dst.parse().unwrap(), id }).unwrap();
        assert_eq!(buf.len() - ip.end, expected);
        buf.frame()[ETH_LEN..].to_vec()
    }

    #[test]
    fn gre_is_as_a_kernel_sends_it() {
        let ours = wrapped(UDP6, GRE_SUM, "fd00:20::1", "fd00:20::4eff:d0a4:93d", 0);
        assert_eq!(ours, hex(&(UDP6_GRE.to_owned() + UDP6)));
        let ours = wrapped(TCP4, GRE, "172.20.0.1", "172.20.195.118", 0xc094);
        assert_eq!(ours, hex(&(TCP4_GRE.to_owned() + TCP4)));
    }

    #[test]
    fn gue_is_as_a_kernel_sends_it_but_for_the_source_port() {
        let mut ours = wrapped(TCP6, REMOTE, "fd00:20::1", "fd00:20::49c7:367c:7d1c", 0);
        let recorded = hex(&(TCP6_GUE.to_owned() + TCP6));
        let change = checksum::change(&[ours[40], ours[41]], &[recorded[40], recorded[41]]);
        let sum = checksum::update(u16::from_be_bytes([ours[46], ours[47]]), change);
        ours[40..42].copy_from_slice(&recorded[40..42]);
        ours[46..48].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(ours, recorded);
    }

    /// What the other end does with the remote option: sum from `start` to the end, written at `place`.
    fn complete_remotely(inner: &mut [u8], start: usize, place: usize) {
        let sum = !checksum::sum(&inner[start..]);
        inner[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    }

    #[test]
    fn an_unfinished_checksum_is_left_to_the_other_end() {
        let (mut buf, ip) = packet(TCP6);
        let pseudo = checksum::pseudo(ip.src, ip.dst, ip.proto, ip.end - ip.l4_at);
        buf.frame_mut()[ip.l4_at + 16..ip.l4_at + 18].copy_from_slice(&pseudo.to_be_bytes());
        buf.vnet = Vnet { needs_csum: true, csum_start: ip.l4_at as u16, csum_offset: 16, ..Vnet::default() };
        let outer = Outer { src: "10.0.0.1".parse().unwrap(), dst: "10.0.0.2".parse().unwrap(), id: 1 };
        assert_eq!(overhead(REMOTE, Family::V4, &buf), 20 + 8 + 12);
        wrap(&mut buf, &ip, REMOTE, outer).unwrap();
        set_macs(&mut buf, crate::base::Mac::ZERO, crate::base::Mac::ZERO);

        assert_eq!(buf.vnet, Vnet::default());
        let frame = buf.frame();
        let datagram = &frame[ETH_LEN + 20..];
        let sum = checksum::pseudo(outer.src, outer.dst, Proto::UDP, datagram.len());
        assert_eq!(checksum::add(sum, checksum::sum(datagram)), 0xffff, "the UDP checksum");
        assert_eq!(datagram[8..20], [2, 41, 0, 1, 0x80, 0, 0, 0, 0, 40, 0, 56]);
        let mut inner = datagram[20..].to_vec();
        complete_remotely(&mut inner, 40, 56);
        assert_eq!(inner, hex(TCP6));
    }

    #[test]
    fn a_flow_keeps_its_source_port_and_flows_differ() {
        let (_, ip) = packet(TCP4);
        let port_of = |sport: u16| flow_port(ip.proto, Endpoint::new(ip.src, sport), Endpoint::new(ip.dst, 80));
        let ports: std::collections::HashSet<u16> = (0..1000).map(port_of).collect();
        assert!(ports.len() > 900 && ports.iter().all(|port| (32_768..61_000).contains(port)), "{}", ports.len());
        assert_eq!(port_of(7), port_of(7));
    }

    #[test]
    fn what_was_wrapped_is_found_again() {
        let ends = ("10.0.0.1", "10.0.0.2");
        for tunnel in [Tunnel::Ipip, GRE, GRE_SUM, REMOTE] {
            let outer = wrapped(TCP6, tunnel, ends.0, ends.1, 1);
            let ip = ip_packet(&[vec![0; ETH_LEN], outer.clone()].concat()).unwrap();
            let (at, port) = inner_at(&outer, ip.proto, 20, outer.len()).unwrap();
            assert_eq!(outer[at..], hex(TCP6));
            assert_eq!(port, matches!(tunnel, Tunnel::Gue { .. }).then_some(6080));
        }
    }

    #[test]
    fn only_congestion_experienced_changes() {
        for tos in 0..=255u8 {
            let expected = if tos & 3 == 3 { tos - 1 } else { tos };
            assert_eq!(outer_tos(tos), expected);
        }
    }
}
