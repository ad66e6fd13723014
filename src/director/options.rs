//! IPv4 options and IPv6 extension headers: refused where they cannot be, and the way recorded where that is asked for.
//!
//! As a Linux router with its defaults: no source routes. Time stamps are left to others.

use std::net::IpAddr;

use super::Director;
use crate::base::{DropReason, Instant};
use crate::router::{Egress, Route};
use crate::wire::extension::{self, Verdict};
use crate::wire::icmp::IcmpError;
use crate::wire::options::{self, OptionAction, record};
use crate::wire::{Ip, PacketBuf};

/// ICMPv6 type (RFC 4443 3.4).
const PARAMETER_PROBLEM: u8 = 4;

impl Director {
    /// Looks at the options of a packet as it comes; what is for this director records the address it came to. Of IPv6
    /// every node on the way reads the hop-by-hop options, and no others.
    pub(super) fn check_options(
        &mut self,
        buf: &mut PacketBuf,
        ip: &Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        self.abide(extension::on_the_way(buf.frame(), ip), buf, ip, now, out)?;
        match options::parse(buf.frame(), ip) {
            OptionAction::Nothing => {}
            OptionAction::SourceRoute => return Err(DropReason::SourceRoute),
            OptionAction::Bad(at) => {
                self.complain(IcmpError::BadOption(at), buf, ip, now, out);
                return Err(DropReason::Malformed);
            }
            OptionAction::Record(option) => {
                if let (IpAddr::V4(addr), true) = (ip.dst, self.owns(ip.dst)) {
                    record(buf, option, addr);
                }
            }
        }
        Ok(())
    }

    /// Does what an IPv6 extension header asks for.
    pub(super) fn abide(
        &mut self,
        verdict: Verdict,
        buf: &PacketBuf,
        ip: &Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        match verdict {
            Verdict::Good => return Ok(()),
            Verdict::Drop => {}
            Verdict::Tell(code, at) => self.complain(IcmpError::Raw(PARAMETER_PROBLEM, code, at), buf, ip, now, out),
        }
        Err(DropReason::ExtensionHeader)
    }

    /// What passes records the address it leaves from: the virtual one if that is its source now, else the link's.
    pub(super) fn record_passage(&self, buf: &mut PacketBuf, ip: &Ip, route: &Route) {
        let OptionAction::Record(option) = options::parse(buf.frame(), ip) else { return };
        let own = if self.owns(ip.src) { Some(ip.src) } else { self.router.source(route.link, route.next_hop, ip.dst) };
        if let Some(IpAddr::V4(addr)) = own {
            record(buf, option, addr);
        }
    }
}
