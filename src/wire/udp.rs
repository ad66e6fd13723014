//! UDP datagrams that the director itself sends and receives (RFC 768).
//!
//! Sent never without a checksum; MACs are left open.

use super::field::{ETH_LEN, be16, ports, put, put16, udp};
use super::ip::{Header, header_len, ip_header, set_length};
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

/// Gives a whole datagram another payload; its checksum is made anew and complete. False, and nothing changed, if that is too long.
pub fn replace_payload(buf: &mut PacketBuf, ip: &mut Ip, payload: &[u8]) -> bool {
    let at = ip.l4_at + udp::LEN;
    if at - ETH_LEN + payload.len() > usize::from(u16::MAX) {
        return false;
    }
    let (whole, cut) = ([&buf.frame()[..at], payload].concat(), buf.cut);
    buf.set(&whole);
    buf.cut = cut;
    ip.end = whole.len();
    let frame = buf.frame_mut();
    set_length(&mut frame[ETH_LEN..], ip.family(), ip.l4_at - ETH_LEN);
    let datagram = &mut frame[ip.l4_at..];
    put16(datagram, udp::LENGTH, datagram.len() as u16);
    put16(datagram, udp::CHECKSUM, 0);
    let sum = checksum::nonzero(!checksum::with_pseudo(ip.src, ip.dst, Proto::UDP, datagram));
    put16(datagram, udp::CHECKSUM, sum);
    true
}

/// Puts bytes, an even number, in front of the payload. False, and nothing changed, if there is no room. A checksum that was
/// right is right afterwards, a wrong one stays wrong, and where there is none there is none.
pub fn put_in_front(buf: &mut PacketBuf, ip: &mut Ip, bytes: &[u8]) -> bool {
    let at = ip.l4_at + udp::LEN;
    let fits = ip.total_len() + bytes.len() <= usize::from(u16::MAX);
    if !fits || at > ip.end || !buf.insert(at, bytes.len()) {
        return false;
    }
    ip.end += bytes.len();
    let (complete, more) = (!buf.vnet.needs_csum, bytes.len() as u16);
    let frame = buf.frame_mut();
    put(frame, at, bytes);
    set_length(&mut frame[ETH_LEN..ip.end], ip.family(), ip.l4_at - ETH_LEN);
    let datagram = &mut frame[ip.l4_at..];
    let length = be16(datagram, udp::LENGTH);
    put16(datagram, udp::LENGTH, length.wrapping_add(more));
    let field = be16(datagram, udp::CHECKSUM);
    // The length stands in the header and in the pseudo-header.
    let change = checksum::add(checksum::add(checksum::sum(bytes), more), more);
    let sum = match (complete, field) {
        (true, 0) => 0,
        (true, _) => checksum::nonzero(checksum::update(field, change)),
        (false, _) => checksum::add(field, more),
    };
    put16(datagram, udp::CHECKSUM, sum);
    true
}
