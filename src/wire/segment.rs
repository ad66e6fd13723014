//! Cutting a superframe into the packets it stands for (TCP segmentation, UDP segmentation).
//!
//! Per segment: lengths, IPv4 identification + n, TCP sequence, FIN and PSH on the last only, CWR on the first
//! only, every checksum complete; the same of the headers of a UDP tunnel around it. Never changes the superframe.

use super::field::{ETH_LEN, be16, be32, ipv4, put16, put32, tcp, udp};
use super::ip::{ip_packet, l4_header_len, set_length};
use super::packet::{Ip, L4};
use super::{Gso, PacketBuf, checksum};
use crate::base::{Family, Proto};

const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// Where the cutting stands.
pub struct Segments {
    /// The packet that is cut, which may be inside a tunnel, and where its own Ethernet header is or would be.
    inner: Ip,
    inner_at: usize,
    payload_at: usize,
    size: usize,
    count: usize,
}

impl Segments {
    /// Starts at the first payload byte; segments hold at most `gso_size` bytes of payload.
    pub fn new(whole: &PacketBuf, ip: &Ip) -> Segments {
        let (inner, inner_at) = inside(whole, ip).unwrap_or((*ip, 0));
        let payload_at = inner_at + inner.l4_at + l4_header_len(&whole.frame()[inner_at..], &inner);
        Segments { inner, inner_at, payload_at, size: usize::from(whole.vnet.gso_size).max(1), count: 0 }
    }

    /// How many packets a frame stands for.
    pub fn count(buf: &PacketBuf, ip: &Ip) -> usize {
        if buf.vnet.gso == Gso::None {
            return 1;
        }
        let segments = Segments::new(buf, ip);
        ip.end.saturating_sub(segments.payload_at).div_ceil(segments.size)
    }

    /// Writes the next segment; `None` when all payload is out, else the segment as parsed.
    pub fn next_into(&mut self, whole: &PacketBuf, ip: &Ip, out: &mut PacketBuf) -> Option<Ip> {
        let at = self.payload_at + self.count * self.size;
        if at >= ip.end {
            return None;
        }
        let len = self.size.min(ip.end - at);
        let frame = out.reset(self.payload_at + len);
        frame[..self.payload_at].copy_from_slice(&whole.frame()[..self.payload_at]);
        frame[self.payload_at..].copy_from_slice(&whole.frame()[at..at + len]);
        let segment = Ip { end: self.payload_at + len, ..*ip };
        self.finish(&mut frame[self.inner_at..], at + len == ip.end)?;
        if let Some(tunnel) = &whole.vnet.tunnel {
            ip_lengths(frame, &segment, self.count);
            udp_length(frame, &segment);
            if tunnel.summed {
                complete_checksum(frame, &segment);
            }
        }
        self.count += 1;
        Some(segment)
    }

    /// Makes the headers of a segment, which `packet` is, its own.
    #[inline]
    fn finish(&self, packet: &mut [u8], last: bool) -> Option<()> {
        let ip = Ip { end: packet.len(), ..self.inner };
        ip_lengths(packet, &ip, self.count);
        match ip.l4 {
            L4::Tcp { .. } => {
                tcp_fields(&mut packet[ip.l4_at..], self.count * self.size, self.count == 0, last);
            }
            L4::Udp { .. } => udp_length(packet, &ip),
            L4::Sctp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => return None,
        }
        complete_checksum(packet, &ip);
        Some(())
    }
}

/// The packet inside a tunnel, and where an Ethernet header before it would be.
fn inside(whole: &PacketBuf, ip: &Ip) -> Option<(Ip, usize)> {
    let at = whole.vnet.tunnel?.inner_at() - ETH_LEN;
    let inner = ip_packet(whole.frame().get(at..ip.end)?).ok()?;
    Some((inner, at))
}

fn udp_length(frame: &mut [u8], ip: &Ip) {
    put16(frame, ip.l4_at + udp::LENGTH, (ip.end - ip.l4_at) as u16);
}

fn ip_lengths(frame: &mut [u8], ip: &Ip, count: usize) {
    let (packet, family) = (&mut frame[ETH_LEN..ip.end], ip.family());
    if family == Family::V4 {
        let id = be16(packet, ipv4::ID).wrapping_add(count as u16);
        put16(packet, ipv4::ID, id);
    }
    set_length(packet, family, ip.l4_at - ETH_LEN);
}

fn tcp_fields(segment: &mut [u8], offset: usize, first: bool, last: bool) {
    let sequence = be32(segment, tcp::SEQUENCE).wrapping_add(offset as u32);
    put32(segment, tcp::SEQUENCE, sequence);
    if !last {
        segment[tcp::FLAGS] &= !FIN_PSH;
    }
    if !first {
        segment[tcp::FLAGS] &= !CWR;
    }
}

fn complete_checksum(frame: &mut [u8], ip: &Ip) {
    let message = &mut frame[ip.l4_at..ip.end];
    let at = if ip.proto == Proto::UDP { udp::CHECKSUM } else { tcp::CHECKSUM };
    put16(message, at, 0);
    let sum = !checksum::with_pseudo(ip.src, ip.dst, ip.proto, message);
    put16(message, at, if ip.proto == Proto::UDP { checksum::nonzero(sum) } else { sum });
}
