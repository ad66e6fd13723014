//! From a tunnel packet to the packet inside: what may be let in, and how.
//!
//! Pure: bytes in, a range of them out. Never lets in what is not for a VIP.

use std::net::IpAddr;
use std::ops::Range;

use etherparse::Ipv4HeaderSlice;

use crate::base::{Family, Proto};
use crate::wire::decap::{gre_header, gue_header};
use crate::wire::{ETH_LEN, Fragment, Ip, L4, Vnet, checksum};

/// Where bytes come from, so: with which header they begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A raw IPv4 socket of this protocol: with the outer IPv4 header.
    Raw4(Proto),
    /// A raw IPv6 socket of this protocol: behind the outer IPv6 header.
    Raw6(Proto),
    /// A UDP socket, which has verified its checksum: with the GUE header.
    Gue,
}

/// Why a packet was not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Not a whole IP packet in a whole tunnel packet, or a wrong checksum.
    Malformed,
    /// The inner destination is no VIP of this host.
    NotOurs,
    /// Marked as congested on the way, though its ends do not speak ECN (RFC 6040, 4.2).
    Congested,
}

/// The packet inside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inner {
    /// Where it stands.
    pub at: Range<usize>,
    /// What the kernel needs to know of its checksum.
    pub vnet: Vnet,
}

/// Checks `packet` and finds the packet inside; congestion marks of an outer IPv4 header move inwards.
///
/// There must be room for an Ethernet header in front of the inner packet, which every tunnel header but GUE's has:
/// `before` bytes stand in front of what arrived.
pub fn unpack(buffer: &mut [u8], before: usize, origin: Origin, vips: &[IpAddr]) -> Result<Inner, Refusal> {
    let arrived = buffer.get(before..).ok_or(Refusal::Malformed)?;
    let (congested, header) = match origin {
        Origin::Raw4(_) => {
            let outer = Ipv4HeaderSlice::from_slice(arrived).map_err(|_| Refusal::Malformed)?;
            (outer.ecn().value() == 3, outer.slice().len())
        }
        Origin::Raw6(_) | Origin::Gue => (false, 0),
    };
    let (own, remote) = behind(origin, &arrived[header..]).ok_or(Refusal::Malformed)?;
    let start = before + header + own;
    let ip = parse(buffer, start)?;
    if !vips.contains(&ip.dst) {
        return Err(Refusal::NotOurs);
    }
    if congested && ip.tos & 3 == 0 {
        return Err(Refusal::Congested);
    }
    let at = start..start + ip.total_len();
    let vnet = match remote {
        Some(remote) => left_to_us(remote, at.len())?,
        None => unfinished_checksum(&ip, &buffer[start - ETH_LEN..at.end]),
    };
    if congested {
        mark_congested(&mut buffer[at.clone()], ip.family());
    }
    Ok(Inner { at, vnet })
}

/// Length of the tunnel's own header, and what it says of the inner checksum.
fn behind(origin: Origin, bytes: &[u8]) -> Option<(usize, Option<(u16, u16)>)> {
    match origin {
        Origin::Raw4(Proto::GRE) | Origin::Raw6(Proto::GRE) => {
            let tunnel = gre_header(bytes)?;
            let intact = !tunnel.has_sum || checksum::sum(bytes) == 0xffff;
            intact.then_some((tunnel.len, None))
        }
        Origin::Raw4(_) | Origin::Raw6(_) => Some((0, None)),
        Origin::Gue => gue_header(bytes).map(|tunnel| (tunnel.len, tunnel.remote)),
    }
}

/// The packet at `start`, which may be followed by padding.
fn parse(buffer: &[u8], start: usize) -> Result<Ip, Refusal> {
    // The parser wants an Ethernet header in front; what stands there does not matter.
    let frame = start.checked_sub(ETH_LEN).and_then(|from| buffer.get(from..)).ok_or(Refusal::Malformed)?;
    crate::wire::ip_packet(frame).map_err(|_| Refusal::Malformed)
}

