//! What the program of the fast path does with a packet, in a few lines of our own: whether it takes it, what it counts, and how
//! the packet leaves.
//!
//! Never knows where entries are.

use crate::base::{Endpoint, Instant, Mac, Tunnel, TunnelChecksum};
use crate::fastpath::abi::{Counters, Entry, Joined, Method, Way};
use crate::wire::{End, Fragment, Ip, L4, Packet, decrement_ttl, encap, set_endpoint, set_macs, tcp};

/// Of the tunnels in scenarios.
const GUE_PORT: u16 = 6080;

/// A tunnel's outer IPv4 header without DF has any identification.
pub fn without_outer_id(mut frame: Vec<u8>) -> Vec<u8> {
    let is_tunnel = |frame: &[u8]| match frame[23] {
        4 | 41 | 47 => true,
        17 => frame[36..38] == GUE_PORT.to_be_bytes(),
        _ => false,
    };
    if frame[12..14] == [8, 0] && frame[20] & 0x40 == 0 && is_tunnel(&frame) {
        frame[18..20].fill(0);
        frame[24..26].fill(0);
    }
    frame
}

/// True for what the program looks at.
pub(super) fn is_plain(packet: &Packet) -> bool {
    let ip = &packet.ip;
    let header = if ip.src.is_ipv4() { 20 } else { 40 };
    let goes_on = match ip.l4 {
        L4::Tcp { flags, .. } => flags.ack() && !flags.syn() && !flags.fin() && !flags.rst(),
        L4::Udp { .. } => true,
        _ => false,
    };
    goes_on && ip.ttl > 1 && ip.fragment == Fragment::Whole && ip.l4_at == 14 + header
}

/// A datagram without a checksum.
pub(super) fn is_unsummed(packet: &Packet) -> bool {
    let at = packet.ip.l4_at + 6;
    matches!(packet.ip.l4, L4::Udp { .. }) && packet.buf.frame()[at..at + 2] == [0, 0]
}

pub(super) fn forward(packet: &mut Packet, entry: &Entry, is_request: bool, mac: Mac, own: Mac) -> Vec<u8> {
    decrement_ttl(packet.buf, packet.ip);
    let shift = entry.shift as i32;
    if is_tcp(packet) && entry.joined != Joined::default() {
        join(packet, &entry.joined, is_request);
    }
    match (entry.method, is_request) {
        (Method::Nat, true) => {
            if shift != 0 && is_tcp(packet) {
                tcp::shift_sequence(packet.buf, packet.ip, shift);
            }
            set_ends(packet, entry.other, entry.server);
        }
        (Method::Nat, false) => {
            if shift != 0 && is_tcp(packet) {
                tcp::shift_acknowledged(packet.buf, packet.ip, |_| shift.wrapping_neg());
            }
            set_ends(packet, entry.virt, entry.other);
        }
        (Method::Direct, _) => {}
        (Method::Ipip, _) => wrap(packet, entry, Tunnel::Ipip),
        (Method::Gre, _) => wrap(packet, entry, Tunnel::Gre { checksum: TunnelChecksum::None }),
        (Method::Gue, _) => {
            wrap(packet, entry, Tunnel::Gue { port: entry.server.port, checksum: TunnelChecksum::None });
        }
    }
    set_macs(packet.buf, mac, own);
    packet.buf.frame().to_vec()
}

/// What lies between ends that the director has joined.
fn join(packet: &mut Packet, joined: &Joined, is_request: bool) {
    let Joined { back, clocks: [client, server], windows } = *joined;
    let (value, echo) = if is_request { (client, server) } else { (server, client) };
    let bits = windows[usize::from(!is_request)];
    let window = u64::from(tcp::window(packet.frame(), packet.ip));
    let window = if bits < 0 { window >> -bits } else { window << bits };
    tcp::set_window(packet.buf, packet.ip, window.min(0xffff) as u16);
    tcp::shift_timestamps(packet.buf, packet.ip, value, echo.wrapping_neg());
    match is_request {
        true => tcp::shift_acknowledged(packet.buf, packet.ip, |_| (back as i32).wrapping_neg()),
        false => tcp::shift_sequence(packet.buf, packet.ip, back as i32),
    }
}

fn set_ends(packet: &mut Packet, src: Endpoint, dst: Endpoint) {
    set_endpoint(packet.buf, packet.ip, End::Source, src);
    set_endpoint(packet.buf, packet.ip, End::Destination, dst);
}

fn wrap(packet: &mut Packet, entry: &Entry, tunnel: Tunnel) {
    let inner = Ip { dont_fragment: packet.ip.dont_fragment && entry.keeps_df, ..*packet.ip };
    let outer = encap::Outer { src: entry.other.addr, dst: entry.server.addr, id: 0 };
    encap::wrap(packet.buf, &inner, tunnel, outer).unwrap();
}

fn is_tcp(packet: &Packet) -> bool {
    matches!(packet.ip.l4, L4::Tcp { .. })
}

pub(super) fn count(way: &mut Way, packet: &Packet, now: Instant) {
    let Counters { packets, bytes, seen, acknowledged } = &mut way.counters;
    *packets += 1;
    *bytes += packet.ip.total_len() as u64;
    *seen = now.0 * 1_000_000;
    if is_tcp(packet) {
        *acknowledged = tcp::acknowledged(packet.buf.frame(), packet.ip);
    }
}
