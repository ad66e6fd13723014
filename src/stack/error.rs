//! ICMP errors that the director sends, and their limit.
//!
//! Never an error about an error, nor about a later fragment of IPv4 (RFC 1122 3.2.2).

use std::net::IpAddr;

use super::{Host, Stack};
use crate::base::Family;
use crate::router::{Egress, Refusal, Router, Turn};
use crate::wire::icmp::{self, IcmpError};
use crate::wire::{Fragment, Ip, L4, Packet};

/// An error that is to be sent.
pub struct ErrorAbout<'a> {
    /// What it says.
    pub error: IcmpError,
    /// The packet it is about, from the IP header on.
    pub packet: &'a [u8],
    /// The address it comes from; `None`: the link's.
    pub from: Option<IpAddr>,
    /// The sender of the packet.
    pub to: IpAddr,
}

impl Stack {
    /// Counts a packet that went no further; its sender is told why, from `own` if that is given.
    #[cold]
    pub fn refuse(&mut self, packet: &Packet, refusal: Refusal, host: Host, turn: &mut Turn<impl Egress>) {
        turn.drop(refusal.reason);
        let Some(error) = refusal.error.filter(|_| may_be_told(packet.ip)) else { return };
        let (from, to) = (host.speaks_as(packet.ip.dst), packet.ip.src);
        self.send_error(&ErrorAbout { error, packet: packet.bytes(), from, to }, host.router, turn);
    }

    /// Writes and sends an error, unless too many were sent of late. Sizes of packets are told without a limit.
    pub fn send_error(&mut self, about: &ErrorAbout, router: &mut Router, turn: &mut Turn<impl Egress>) {
        let ErrorAbout { error, packet, from, to } = *about;
        let Ok(route) = router.route(to) else { return };
        let Some(source) = from.or_else(|| router.source(route.link, route.next_hop, to)) else { return };
        if !is_too_big(error, Family::of(to)) && !self.icmp_limit.allows(turn.now) {
            return;
        }
        let id = router.fresh_id();
        turn.lend(|turn, frame| {
            icmp::error(frame, error, packet, source, to, id);
            router.send_own(frame, &route, turn);
        });
    }
}

/// True if the sender of a packet may be told of it.
pub(super) fn may_be_told(ip: &Ip) -> bool {
    let about_error = matches!(ip.l4, L4::Icmp { icmp_type, .. } if icmp::is_error(ip, icmp_type));
    let later = ip.fragment == Fragment::Later && ip.family() == Family::V4;
    !later && !about_error
}

fn is_too_big(error: IcmpError, family: Family) -> bool {
    let by_code =
        matches!((error, family), (IcmpError::Raw(3, 4, _), Family::V4) | (IcmpError::Raw(2, _, _), Family::V6));
    by_code || matches!(error, IcmpError::TooBig(_))
}
