//! Packets whose next hop did not answer: who sent them is told, as by any router (RFC 1812 5.2.7.1, RFC 4443 3.1).
//!
//! The packet is told of as it was before it was rewritten: the error goes the way of one that comes from outside.

use super::Director;
use crate::base::Instant;
use crate::router::Egress;
use crate::wire::icmp::{self, IcmpError};
use crate::wire::{self, ETH_LEN, Fragment, L4, PacketBuf};

impl Director {
    /// Tells the senders of what was given up.
    pub(super) fn tell_of_undelivered(&mut self, now: Instant, out: &mut impl Egress) {
        while let Some(frame) = self.router.take_undelivered() {
            let mut error = self.scratch.take().unwrap_or_default();
            if self.complain_of(&frame, &mut error, now) {
                self.send_error(&mut error, now, out);
            }
            self.scratch = Some(error);
        }
    }

    /// Writes the error about a packet as it was to leave; false if none is due.
    fn complain_of(&mut self, frame: &[u8], error: &mut PacketBuf, now: Instant) -> bool {
        let Ok(ip) = wire::ip_packet(frame) else { return false };
        let about_error = matches!(ip.l4, L4::Icmp { icmp_type, .. } if icmp::is_error(&ip, icmp_type));
        if about_error || ip.fragment == Fragment::Later || !self.may_complain(now) {
            return false;
        }
        let Ok(route) = self.router.route(ip.src) else { return false };
        let Some(source) = self.router.source(route.link, route.next_hop, ip.src) else { return false };
        let id = self.fresh_id();
        icmp::error(error, IcmpError::HostUnreachable, &frame[ETH_LEN..ip.end], source, ip.src, id);
        true
    }

    /// An error about a packet of a conn or a tunnel is translated like any other; the rest goes to who is named.
    fn send_error(&mut self, error: &mut PacketBuf, now: Instant, out: &mut impl Egress) {
        let Ok(mut ip) = wire::ip_packet(error.frame()) else { return };
        match self.icmp_error(error, &mut ip, now, out) {
            Some(done) => {
                self.router.ledger.generated += 1;
                if let Err(reason) = done {
                    self.router.ledger.drop(reason);
                }
            }
            None if self.owns(ip.dst) => {}
            None => self.send_back(error, ip.dst, now, out),
        }
    }
}
