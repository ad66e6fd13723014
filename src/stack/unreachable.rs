//! Errors about packets that the director held and gave up: the next hop did not answer (RFC 1812 5.2.7.1, RFC 4443 3.1),
//! or other fragments did not come (RFC 792, RFC 4443 3.3).
//!
//! Writes and sends the error; whether it concerns a conn is for the director to find out.

use super::error::{ErrorAbout, may_be_told};
use super::{Host, Stack};
use crate::base::{Family, Instant};
use crate::router::{Egress, Router, Turn};
use crate::wire::icmp::{self, IcmpError};
use crate::wire::{ETH_LEN, Fragment, PacketBuf, ip_packet};

/// "Fragment reassembly time exceeded", by family.
const TIME_EXCEEDED: u8 = 11;
const TIME_EXCEEDED6: u8 = 3;
const REASSEMBLY: u8 = 1;

impl Stack {
    /// Writes the error about a frame as it was to leave, from the link's address; false if none is due.
    pub fn write_unreachable(
        &mut self,
        error: &mut PacketBuf,
        frame: &[u8],
        router: &mut Router,
        now: Instant,
    ) -> bool {
        let Ok(ip) = ip_packet(frame) else { return false };
        if !may_be_told(&ip) || ip.fragment == Fragment::Later || !self.icmp_limit.allows(now) {
            return false;
        }
        let Ok(route) = router.route(ip.src) else { return false };
        let Some(source) = router.source(route.link, route.next_hop, ip.src) else { return false };
        let id = router.fresh_id();
        icmp::error(error, IcmpError::HostUnreachable, &frame[ETH_LEN..ip.end], source, ip.src, id);
        true
    }

    /// Gives up datagrams that did not become complete in time; the sender of one to the director is told.
    pub fn expire_fragments(&mut self, host: &mut Host, turn: &mut Turn<impl Egress>) {
        while let Some(first) = self.give_up_datagram(turn) {
            let Some(first) = first else { continue };
            let mut frame = vec![0; ETH_LEN];
            frame.extend_from_slice(&first);
            let Ok(ip) = ip_packet(&frame) else { continue };
            if !host.owns(ip.dst) {
                continue;
            }
            let icmp_type = if ip.family() == Family::V4 { TIME_EXCEEDED } else { TIME_EXCEEDED6 };
            let error = IcmpError::Raw(icmp_type, REASSEMBLY, 0);
            let about = ErrorAbout { error, packet: &first, from: host.speaks_as(ip.dst), to: ip.src };
            self.send_error(&about, host.router, turn);
        }
    }
}
