//! Editing a packet in place: addresses, ports, TTL, MACs, each with its checksums.
//!
//! ```text
//! checksum complete   adjusted by the difference (RFC 1624): a packet that arrived corrupt leaves corrupt
//! checksum partial    the field is the pseudo-header's sum: addresses move it, ports do not
//! UDP checksum 0      a whole checksum is made, as IPVS does
//! ```
//! Never changes a packet's length and never judges it.

use std::net::IpAddr;

use super::field::{ETH_LEN, be16, icmp, ipv4, ipv6, ports, put, put16, sctp, take, tcp, udp};
use super::ip::ip_packet;
use super::packet::{Fragment, Ip, L4};
use super::{Gso, PacketBuf, checksum};
use crate::base::{Endpoint, Proto};

/// Which end of a packet is rewritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Source address and port.
    Source,
    /// Destination address and port.
    Destination,
}

/// Takes one from the TTL or hop limit, which must be above 0.
#[inline]
pub fn decrement_ttl(buf: &mut PacketBuf, ip: &mut Ip) {
    let frame = buf.frame_mut();
    ip.ttl -= 1;
    match ip.dst {
        IpAddr::V4(_) => {
            let checksum = be16(frame, ETH_LEN + ipv4::CHECKSUM);
            frame[ETH_LEN + ipv4::TTL] = ip.ttl;
            put16(frame, ETH_LEN + ipv4::CHECKSUM, checksum::one_hop_less(checksum));
        }
        IpAddr::V6(_) => frame[ETH_LEN + ipv6::HOP_LIMIT] = ip.ttl,
    }
}

/// Points one end of a packet (TCP, UDP, SCTP) at another endpoint of the same family.
///
/// `ip` is the packet as it stands and is kept true.
#[inline]
pub fn set_endpoint(buf: &mut PacketBuf, ip: &mut Ip, end: End, to: Endpoint) {
    fill_udp_checksum(buf, ip);
    let address = write_address(buf, ip, end, to.addr);
    let port = write_port(buf, ip, end, to.port);
    adjust(buf, ip, address, port);
}

/// The same of both ends.
#[inline]
pub fn set_endpoints(buf: &mut PacketBuf, ip: &mut Ip, src: Endpoint, dst: Endpoint) {
    fill_udp_checksum(buf, ip);
    let (from, to) =
        (write_address(buf, ip, End::Source, src.addr), write_address(buf, ip, End::Destination, dst.addr));
    let (sport, dport) = (write_port(buf, ip, End::Source, src.port), write_port(buf, ip, End::Destination, dst.port));
    adjust(buf, ip, checksum::add(from, to), checksum::add(sport, dport));
}

/// Gives an echo, request or reply, another identifier.
pub fn set_echo_id(buf: &mut PacketBuf, ip: &Ip, id: u16) {
    let frame = buf.frame_mut();
    let change = replace(frame, ip.l4_at + icmp::SECOND_WORD, id.to_be_bytes());
    update_field(frame, ip.l4_at + icmp::CHECKSUM, change);
}

/// Sets one address, the IPv4 header checksum and the L4 checksum that covers it.
pub fn set_address(buf: &mut PacketBuf, ip: &mut Ip, end: End, to: IpAddr) {
    let address = write_address(buf, ip, end, to);
    adjust(buf, ip, address, 0);
}

/// Writes an address; returns the change of the sum under the checksums.
#[inline(always)]
fn write_address(buf: &mut PacketBuf, ip: &mut Ip, end: End, to: IpAddr) -> u16 {
    let frame = buf.frame_mut();
    let (own, change) = match end {
        End::Source => (&mut ip.src, write(frame, to, ipv4::SRC, ipv6::SRC)),
        End::Destination => (&mut ip.dst, write(frame, to, ipv4::DST, ipv6::DST)),
    };
    *own = to;
    change
}

#[inline(always)]
fn write(frame: &mut [u8], addr: IpAddr, at4: usize, at6: usize) -> u16 {
    match addr {
        IpAddr::V4(addr) => replace(frame, ETH_LEN + at4, addr.octets()),
        IpAddr::V6(addr) => replace(frame, ETH_LEN + at6, addr.octets()),
    }
}

/// Writes a port; returns the change of the sum under the L4 checksum.
#[inline(always)]
fn write_port(buf: &mut PacketBuf, ip: &mut Ip, end: End, to: u16) -> u16 {
    let port = match &mut ip.l4 {
        L4::Tcp { sport, dport, .. } | L4::Udp { sport, dport } | L4::Sctp { sport, dport, .. } => match end {
            End::Source => sport,
            End::Destination => dport,
        },
        L4::Icmp { .. } | L4::Other | L4::Truncated => return 0,
    };
    if *port == to {
        return 0;
    }
    *port = to;
    let frame = buf.frame_mut();
    let change = replace(frame, ip.l4_at + if end == End::Source { ports::SRC } else { ports::DST }, to.to_be_bytes());
    if ip.proto == Proto::SCTP {
        set_crc32c(&mut frame[ip.l4_at..ip.end]);
    }
    change
}

