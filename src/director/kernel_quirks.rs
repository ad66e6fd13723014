//! What kernel IPVS (6.1) gets wrong, to be had on request (`kernel_faults`) and by nobody else.
//!
//! ```text
//! IPv6 with extension headers   TCP flags and SCTP chunks are read where they would be without, so that a SYN behind
//!                               destination options looks like a segment without flags, and the conn is closed
//! ICMPv6 errors from servers    NAT verifies their checksum without the pseudo-header, so that every right one is
//!                               dropped, "packet too big" among them
//! ```

use super::Director;
use crate::base::Family;
use crate::wire::{ETH_LEN, Ip, L4, PacketBuf, TcpFlags, checksum, icmp};

const IPV6_LEN: usize = 40;
/// Where TCP's flags and SCTP's first chunk type are in their headers.
const TCP_FLAGS: usize = 13;
const SCTP_CHUNK: usize = 12;

impl Director {
    /// The layer 4 that moves a conn's state.
    #[inline]
    pub(super) fn layer4_for_state(&self, buf: &PacketBuf, ip: &Ip) -> L4 {
        let fixed = ETH_LEN + IPV6_LEN;
        if !self.settings.kernel_faults || ip.family() == Family::V4 || ip.l4_at == fixed {
            return ip.l4;
        }
        let byte = |offset: usize| buf.frame().get(fixed + offset).copied().unwrap_or(0);
        match ip.l4 {
            L4::Tcp { sport, dport, .. } => L4::Tcp { sport, dport, flags: TcpFlags(byte(TCP_FLAGS)) },
            L4::Sctp { sport, dport, .. } => L4::Sctp { sport, dport, chunk: byte(SCTP_CHUNK) },
            L4::Udp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => ip.l4,
        }
    }

    /// Whether an error from a real server's side may be believed.
    pub(super) fn trusts_error(&self, buf: &PacketBuf, ip: &Ip) -> bool {
        if self.settings.kernel_faults && ip.family() == Family::V6 {
            return checksum::sum(&buf.frame()[ip.l4_at..ip.end]) == 0xffff;
        }
        icmp::checksum_is_right(buf.frame(), ip)
    }
}
