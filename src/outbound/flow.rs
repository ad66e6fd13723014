//! How a packet names its flow: ports, or the identifier of an echo (RFC 5508 section 3).
//!
//! Pure: reads and edits one packet.

use crate::base::{Endpoint, Proto, Tuple};
use crate::wire::icmp;
use crate::wire::quote::{self, Quote};
use crate::wire::{End, Ip, L4, Packet, set_address, set_echo_id, set_endpoint};

/// Type of the chunk that opens an association (RFC 9260 3.2).
const SCTP_INIT: u8 = 1;

/// The flow of a packet from its opener: of an echo the identifier stands for the opener's port, the other one is 0.
pub(super) fn outward(packet: &Packet) -> Option<Tuple> {
    match packet.ip.l4 {
        L4::Icmp { icmp_type, .. } if icmp::is_echo_request(packet.ip, icmp_type) => Some(echo(packet)),
        _ => packet.ip.tuple(),
    }
}

/// The flow of a packet to its opener, as the opener's packets name it.
pub(super) fn inward(packet: &Packet) -> Option<Tuple> {
    match packet.ip.l4 {
        L4::Icmp { icmp_type, .. } if icmp::is_echo_reply(packet.ip, icmp_type) => {
            let Tuple { proto, src, dst } = echo(packet);
            Some(Tuple { proto, src: Endpoint::new(dst.addr, src.port), dst: Endpoint::new(src.addr, 0) })
        }
        _ => packet.ip.tuple().map(Tuple::reversed),
    }
}

fn echo(packet: &Packet) -> Tuple {
    let id = (icmp::second_word(packet.frame(), packet.ip) >> 16) as u16;
    Tuple { proto: packet.ip.proto, src: Endpoint::new(packet.ip.src, id), dst: Endpoint::new(packet.ip.dst, 0) }
}

/// The flow of a packet that an error quotes, which was sent by the opener.
pub(super) fn quoted(packet: &Packet, quote: &Quote) -> Option<Tuple> {
    quote.tuple().or_else(|| {
        let id = quote::echo_id(packet.frame(), quote, packet.ip.end)?;
        let (src, dst) = (Endpoint::new(quote.src, id), Endpoint::new(quote.dst, 0));
        Some(Tuple { proto: quote.proto, src, dst })
    })
}

/// The flow of a packet that an error quotes, which was sent to the opener.
pub(super) fn quoted_answer(packet: &Packet, quote: &Quote) -> Option<Tuple> {
    quote.tuple().map(Tuple::reversed).or_else(|| {
        let id = quote::echo_id(packet.frame(), quote, packet.ip.end)?;
        let (src, dst) = (Endpoint::new(quote.dst, id), Endpoint::new(quote.src, 0));
        Some(Tuple { proto: quote.proto, src, dst })
    })
}

/// True for a packet that may begin a flow. What else comes from a server is the answer to one that was forwarded to it.
pub(super) fn opens(ip: &Ip) -> bool {
    match ip.l4 {
        L4::Tcp { flags, .. } => flags.syn() && !flags.ack() && !flags.rst(),
        L4::Udp { .. } => true,
        L4::Sctp { chunk, .. } => chunk == SCTP_INIT,
        L4::Icmp { icmp_type, .. } => icmp::is_echo_request(ip, icmp_type),
        L4::Other | L4::Truncated => false,
    }
}

/// Gives one end of a packet another endpoint.
pub(super) fn rewrite(packet: &mut Packet, end: End, to: Endpoint) {
    if let L4::Icmp { .. } = packet.ip.l4 {
        set_address(packet.buf, packet.ip, end, to.addr);
        set_echo_id(packet.buf, packet.ip, to.port);
        return;
    }
    set_endpoint(packet.buf, packet.ip, end, to);
}

/// Gives one end of an error, and the same end of what it quotes, another endpoint.
pub(super) fn rewrite_error(packet: &mut Packet, quote: &Quote, (end, quoted): (End, End), to: Endpoint) {
    set_address(packet.buf, packet.ip, end, to.addr);
    quote::set_end(packet.buf, quote, quoted, to);
    if matches!(quote.proto, Proto::ICMP | Proto::ICMP6) {
        quote::set_echo_id(packet.buf, quote, to.port);
    }
    icmp::set_checksum(packet.buf, packet.ip);
}
