//! What a virtio header promises of a frame, held against the frame.
//!
//! The rewriter relies on it. Never changes a byte.

use super::field::{ETH_LEN, tcp, udp};
use super::ip::ip_packet;
use super::packet::{Fragment, Ip, L4};
use super::{Gso, PacketBuf, UdpTunnel, Vnet};
use crate::base::{DropReason, Family};

const TCP: u16 = tcp::CHECKSUM as u16;
const UDP: u16 = udp::CHECKSUM as u16;
/// Segments of a superframe: as many of TCP would have 64 bytes each in the largest one.
const MOST_TCP: usize = 1024;
/// UDP sockets make no more at once (the kernel's `UDP_MAX_SEGMENTS`).
const MOST_UDP: usize = 128;

/// Where the L4 header of a frame ends, as its virtio header wants to know; 0 for a plain frame.
#[inline]
pub fn header_end(buf: &PacketBuf) -> usize {
    let vnet = &buf.vnet;
    if !vnet.needs_csum && vnet.gso == Gso::None {
        return 0;
    }
    let start = usize::from(vnet.csum_start);
    match (vnet.csum_offset, buf.frame().get(start + tcp::DATA_OFFSET)) {
        (TCP, Some(offset)) => start + (usize::from(offset >> 4) * 4).max(tcp::LEN),
        (TCP, None) => buf.len(),
        _ => start + udp::LEN,
    }
}

impl Ip {
    /// Length of the largest packet this frame becomes on the wire: one segment of a superframe.
    #[inline]
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

/// A virtio header may promise only what the frame holds; the rewriter relies on it.
#[inline]
pub(super) fn check_offload(buf: &PacketBuf, ip: &Ip) -> Result<(), DropReason> {
    if buf.vnet.is_plain() || is_usual(&buf.vnet, ip) { Ok(()) } else { check_promises(buf, ip) }
}

/// The superframe that almost all are: of TCP, and with few segments even if it had no headers.
#[inline(always)]
fn is_usual(vnet: &Vnet, ip: &Ip) -> bool {
    matches!(vnet.gso, Gso::Tcp4 | Gso::Tcp6)
        && vnet.needs_csum
        && matches!(ip.l4, L4::Tcp { .. })
        && usize::from(vnet.csum_start) == ip.l4_at
        && vnet.csum_offset == TCP
        && ip.fragment == Fragment::Whole
        && ip.end <= MOST_TCP * usize::from(vnet.gso_size)
        && vnet.tunnel.is_none()
}

fn check_promises(buf: &PacketBuf, ip: &Ip) -> Result<(), DropReason> {
    let vnet = &buf.vnet;
    if let Some(tunnel) = &vnet.tunnel {
        return check_tunnel(buf, ip, tunnel);
    }
    let field = match ip.l4 {
        L4::Tcp { .. } => TCP,
        L4::Udp { .. } => UDP,
        L4::Sctp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => 0,
    };
    let own_checksum = usize::from(vnet.csum_start) == ip.l4_at && vnet.csum_offset == field && field != 0;
    if vnet.needs_csum && !own_checksum {
        return Err(DropReason::Offload);
    }
    let fits = match vnet.gso {
        Gso::None => true,
        Gso::Unknown => false,
        Gso::Tcp4 | Gso::Tcp6 => matches!(ip.l4, L4::Tcp { .. }) && vnet.needs_csum,
        Gso::Udp => matches!(ip.l4, L4::Udp { .. }) && vnet.needs_csum,
    };
    if !fits || (vnet.gso != Gso::None && (vnet.gso_size == 0 || ip.fragment != Fragment::Whole)) {
        return Err(DropReason::Offload);
    }
    check_segments(buf, ip)
}

/// Each segment costs a frame where a superframe is cut, so that their number is bounded.
#[inline]
fn check_segments(buf: &PacketBuf, ip: &Ip) -> Result<(), DropReason> {
    let most = match buf.vnet.gso {
        Gso::None | Gso::Unknown => return Ok(()),
        Gso::Tcp4 | Gso::Tcp6 => MOST_TCP,
        Gso::Udp => MOST_UDP,
    };
    let largest = most * usize::from(buf.vnet.gso_size);
    // Headers are looked at only where they decide.
    if ip.end > largest && ip.end.saturating_sub(header_end(buf)) > largest {
        Err(DropReason::TinySegments)
    } else {
        Ok(())
    }
}

/// The same of a superframe inside a UDP tunnel: there are such headers at these places, one inside the other.
#[cold]
fn check_tunnel(buf: &PacketBuf, ip: &Ip, tunnel: &UdpTunnel) -> Result<(), DropReason> {
    let vnet = &buf.vnet;
    let is_outer = matches!(ip.l4, L4::Udp { .. }) && ip.fragment == Fragment::Whole && ip.l4_at == tunnel.udp_at();
    // As if the inner packet stood behind an Ethernet header: wherever that begins, it is within the outer headers.
    let before = tunnel.inner_at() - ETH_LEN;
    let inner = ip_packet(buf.frame().get(before..ip.end).unwrap_or_default()).map_err(|_| DropReason::Offload)?;
    let is_inner = match vnet.gso {
        Gso::Tcp4 | Gso::Tcp6 => matches!(inner.l4, L4::Tcp { .. }) && vnet.csum_offset == TCP,
        Gso::Udp => matches!(inner.l4, L4::Udp { .. }) && vnet.csum_offset == UDP,
        Gso::None | Gso::Unknown => false,
    };
    let fits = usize::from(vnet.csum_start) == before + inner.l4_at && before + inner.end == ip.end;
    let is_sound = is_outer && is_inner && fits && vnet.needs_csum && vnet.gso_size > 0;
    if is_sound && header_end(buf) <= ip.end { check_segments(buf, ip) } else { Err(DropReason::Offload) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Proto;
    use crate::wire::Vnet;
    use crate::wire::ip::{Header, header_len, ip_header};

    fn superframe(proto: Proto, payload: usize, gso: Gso, gso_size: u16) -> Result<(), DropReason> {
        let (src, dst) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let l4_at = ETH_LEN + header_len(Family::V4);
        let (header, offset) = if proto == Proto::TCP { (tcp::LEN, TCP) } else { (udp::LEN, UDP) };
        let mut buf = PacketBuf::new();
        let frame = buf.reset(l4_at + header + payload);
        ip_header(frame, &Header { src, dst, proto, ttl: 64, tos: 0, id: 0, dont_fragment: true });
        buf.vnet =
            Vnet { needs_csum: true, gso, gso_size, csum_start: l4_at as u16, csum_offset: offset, ..Vnet::default() };
        check_offload(&buf, &ip_packet(buf.frame()).unwrap())
    }

    #[test]
    fn a_superframe_has_no_more_segments_than_somebody_sends() {
        for (proto, gso, most) in [(Proto::TCP, Gso::Tcp4, 1024), (Proto::UDP, Gso::Udp, 128)] {
            for size in [1, 8, 36] {
                assert_eq!(superframe(proto, most * size, gso, size as u16), Ok(()), "{proto} {size}");
                let more = superframe(proto, most * size + 1, gso, size as u16);
                assert_eq!(more, Err(DropReason::TinySegments), "{proto} {size}");
            }
        }
        assert_eq!(superframe(Proto::TCP, 65_000, Gso::Tcp4, 64), Ok(()), "the largest, of the smallest segments");
    }
}
