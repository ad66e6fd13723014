//! What kernel IPVS (6.1) gets wrong, to be had on request (`kernel_faults`), for comparison with recordings.
//!
//! ```text
//! IPv6 with extension headers   TCP flags and SCTP chunks are read where they would be without, so that a SYN behind
//!                               destination options looks like a segment without flags, and the conn is closed
//! ICMPv6 errors from servers    NAT verifies their checksum without the pseudo-header, so that every right one is
//!                               dropped, "packet too big" among them
//! ```

use crate::base::Family;
use crate::settings::Settings;
use crate::wire::{ETH_LEN, L4, Packet, TcpFlags, checksum, icmp};

const IPV6_LEN: usize = 40;
/// Where TCP's flags and SCTP's first chunk type are in their headers.
const TCP_FLAGS: usize = 13;
const SCTP_CHUNK: usize = 12;

/// The layer 4 that moves a conn's state.
#[inline(always)]
pub(super) fn layer4_for_state(packet: &Packet, settings: &Settings) -> L4 {
    if settings.kernel_faults && packet.ip.has_extensions() { layer4_misread(packet) } else { packet.ip.l4 }
}

/// What stands where layer 4 would be without extension headers.
#[cold]
fn layer4_misread(packet: &Packet) -> L4 {
    let ip = &packet.ip;
    let fixed = ETH_LEN + IPV6_LEN;
    let byte = |offset: usize| packet.frame().get(fixed + offset).copied().unwrap_or(0);
    match ip.l4 {
        L4::Tcp { sport, dport, .. } => L4::Tcp { sport, dport, flags: TcpFlags(byte(TCP_FLAGS)) },
        L4::Sctp { sport, dport, .. } => L4::Sctp { sport, dport, chunk: byte(SCTP_CHUNK) },
        L4::Udp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => ip.l4,
    }
}

/// Whether the checksum of an error from a real server's side counts as right.
pub(super) fn trusts_error(packet: &Packet, settings: &Settings) -> bool {
    if settings.kernel_faults && packet.ip.family() == Family::V6 {
        return checksum::sum(&packet.frame()[packet.ip.l4_at..packet.ip.end]) == 0xffff;
    }
    icmp::checksum_is_right(packet.frame(), packet.ip)
}
