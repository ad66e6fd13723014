//! UDP datagrams that the director itself sends and receives (RFC 768).
//!
//! Sent never without a checksum; MACs are left open.

use super::field::{ETH_LEN, be16, ports, put, put16, udp};
use super::ip::{Header, header_len, ip_header};
use super::packet::Ip;
use super::{PacketBuf, checksum};
use crate::base::{Endpoint, Family, Proto};

/// The payload of a whole datagram; `None` if its length or its checksum is wrong. An unfinished checksum counts as right:
/// the datagram was on no wire yet.
pub fn payload<'a>(buf: &'a PacketBuf, ip: &Ip) -> Option<&'a [u8]> {
    let datagram = buf.frame().get(ip.l4_at..ip.end)?;
    let header = datagram.get(..udp::LEN)?;
    let datagram = datagram.get(..usize::from(be16(header, udp::LENGTH)))?;
    let intact = be16(header, udp::CHECKSUM) == 0
        || buf.vnet.needs_csum
        || checksum::with_pseudo(ip.src, ip.dst, ip.proto, datagram) == 0xffff;
    datagram.get(udp::LEN..).filter(|_| intact)
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
    let start = ETH_LEN + header_len(Family::of(dst.addr));
    let frame = out.reset(start + udp::LEN + payload.len());
    let datagram = &mut frame[start..];
    put16(datagram, ports::SRC, src.port);
    put16(datagram, ports::DST, dst.port);
    put16(datagram, udp::LENGTH, (udp::LEN + payload.len()) as u16);
    put(datagram, udp::LEN, payload);
    let sum = checksum::nonzero(!checksum::with_pseudo(src.addr, dst.addr, Proto::UDP, datagram));
    put16(datagram, udp::CHECKSUM, sum);
    let Hops { ttl, id } = hops;
    let (src, dst) = (src.addr, dst.addr);
    ip_header(frame, &Header { src, dst, proto: Proto::UDP, ttl, tos: 0, id, dont_fragment: false });
}
