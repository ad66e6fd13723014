//! One fragment, read from its packet (RFC 791 3.1, RFC 8200 4.5). Never keeps anything.

use std::net::IpAddr;

use super::extension::{FRAGMENT, unfragmentable_end};
use super::field::{ETH_LEN, be16, be32, ipv4, ipv6};
use super::packet::Ip;
use crate::base::{Family, Proto};

/// What the fragments of a datagram have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// IPv6 datagrams are told apart without it (RFC 8200).
    pub proto: Option<Proto>,
    /// Identification.
    pub id: u32,
}

/// One fragment, taken apart.
pub struct Piece {
    /// Of which datagram.
    pub key: Key,
    /// The part of the datagram that it is.
    pub from: usize,
    /// Where that part ends.
    pub to: usize,
    /// None comes behind it.
    pub last: bool,
    /// Where its data begin in the frame.
    pub data_at: usize,
    /// Where the headers end that every fragment repeats.
    pub header_end: usize,
    /// Where the headers name what follows them, and the name of what was cut.
    pub next_header: (usize, u8),
}

/// Takes a packet apart; `None` if it carries no fragment.
pub fn take_apart(frame: &[u8], ip: &Ip) -> Option<Piece> {
    match ip.family() {
        Family::V4 => Some(take_apart_v4(frame, ip)),
        Family::V6 => take_apart_v6(frame, ip),
    }
}

fn take_apart_v4(frame: &[u8], ip: &Ip) -> Piece {
    let field = be16(frame, ETH_LEN + ipv4::FRAGMENT);
    let from = usize::from(field & ipv4::OFFSET_MASK) * 8;
    let data_at = ETH_LEN + usize::from(frame[ETH_LEN] & 0xf) * 4;
    let id = be16(frame, ETH_LEN + ipv4::ID);
    Piece {
        key: Key { src: ip.src, dst: ip.dst, proto: Some(ip.proto), id: u32::from(id) },
        from,
        to: from + (ip.end - data_at),
        last: field & ipv4::MORE_FRAGMENTS == 0,
        data_at,
        header_end: data_at,
        next_header: (ETH_LEN + ipv4::PROTOCOL, ip.proto.0),
    }
}

fn take_apart_v6(frame: &[u8], ip: &Ip) -> Option<Piece> {
    let (next_header_at, at) = fragment_header(frame, ip.end)?;
    let field = be16(frame, at + ipv6::FRAGMENT_OFFSET);
    let from = usize::from(field & !7);
    let id = be32(frame, at + ipv6::FRAGMENT_ID);
    let data_at = at + ipv6::FRAGMENT_LEN;
    Some(Piece {
        key: Key { src: ip.src, dst: ip.dst, proto: None, id },
        from,
        to: from + (ip.end - data_at),
        last: field & 1 == 0,
        data_at,
        header_end: at,
        next_header: (next_header_at, frame[at]),
    })
}

/// Where a fragment header is named, and where it stands: behind hop-by-hop, routing and destination options only.
fn fragment_header(frame: &[u8], end: usize) -> Option<(usize, usize)> {
    let (next_header_at, at) = unfragmentable_end(frame, end);
    (frame[next_header_at] == FRAGMENT && at + ipv6::FRAGMENT_LEN <= end).then_some((next_header_at, at))
}
