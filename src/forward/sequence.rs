//! Sequence numbers of FULL-NAT: many clients share one local endpoint after the other, and a server that still has it in
//! TIME_WAIT takes a new conn only if its numbers rise (RFC 9293 section 3.6.1, RFC 6191).
//!
//! ```text
//! request   sequence + shift; a SYN leaves its timestamps behind, for each client's clock is another (RFC 7323 section 5)
//! reply     acknowledged - shift, selective acknowledgements too
//! error     the same number of the packet that it quotes, the other way
//! ```
//! Pure.

use crate::wire::quote::{self, Quote};
use crate::wire::{L4, Packet, tcp, tcp_option};

/// A segment on its way to the server.
#[inline]
pub(super) fn request(packet: &mut Packet, shift: u32) {
    let L4::Tcp { flags, .. } = packet.ip.l4 else { return };
    if shift == 0 {
        return;
    }
    tcp::shift_sequence(packet.buf, packet.ip, shift as i32);
    if flags.syn() {
        tcp_option::blank(packet.buf, packet.ip, tcp_option::TIMESTAMPS, 10);
    }
}

/// A segment on its way to the client.
#[inline]
pub(super) fn reply(packet: &mut Packet, shift: u32) {
    let L4::Tcp { flags, .. } = packet.ip.l4 else { return };
    if shift != 0 && flags.ack() {
        tcp::shift_acknowledged(packet.buf, packet.ip, |_| (shift as i32).wrapping_neg());
    }
}

/// An error about a request, on its way to the client; its checksum is for the caller to make.
pub(super) fn quoted_request(packet: &mut Packet, quote: &Quote, shift: u32) {
    if shift != 0 {
        quote::shift_sequence(packet.buf, quote, packet.ip.end, shift.wrapping_neg());
    }
}

/// An error about a reply, on its way to the server.
pub(super) fn quoted_reply(packet: &mut Packet, quote: &Quote, shift: u32) {
    if shift != 0 {
        quote::shift_acknowledged(packet.buf, quote, packet.ip.end, shift);
    }
}
