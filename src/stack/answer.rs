//! What the director's own stack answers: echo replies, resets, "nobody listens here".
//!
//! Never looks for a service.

use super::answer_by_reset;
use crate::base::{Consumed, DropReason, Family, Proto};
use crate::router::{Egress, Refusal, Router, Turn, apply_verdict};
use crate::wire::icmp::{self, IcmpError};
use crate::wire::{L4, Packet, extension};

/// A packet to an address of the director that no service takes.
pub fn answer(packet: &mut Packet, router: &mut Router, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
    apply_verdict(extension::at_the_end(packet.frame(), packet.ip))?;
    let ip = &packet.ip;
    match ip.l4 {
        L4::Icmp { icmp_type, .. } if icmp::is_echo_request(ip, icmp_type) => echo(packet, router, turn),
        L4::Icmp { .. } => Err(DropReason::LocalIcmp.into()),
        L4::Tcp { .. } => {
            answer_by_reset(packet, router, turn);
            Err(DropReason::LocalClosed.into())
        }
        L4::Udp { .. } => Err(Refusal::with(DropReason::LocalClosed, IcmpError::PortUnreachable)),
        L4::Sctp { .. } | L4::Other | L4::Truncated => Err(unknown_protocol(packet)),
    }
}

/// Hosts with tunnel handlers answer "port" for a tunnel that is not configured.
fn unknown_protocol(packet: &Packet) -> Refusal {
    match packet.ip.proto {
        Proto::IPIP | Proto::IPV6 | Proto::GRE => Refusal::with(DropReason::LocalClosed, IcmpError::PortUnreachable),
        _ if packet.ip.family() == Family::V6 => {
            let told = apply_verdict(extension::unknown_protocol(packet.frame(), packet.ip));
            told.err().unwrap_or(DropReason::LocalClosed.into())
        }
        _ => Refusal::with(DropReason::LocalClosed, IcmpError::ProtocolUnreachable),
    }
}

fn echo(packet: &Packet, router: &mut Router, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
    if !icmp::checksum_is_right(packet.frame(), packet.ip) {
        return Err(DropReason::BadIcmp.into());
    }
    let id = router.fresh_id();
    turn.lend(|turn, reply| {
        icmp::echo_reply(reply, packet.frame(), packet.ip, id);
        router.send_to(reply, packet.ip.src, turn);
    });
    turn.consume(Consumed::Echo);
    Ok(())
}
