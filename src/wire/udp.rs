//! UDP datagrams that the director itself sends and receives (RFC 768).
//!
//! Sent never without a checksum; MACs are left open.

use super::icmp::{Header, ip_header};
use super::parse::{ETH_LEN, Ip};
use super::{PacketBuf, checksum, encap};
use crate::base::{Endpoint, Family, Proto};

const HEADER: usize = 8;

/// The payload of a whole datagram; `None` if its length or its checksum is wrong. A checksum that is left to be finished
/// is one that was never on a wire.
pub fn payload<'a>(buf: &'a PacketBuf, ip: &Ip) -> Option<&'a [u8]> {
    let datagram = buf.frame().get(ip.l4_at..ip.end)?;
    let header = datagram.first_chunk::<HEADER>()?;
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let datagram = datagram.get(..len)?;
    let unsummed = header[6..] == [0, 0];
    let pseudo = checksum::pseudo(ip.src, ip.dst, ip.proto, len);
    let intact = unsummed || buf.vnet.needs_csum || checksum::add(pseudo, checksum::sum(datagram)) == 0xffff;
    datagram.get(HEADER..).filter(|_| intact)
}

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
