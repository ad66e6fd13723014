//! IPv4 options and IPv6 extension headers: refused where they cannot be, and the way recorded where that is asked for.
//!
//! As a Linux router with its defaults: no source routes. Time stamps are left to others.

use std::net::IpAddr;

use super::owner::Ownership;
use crate::base::DropReason;
use crate::router::{Refusal, Route, apply_verdict};
use crate::wire::icmp::IcmpError;
use crate::wire::options::{self, OptionAction, record};
use crate::wire::{Packet, extension};

impl Ownership<'_> {
    /// Checks the options of a packet that came; one for this director records the address it came to. Of IPv6, every
    /// node on the way reads the hop-by-hop options, and no others.
    #[inline]
    pub(super) fn check_options(&self, packet: &mut Packet) -> Result<(), Refusal> {
        apply_verdict(extension::on_the_way(packet.frame(), packet.ip))?;
        match options::parse(packet.frame(), packet.ip) {
            OptionAction::Nothing => {}
            OptionAction::SourceRoute => return Err(DropReason::SourceRoute.into()),
            OptionAction::Bad(at) => return Err(Refusal::with(DropReason::Malformed, IcmpError::BadOption(at))),
            OptionAction::Record(option) => {
                if let (IpAddr::V4(addr), true) = (packet.ip.dst, self.owns(packet.ip.dst)) {
                    record(packet.buf, option, addr);
                }
            }
        }
        Ok(())
    }

    /// A packet that passes records the address it leaves from: the virtual one if that is its source now, else the link's.
    #[inline]
    pub(super) fn record_passage(&self, packet: &mut Packet, route: &Route) {
        if let OptionAction::Record(option) = options::parse(packet.frame(), packet.ip) {
            self.record(option, packet, route);
        }
    }

    #[cold]
    fn record(&self, option: u8, packet: &mut Packet, route: &Route) {
        let ip = &packet.ip;
        let own = if self.owns(ip.src) { Some(ip.src) } else { self.router.source(route.link, route.next_hop, ip.dst) };
        if let Some(IpAddr::V4(addr)) = own {
            record(packet.buf, option, addr);
        }
    }
}
