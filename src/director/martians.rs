//! Addresses that may not appear on a link (RFC 1812 5.3.7, RFC 6890), and groups, which are not balanced.
//!
//! Never looks at anything but the two addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::DropReason;
use crate::wire::Ip;

/// Refuses what no sender may send, and what is for a group.
#[inline]
pub(super) fn check_addresses(ip: &Ip) -> Result<(), DropReason> {
    let martian = match (ip.src, ip.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            src.is_multicast() || src.is_broadcast() || src.is_loopback() || src.is_unspecified() || dst.is_loopback()
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mapped = |addr: Ipv6Addr| addr.to_ipv4_mapped().is_some();
            src.is_multicast()
                || src.is_loopback()
                || src.is_unspecified()
                || dst.is_loopback()
                || mapped(src)
                || mapped(dst)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => true,
    };
    if martian {
        return Err(DropReason::Martian);
    }
    let group = ip.dst.is_multicast() || ip.dst == IpAddr::V4(Ipv4Addr::BROADCAST) || ip.dst.is_unspecified();
    if group { Err(DropReason::NotForUs) } else { Ok(()) }
}
