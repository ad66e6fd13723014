//! IPv4 options: refused where they cannot be, and the way recorded where that is asked for.
//!
//! As a Linux router with its defaults: no source routes. Time stamps are left to others.

use std::net::IpAddr;

use super::Director;
use crate::base::{DropReason, Instant};
use crate::neigh::{Egress, Route};
use crate::wire::icmp::Complaint;
use crate::wire::options::{Wish, record, wish};
use crate::wire::{Ip, PacketBuf};

impl Director {
    /// Looks at the options of a packet as it comes; what is for this director records the address it came to.
    pub(super) fn check_options(
        &mut self,
        buf: &mut PacketBuf,
        ip: &Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        match wish(buf.frame(), ip) {
            Wish::Nothing => {}
            Wish::SourceRoute => return Err(DropReason::SourceRoute),
            Wish::Bad(at) => {
                self.complain(Complaint::BadOption(at), buf, ip, now, out);
                return Err(DropReason::Malformed);
            }
            Wish::Record(option) => {
                if let (IpAddr::V4(addr), true) = (ip.dst, self.owns(ip.dst)) {
                    record(buf, option, addr);
                }
            }
        }
        Ok(())
    }

    /// What passes records the address it leaves from: the virtual one if that is its source now, else the link's.
    pub(super) fn record_passage(&self, buf: &mut PacketBuf, ip: &Ip, route: &Route) {
        let Wish::Record(option) = wish(buf.frame(), ip) else { return };
        let own = if self.owns(ip.src) { Some(ip.src) } else { self.router.source(route.link, route.next_hop, ip.dst) };
        if let Some(IpAddr::V4(addr)) = own {
            record(buf, option, addr);
        }
    }
}
