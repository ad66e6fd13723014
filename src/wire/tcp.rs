//! TCP segments that the director itself sends: the reset of a host where nothing listens.
//!
//! Never keeps state; everything comes from the segment that is answered (RFC 9293 3.10.7.1).

use super::icmp::{DEFAULT_TTL, Header, ip_header};
use super::parse::{ETH_LEN, Ip, L4, l4_header_len};
use super::{PacketBuf, checksum};
use crate::base::{Family, Proto};

/// Writes the reset that answers a segment to a closed port; MACs left open. False if it must not be answered.
pub fn reset_for(out: &mut PacketBuf, request: &[u8], ip: &Ip) -> bool {
    let L4::Tcp { sport, dport, flags } = ip.l4 else { return false };
    if flags.rst() {
        return false;
    }
    let word = |at: usize| u32::from_be_bytes([request[at], request[at + 1], request[at + 2], request[at + 3]]);
    let (seq, acked) = (word(ip.l4_at + 4), word(ip.l4_at + 8));
    let data = (ip.end - ip.l4_at).saturating_sub(l4_header_len(request, ip)) as u32;
    let (seq, ack, bits) = match flags.ack() {
        true => (acked, 0, 0x04),
        false => {
            let length = data + u32::from(flags.syn()) + u32::from(flags.fin());
            (0, seq.wrapping_add(length), 0x14)
        }
    };
    let header = if ip.family() == Family::V4 { 20 } else { 40 };
    let frame = out.reset(ETH_LEN + header + 20);
    let tcp = &mut frame[ETH_LEN + header..];
    tcp[..2].copy_from_slice(&dport.to_be_bytes());
    tcp[2..4].copy_from_slice(&sport.to_be_bytes());
    tcp[4..8].copy_from_slice(&seq.to_be_bytes());
    tcp[8..12].copy_from_slice(&ack.to_be_bytes());
    tcp[12] = 0x50;
    tcp[13] = bits;
    let sum = checksum::add(checksum::pseudo(ip.dst, ip.src, Proto::TCP, 20), checksum::sum(tcp));
    tcp[16..18].copy_from_slice(&(!sum).to_be_bytes());
    let fields = Header {
        src: ip.dst,
        dst: ip.src,
        proto: Proto::TCP,
        ttl: DEFAULT_TTL,
        tos: ip.tos,
        id: 0,
        dont_fragment: true,
    };
    ip_header(frame, &fields);
    true
}
