//! UDP datagrams that the director itself sends (RFC 768).
//!
//! Never without a checksum; MACs are left open.

use super::icmp::{Header, ip_header};
use super::parse::ETH_LEN;
use super::{PacketBuf, checksum, encap};
use crate::base::{Endpoint, Family, Proto};

const HEADER: usize = 8;

/// The fields of the IP header that are not the same for all.
#[derive(Clone, Copy, Debug)]
pub struct Hops {
    /// TTL or hop limit.
    pub ttl: u8,
    /// IPv4 identification.
    pub id: u16,
}

/// Writes a datagram; both ends are of one family.
pub fn datagram(out: &mut PacketBuf, src: Endpoint, dst: Endpoint, hops: Hops, payload: &[u8]) {
    let start = ETH_LEN + encap::ip_len(Family::of(dst.addr));
    let frame = out.reset(start + HEADER + payload.len());
    let datagram = &mut frame[start..];
    let len = datagram.len();
    datagram[..2].copy_from_slice(&src.port.to_be_bytes());
    datagram[2..4].copy_from_slice(&dst.port.to_be_bytes());
    datagram[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    datagram[HEADER..].copy_from_slice(payload);
    let pseudo = checksum::pseudo(src.addr, dst.addr, Proto::UDP, len);
    let sum = checksum::nonzero(!checksum::add(pseudo, checksum::sum(datagram)));
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    let Hops { ttl, id } = hops;
    let (src, dst) = (src.addr, dst.addr);
    ip_header(frame, &Header { src, dst, proto: Proto::UDP, ttl, tos: 0, id, dont_fragment: false });
}
