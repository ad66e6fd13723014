//! Cutting a superframe into the packets it stands for (TCP segmentation, UDP segmentation).
//!
//! Per segment: lengths, IPv4 identification + n, TCP sequence, FIN and PSH on the last only, CWR on the first
//! only, every checksum complete; the same of the headers of a UDP tunnel around it. Never changes the superframe.

use super::parse::{ETH_LEN, Ip, L4, ip_packet, l4_header_len};
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
            L4::Tcp { .. } => tcp_fields(packet, ip.l4_at, self.count * self.size, self.count == 0, last),
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
    let len = (ip.end - ip.l4_at) as u16;
    frame[ip.l4_at + 4..ip.l4_at + 6].copy_from_slice(&len.to_be_bytes());
}

fn ip_lengths(frame: &mut [u8], ip: &Ip, count: usize) {
    match ip.family() {
        Family::V4 => {
            let id = u16::from_be_bytes([frame[ETH_LEN + 4], frame[ETH_LEN + 5]]).wrapping_add(count as u16);
            frame[ETH_LEN + 2..ETH_LEN + 4].copy_from_slice(&(ip.total_len() as u16).to_be_bytes());
            frame[ETH_LEN + 4..ETH_LEN + 6].copy_from_slice(&id.to_be_bytes());
            frame[ETH_LEN + 10..ETH_LEN + 12].fill(0);
            let sum = !checksum::sum(&frame[ETH_LEN..ip.l4_at]);
            frame[ETH_LEN + 10..ETH_LEN + 12].copy_from_slice(&sum.to_be_bytes());
        }
        Family::V6 => {
            let payload = (ip.total_len() - 40) as u16;
            frame[ETH_LEN + 4..ETH_LEN + 6].copy_from_slice(&payload.to_be_bytes());
        }
    }
}

fn tcp_fields(frame: &mut [u8], l4_at: usize, offset: usize, first: bool, last: bool) {
    let at = l4_at + 4;
    let seq = u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    frame[at..at + 4].copy_from_slice(&seq.wrapping_add(offset as u32).to_be_bytes());
    if !last {
        frame[l4_at + 13] &= !FIN_PSH;
    }
    if !first {
        frame[l4_at + 13] &= !CWR;
    }
}

fn complete_checksum(frame: &mut [u8], ip: &Ip) {
    let at = ip.l4_at + if ip.proto == Proto::UDP { 6 } else { 16 };
    frame[at..at + 2].fill(0);
    let body = &frame[ip.l4_at..ip.end];
    let sum = !checksum::add(checksum::pseudo(ip.src, ip.dst, ip.proto, body.len()), checksum::sum(body));
    let sum = if sum == 0 && ip.proto == Proto::UDP { 0xffff } else { sum };
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}
