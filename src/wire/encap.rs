//! Encapsulation of an IP packet in another (RFC 2003), as IPVS's tunnel method does it.
//!
//! ```text
//! TTL   the inner one, after its decrement       DF   copied from the inner packet
//! TOS   DSCP and ECN copied, but CE becomes ECT(0)     ID   0 with DF, else a fresh one
//! ```
//! Never segments: a superframe is cut before it comes here.

use std::net::IpAddr;

use super::PacketBuf;
use super::icmp::{Header, ip_header};
use super::parse::{ETH_LEN, Ip};
use crate::base::{DropReason, Family, Proto};

/// Bytes that IP in IP towards `outer` adds in front of the inner packet.
pub fn ipip_len(outer: Family) -> usize {
    match outer {
        Family::V4 => 20,
        Family::V6 => 40,
    }
}

/// Puts an outer IP header in front of a packet, either family in either; `id` is used when DF is not set.
///
/// DF is the inner packet's, and never set for an inner IPv6 packet.
pub fn ipip(buf: &mut PacketBuf, inner: &Ip, src: IpAddr, dst: IpAddr, id: u16) -> Result<(), DropReason> {
    if Family::of(dst) != Family::of(src) {
        return Err(DropReason::Unsupported);
    }
    if !buf.insert(ETH_LEN, ipip_len(Family::of(dst))) {
        return Err(DropReason::NoHeadroom);
    }
    let dont_fragment = inner.dont_fragment && inner.family() == Family::V4;
    let proto = match inner.family() {
        Family::V4 => Proto::IPIP,
        Family::V6 => Proto::IPV6,
    };
    let id = if dont_fragment { 0 } else { id };
    let fields = Header { src, dst, proto, ttl: inner.ttl, tos: outer_tos(inner.tos), id, dont_fragment };
    ip_header(buf.frame_mut(), &fields);
    Ok(())
}

/// The outer TOS: congestion already experienced inside is not repeated outside (RFC 6040 "compatibility").
fn outer_tos(inner: u8) -> u8 {
    const CE: u8 = 0b11;
    const ECT0: u8 = 0b10;
    if inner & CE == CE { inner & !CE | ECT0 } else { inner }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_congestion_experienced_changes() {
        for tos in 0..=255u8 {
            let expected = if tos & 3 == 3 { tos - 1 } else { tos };
            assert_eq!(outer_tos(tos), expected);
        }
    }
}