/// Makes the checksum of a UDP datagram that came without one (IPv4 only; not of a fragment).
#[inline]
fn fill_udp_checksum(buf: &mut PacketBuf, ip: &Ip) {
    let at = ip.l4_at + udp::CHECKSUM;
    if !matches!(ip.l4, L4::Udp { .. }) {
        return;
    }
    if buf.vnet.tunnel.is_some_and(|tunnel| !tunnel.summed) {
        return ask_for_checksums(buf, ip);
    }
    if buf.vnet.needs_csum || be16(buf.frame(), at) != 0 {
        return;
    }
    make_udp_checksum(buf, ip);
}

fn make_udp_checksum(buf: &mut PacketBuf, ip: &Ip) {
    let datagram = &mut buf.frame_mut()[ip.l4_at..ip.end];
    let whole = checksum::with_pseudo(ip.src, ip.dst, Proto::UDP, datagram);
    put16(datagram, udp::CHECKSUM, checksum::nonzero(!whole));
}

/// The same for a superframe in a UDP tunnel: whoever cuts it makes the outer checksum of each segment.
#[cold]
fn ask_for_checksums(buf: &mut PacketBuf, ip: &Ip) {
    let pseudo = checksum::pseudo(ip.src, ip.dst, Proto::UDP, ip.end - ip.l4_at);
    put16(buf.frame_mut(), ip.l4_at + udp::CHECKSUM, pseudo);
    if let Some(tunnel) = &mut buf.vnet.tunnel {
        tunnel.summed = true;
    }
}

/// Completes a partial checksum, so that the packet can stand alone.
pub fn finish_checksum(buf: &mut PacketBuf, ip: &Ip) {
    if !buf.vnet.needs_csum {
        return;
    }
    let (start, at) = (ip.l4_at, ip.l4_at + usize::from(buf.vnet.csum_offset));
    let frame = buf.frame_mut();
    // The field holds the pseudo-header's sum, so summing the whole of layer 4 includes it.
    let value = !checksum::sum(&frame[start..ip.end]);
    let value = if ip.proto == Proto::UDP { checksum::nonzero(value) } else { value };
    put16(frame, at, value);
    buf.vnet = Default::default();
}

/// Completes the partial checksum of a packet inside this one: the kernel leaves it to a TAP even if a tunnel device has
/// put headers in front. The outer checksum is made for the completed packet (kernel: "local checksum offload").
///
/// False, and nothing changed, if the virtio header promises no such thing.
pub fn finish_inner_checksum(buf: &mut PacketBuf) -> bool {
    let vnet = buf.vnet;
    let Ok(outer) = ip_packet(buf.frame()) else { return false };
    let (start, at) = (usize::from(vnet.csum_start), usize::from(vnet.csum_start) + usize::from(vnet.csum_offset));
    let inside = start > outer.l4_at && at + 2 <= outer.end && outer.fragment == Fragment::Whole;
    if !vnet.needs_csum || vnet.gso != Gso::None || vnet.tunnel.is_some() || !inside {
        return false;
    }
    let frame = buf.frame_mut();
    let value = checksum::nonzero(!checksum::sum(&frame[start..outer.end]));
    put16(frame, at, value);
    buf.vnet = Default::default();
    true
}

/// Keeps the checksums true after addresses and ports under them have changed.
#[inline(always)]
fn adjust(buf: &mut PacketBuf, ip: &Ip, address: u16, port: u16) {
    if ip.dst.is_ipv4() {
        update_field(buf.frame_mut(), ETH_LEN + ipv4::CHECKSUM, address);
    }
    adjust_l4(buf, ip, address, port);
}

#[inline(always)]
fn adjust_l4(buf: &mut PacketBuf, ip: &Ip, address: u16, port: u16) {
    let at = match ip.l4 {
        L4::Tcp { .. } => ip.l4_at + tcp::CHECKSUM,
        L4::Udp { .. } => ip.l4_at + udp::CHECKSUM,
        // ICMPv6 covers the addresses, ICMP and SCTP do not.
        L4::Icmp { .. } if ip.proto == Proto::ICMP6 => ip.l4_at + icmp::CHECKSUM,
        L4::Icmp { .. } | L4::Sctp { .. } | L4::Other | L4::Truncated => return,
    };
    let partial = buf.vnet.needs_csum;
    let frame = buf.frame_mut();
    if partial {
        // The ports are summed later, by whoever completes it.
        let field = be16(frame, at);
        put16(frame, at, checksum::add(field, address));
        return;
    }
    update_field(frame, at, checksum::add(address, port));
    if ip.proto == Proto::UDP && be16(frame, at) == 0 {
        put16(frame, at, 0xffff);
    }
}

#[inline(always)]
fn update_field(frame: &mut [u8], at: usize, change: u16) {
    let field = be16(frame, at);
    put16(frame, at, checksum::update(field, change));
}

/// Writes bytes; returns the change of their sum.
#[inline(always)]
fn replace<const N: usize>(frame: &mut [u8], at: usize, new: [u8; N]) -> u16 {
    let old = take::<N>(frame, at);
    frame[at..at + N].copy_from_slice(&new);
    checksum::change(&old, &new)
}

/// Makes SCTP's checksum anew; it covers the ports and no address (RFC 9260 6.8).
fn set_crc32c(packet: &mut [u8]) {
    put(packet, sctp::CHECKSUM, &[0; 4]);
    let crc = crc32c::crc32c(packet);
    put(packet, sctp::CHECKSUM, &crc.to_le_bytes());
}