fn mark_congested(inner: &mut [u8], family: Family) {
    if family == Family::V6 {
        inner[1] |= 0x30;
        return;
    }
    let (old, new) = ([inner[0], inner[1]], [inner[0], inner[1] | 3]);
    let sum = checksum::update(u16::from_be_bytes([inner[10], inner[11]]), checksum::change(&old, &new));
    inner[1] |= 3;
    inner[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// GUE's remote checksum: the sender left it to the other end, which here is the kernel behind the TUN.
fn left_to_us((start, place): (u16, u16), len: usize) -> Result<Vnet, Refusal> {
    let offset = place.checked_sub(start).filter(|_| usize::from(place) + 2 <= len).ok_or(Refusal::Malformed)?;
    Ok(Vnet { needs_csum: true, csum_start: start, csum_offset: offset, ..Vnet::default() })
}

/// Says so if the L4 checksum is only the sum of the pseudo header, to be finished by hardware.
///
/// A network card's receive offload joins segments even inside tunnels, and leaves exactly that in the joined packet.
/// Written plainly it would be dropped as corrupt. The field of an intact packet has that value once in 65536; then the
/// kernel skips a check that would have passed.
fn unfinished_checksum(ip: &Ip, frame: &[u8]) -> Vnet {
    let csum_offset: u16 = match ip.l4 {
        L4::Tcp { .. } => 16,
        L4::Udp { .. } => 6,
        L4::Sctp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => return Vnet::default(),
    };
    let at = ip.l4_at + usize::from(csum_offset);
    let found = frame.get(at..).and_then(|rest| rest.first_chunk::<2>()).map(|field| u16::from_be_bytes(*field));
    let pseudo = checksum::pseudo(ip.src, ip.dst, ip.proto, ip.end - ip.l4_at);
    if ip.fragment != Fragment::Whole || found != Some(pseudo) {
        return Vnet::default();
    }
    let csum_start = (ip.l4_at - ETH_LEN) as u16;
    Vnet { needs_csum: true, csum_start, csum_offset, ..Vnet::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Tunnel, TunnelChecksum};
    use crate::wire::encap::{Outer, wrap};
    use crate::wire::{PacketBuf, ip_packet};
    use etherparse::PacketBuilder;

    const BEFORE: usize = 16;
    const IPIP: Origin = Origin::Raw4(Proto::IPIP);

    fn vip(family: Family) -> IpAddr {
        match family {
            Family::V4 => "198.51.100.1".parse().unwrap(),
            Family::V6 => "2001:db8::100".parse().unwrap(),
        }
    }

    fn inner_to(dst: IpAddr) -> Vec<u8> {
        let mut bytes = Vec::new();
        let builder = match dst {
            IpAddr::V4(dst) => PacketBuilder::ipv4([192, 0, 2, 1], dst.octets(), 60),
            IpAddr::V6(dst) => PacketBuilder::ipv6([9; 16], dst.octets(), 60),
        };
        builder.tcp(4000, 80, 1, 1000).write(&mut bytes, b"hello").unwrap();
        bytes
    }

    /// What arrives of an inner packet sent through a tunnel, as the socket of its kind reads it.
    fn arrived(inner: &[u8], tunnel: Tunnel, outer: Family) -> (Vec<u8>, Origin) {
        let mut buf = PacketBuf::new();
        buf.set(&[vec![0; ETH_LEN], inner.to_vec()].concat());
        let ip = ip_packet(buf.frame()).unwrap();
        let (src, dst) = match outer {
            Family::V4 => ("10.0.0.1", "10.0.0.2"),
            Family::V6 => ("2001:db8::1", "2001:db8::2"),
        };
        wrap(&mut buf, &ip, tunnel, Outer { src: src.parse().unwrap(), dst: dst.parse().unwrap(), id: 1 }).unwrap();
        let packet = buf.frame()[ETH_LEN..].to_vec();
        let proto = ip_packet(buf.frame()).unwrap().proto;
        match (outer, proto) {
            (Family::V4, Proto::UDP) => (packet[28..].to_vec(), Origin::Gue),
            (Family::V6, Proto::UDP) => (packet[48..].to_vec(), Origin::Gue),
            (Family::V4, proto) => (packet, Origin::Raw4(proto)),
            (Family::V6, proto) => (packet[40..].to_vec(), Origin::Raw6(proto)),
        }
    }

    fn open(arrived: &[u8], origin: Origin) -> Result<(Vec<u8>, Vnet), Refusal> {
        let mut buffer = [vec![0xaa; BEFORE], arrived.to_vec()].concat();
        let vips = [vip(Family::V4), vip(Family::V6)];
        unpack(&mut buffer, BEFORE, origin, &vips).map(|inner| (buffer[inner.at].to_vec(), inner.vnet))
    }

    fn tunnels() -> Vec<Tunnel> {
        let sums = [TunnelChecksum::None, TunnelChecksum::Full, TunnelChecksum::Remote];
        let gue = sums.map(|checksum| Tunnel::Gue { port: 6080, checksum });
        let gre = [TunnelChecksum::None, TunnelChecksum::Full].map(|checksum| Tunnel::Gre { checksum });
        [&[Tunnel::Ipip], &gue[..], &gre[..]].concat()
    }

    #[test]
    fn the_packet_inside_comes_out_as_it_went_in_whatever_the_tunnel() {
        for (outer, inner) in
            [(Family::V4, Family::V4), (Family::V4, Family::V6), (Family::V6, Family::V4), (Family::V6, Family::V6)]
        {
            for tunnel in tunnels() {
                let inside = inner_to(vip(inner));
                let (packet, origin) = arrived(&inside, tunnel, outer);
                assert_eq!(open(&packet, origin), Ok((inside, Vnet::default())), "{tunnel:?} {inner:?} in {outer:?}");
            }
        }
    }

    #[test]
    fn only_a_vip_is_let_in() {
        for other in ["10.0.0.2", "2001:db8::2"] {
            let (packet, origin) = arrived(&inner_to(other.parse().unwrap()), Tunnel::Ipip, Family::V4);
            assert_eq!(open(&packet, origin), Err(Refusal::NotOurs));
        }
    }

    #[test]
    fn nothing_cut_short_or_corrupt_is_let_in() {
        for tunnel in tunnels() {
            let (whole, origin) = arrived(&inner_to(vip(Family::V4)), tunnel, Family::V4);
            for cut in 0..whole.len() {
                assert_eq!(open(&whole[..cut], origin), Err(Refusal::Malformed), "{tunnel:?} {cut}");
            }
            let header = whole.len() - 45..whole.len() - 25;
            for at in header {
                let mut packet = whole.clone();
                packet[at] ^= 0x55;
                assert_eq!(open(&packet, origin), Err(Refusal::Malformed), "{tunnel:?} {at}");
            }
        }
        let sum = Tunnel::Gre { checksum: TunnelChecksum::Full };
        let (mut packet, origin) = arrived(&inner_to(vip(Family::V4)), sum, Family::V4);
        *packet.last_mut().unwrap() ^= 1;
        assert_eq!(open(&packet, origin), Err(Refusal::Malformed), "the payload under GRE's checksum");
    }

    #[test]
    fn padding_is_left_out() {
        let inside = inner_to(vip(Family::V4));
        let (packet, origin) = arrived(&inside, Tunnel::Ipip, Family::V4);
        assert_eq!(open(&[&packet[..], b"padding"].concat(), origin).unwrap().0, inside);
    }

    #[test]
    fn a_congestion_mark_moves_inwards_or_ends_the_packet() {
        let marked = |inside: &[u8]| {
            let (mut packet, origin) = arrived(inside, Tunnel::Ipip, Family::V4);
            packet[1] |= 3;
            open(&packet, origin)
        };
        for family in [Family::V4, Family::V6] {
            let mut inside = inner_to(vip(family));
            assert_eq!(marked(&inside), Err(Refusal::Congested));
            match family {
                Family::V4 => {
                    inside[1] |= 2;
                    let change = checksum::change(&[0x45, 0], &[0x45, 2]);
                    let sum = checksum::update(u16::from_be_bytes([inside[10], inside[11]]), change);
                    inside[10..12].copy_from_slice(&sum.to_be_bytes());
                }
                Family::V6 => inside[1] |= 0x20,
            }
            let opened = marked(&inside).unwrap().0;
            let ip = ip_packet(&[vec![0; ETH_LEN], opened].concat()).unwrap();
            assert_eq!(ip.tos & 3, 3, "{family:?}");
        }
    }

    #[test]
    fn an_unfinished_checksum_is_handed_on_as_such() {
        let mut inside = inner_to(vip(Family::V4));
        let ip = ip_packet(&[vec![0; ETH_LEN], inside.clone()].concat()).unwrap();
        let pseudo = checksum::pseudo(ip.src, ip.dst, ip.proto, inside.len() - 20);
        inside[36..38].copy_from_slice(&pseudo.to_be_bytes());
        let (packet, _) = arrived(&inside, Tunnel::Ipip, Family::V4);
        let (_, vnet) = open(&packet, IPIP).unwrap();
        assert!(vnet.needs_csum);
        assert_eq!((vnet.csum_start, vnet.csum_offset), (20, 16));
    }

    #[test]
    fn a_checksum_left_to_the_other_end_is_handed_on() {
        let inside = inner_to(vip(Family::V6));
        let gue = |start: u8, place: u8| {
            let header = [2, 41, 0, 1, 0x80, 0, 0, 0, 0, start, 0, place];
            open(&[&header[..], &inside].concat(), Origin::Gue).map(|(_, vnet)| vnet)
        };
        let vnet = gue(40, 56).unwrap();
        assert_eq!((vnet.needs_csum, vnet.csum_start, vnet.csum_offset), (true, 40, 16));
        assert_eq!(gue(56, 40), Err(Refusal::Malformed));
        assert_eq!(gue(40, 64), Err(Refusal::Malformed), "outside the packet");
    }
}
