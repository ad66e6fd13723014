//! A packet given the other family's IP header (RFC 7915), in place; payload and superframes stay whole.
//!
//! ```text
//! TTL, TOS    taken over (the caller has counted the hop)     flow label   0
//! IPv4 DF     set, but for packets that fit 1280 bytes of IPv6, and for what came in fragments
//! no DF       an IPv4 packet without it becomes IPv6 fragments of 1280 bytes at most, which fit every path
//! options     IPv4 options and IPv6 extension headers are left behind
//! checksum    of layer 4 moves with the pseudo-header, whether complete or partial
//! ```
//! Says what is to be cut, never cuts it; never looks for new addresses.

use std::net::IpAddr;

use super::field::{ETH_LEN, be16, ipv4, ipv6, put16, tcp, udp};
use super::ip::{Header, header_len, ip_header, l4_header_len};
use super::packet::{Fragment, Ip, L4};
use super::{Gso, PacketBuf, checksum};
use crate::base::{DropReason, Family, Proto};

/// What the length field of a header counts at most: of IPv6 it leaves out the header itself.
const LARGEST: usize = 65_535;

/// By how many bytes a packet grows when it becomes one of `family`; 0 if it is one.
pub fn growth(ip: &Ip, family: Family) -> isize {
    if ip.family() == family {
        return 0;
    }
    header_len(family) as isize - (ip.l4_at - ETH_LEN) as isize
}

/// Replaces the IP header by one of the family of `src` and `dst`; `id` is for an IPv4 packet that may be cut.
///
/// A UDP checksum of 0 stays, and is for the caller to fill: IPv6 has none such.
pub fn translate(buf: &mut PacketBuf, ip: &mut Ip, src: IpAddr, dst: IpAddr, id: u16) -> Result<(), DropReason> {
    if Family::of(src) != Family::of(dst) || ip.fragment != Fragment::Whole {
        return Err(DropReason::Unsupported);
    }
    let grown = growth(ip, Family::of(dst));
    let uncounted = if dst.is_ipv6() { header_len(Family::V6) } else { 0 };
    if ip.total_len() as isize + grown > (LARGEST + uncounted) as isize {
        return Err(DropReason::TooBig);
    }
    let small = ip.wire_len(buf) as isize + grown <= (ipv6::MIN_MTU - ipv4::LEN) as isize;
    let dont_fragment = !small && buf.cut.is_none();
    if dst.is_ipv6() && (buf.cut.is_some() || !ip.dont_fragment) {
        // No router on an IPv6 path cuts, and a sender without DF need not hear of what does not fit (RFC 7915 4).
        let large = buf.vnet.gso == Gso::None && ip.total_len() as isize + grown > ipv6::MIN_MTU as isize;
        buf.cut = large.then_some(ipv6::MIN_MTU as u16);
    }
    match grown {
        0.. if !buf.insert(ETH_LEN, grown as usize) => return Err(DropReason::NoHeadroom),
        0.. => {}
        _ => buf.remove(ETH_LEN, grown.unsigned_abs()),
    }
    let before = (ip.src, ip.dst);
    ip.l4_at = ip.l4_at.wrapping_add_signed(grown);
    ip.end = ip.end.wrapping_add_signed(grown);
    (ip.src, ip.dst) = (src, dst);
    ip.dont_fragment = dont_fragment || dst.is_ipv6();
    let fields = Header { src, dst, proto: ip.proto, ttl: ip.ttl, tos: ip.tos, id, dont_fragment };
    ip_header(&mut buf.frame_mut()[..ip.end], &fields);
    move_offload(buf, ip);
    move_checksum(buf, ip, before);
    Ok(())
}

fn move_offload(buf: &mut PacketBuf, ip: &Ip) {
    if buf.vnet.needs_csum {
        buf.vnet.csum_start = ip.l4_at as u16;
    }
    buf.vnet.gso = match (buf.vnet.gso, ip.family()) {
        (Gso::Tcp4 | Gso::Tcp6, Family::V4) => Gso::Tcp4,
        (Gso::Tcp4 | Gso::Tcp6, Family::V6) => Gso::Tcp6,
        (other, _) => other,
    };
}

/// The checksum of layer 4 covers the addresses; lengths and protocol are the same in both families.
fn move_checksum(buf: &mut PacketBuf, ip: &Ip, before: (IpAddr, IpAddr)) {
    let at = match ip.l4 {
        L4::Tcp { .. } => ip.l4_at + tcp::CHECKSUM,
        L4::Udp { .. } => ip.l4_at + udp::CHECKSUM,
        L4::Sctp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => return,
    };
    let partial = buf.vnet.needs_csum;
    let field = be16(buf.frame(), at);
    let udp = ip.proto == Proto::UDP && !partial;
    if udp && field == 0 {
        return;
    }
    let change = checksum::change(&packed(before), &packed((ip.src, ip.dst)));
    let moved = if partial { checksum::add(field, change) } else { checksum::update(field, change) };
    put16(buf.frame_mut(), at, if udp { checksum::nonzero(moved) } else { moved });
}

/// Both addresses as summable bytes; zeros add nothing.
fn packed((src, dst): (IpAddr, IpAddr)) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (half, addr) in bytes.chunks_exact_mut(16).zip([src, dst]) {
        match addr {
            IpAddr::V4(addr) => half[..4].copy_from_slice(&addr.octets()),
            IpAddr::V6(addr) => half.copy_from_slice(&addr.octets()),
        }
    }
    bytes
}

/// Makes the segments of a TCP superframe small enough for a link; others are left as they are.
pub fn fit_segments(buf: &mut PacketBuf, ip: &Ip, mtu: u16) {
    if !matches!(buf.vnet.gso, Gso::Tcp4 | Gso::Tcp6) {
        return;
    }
    let headers = ip.l4_at - ETH_LEN + l4_header_len(buf.frame(), ip);
    let room = usize::from(mtu).saturating_sub(headers).max(1);
    buf.vnet.gso_size = buf.vnet.gso_size.min(room as u16);
}
