//! Frame to values, total over every byte string: a malformed frame is an error with a name, never a panic.
//!
//! On top of the other files here; none of them imports it.

use super::PacketBuf;
use super::arp::{self, Arp};
use super::field::{ETH_LEN, be16, ethernet};
use super::ip::{parse_ipv4, parse_ipv6};
use super::ndp::{self, Ndp};
use super::offload::check_offload;
use super::packet::Ip;
use crate::base::DropReason;

/// A frame by its kind.
#[derive(Clone, Copy, Debug)]
pub enum Parsed {
    /// ARP for IPv4 over Ethernet.
    Arp(Arp),
    /// Neighbour discovery of IPv6.
    Ndp(Ndp),
    /// An IP packet.
    Ip(Ip),
}

/// Parses a frame whose virtio header says how its checksums stand.
#[inline(always)]
pub fn parse(buf: &PacketBuf) -> Result<Parsed, DropReason> {
    let mut parsed = Err(DropReason::Malformed);
    parse_into(buf, &mut parsed);
    parsed
}

/// The same, where the result is to be: a packet as parsed is large, and not to be copied.
#[inline(always)]
pub fn parse_into(buf: &PacketBuf, parsed: &mut Result<Parsed, DropReason>) {
    if let Err(reason) = try_parse(buf, parsed) {
        *parsed = Err(reason);
    }
}

#[inline(always)]
fn try_parse(buf: &PacketBuf, parsed: &mut Result<Parsed, DropReason>) -> Result<(), DropReason> {
    let frame = buf.frame();
    let header = frame.get(..ETH_LEN).ok_or(DropReason::Malformed)?;
    match be16(header, ethernet::ETHERTYPE) {
        ethernet::IPV4 => *parsed = Ok(Parsed::Ip(parse_ipv4(frame)?)),
        ethernet::IPV6 => *parsed = Ok(Parsed::Ip(parse_ipv6(frame)?)),
        ethernet::ARP => {
            *parsed = arp::parse(&frame[ETH_LEN..]).map(Parsed::Arp);
            return Ok(());
        }
        _ => return Err(DropReason::EtherType),
    }
    let Ok(Parsed::Ip(ip)) = parsed else { return Ok(()) };
    check_offload(buf, ip)?;
    if ndp::concerns(ip) {
        *parsed = ndp::parse(frame, ip).map(Parsed::Ndp);
    }
    Ok(())
}
