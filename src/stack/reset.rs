//! Resets that the director sends: in answer to a segment, and to the end of a conn.
//!
//! Never decides who gets one.

use crate::base::Endpoint;
use crate::router::{Egress, Router, Turn};
use crate::wire::{Packet, tcp};

/// Answers a segment by the reset that RFC 9293 3.10.7.1 says, if it is to be answered.
pub fn answer_by_reset(packet: &Packet, router: &mut Router, turn: &mut Turn<impl Egress>) {
    turn.lend(|turn, reset| {
        if tcp::reset_for(reset, packet.frame(), packet.ip) {
            router.send_to(reset, packet.ip.src, turn);
        }
    });
}

/// Resets `dst`, an end of a conn, as if `src` did; `expected` is the sequence number that it expects next.
pub fn reset_end((src, dst): (Endpoint, Endpoint), expected: u32, router: &mut Router, turn: &mut Turn<impl Egress>) {
    turn.lend(|turn, reset| {
        tcp::reset(reset, src, dst, expected);
        router.send_to(reset, dst.addr, turn);
    });
}
