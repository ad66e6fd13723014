//! Other stations that claim an address of the director (RFC 5227 section 2.4, RFC 4862 section 5.4.4): it is said, and the
//! address is defended.
//!
//! Never gives an address up: clients and servers rely on it.

use std::net::IpAddr;
use std::time::Duration;

use super::Host;
use crate::base::{Instant, LinkId, Mac};
use crate::router::{Egress, Turn};
use crate::wire::Parsed;
use crate::wire::arp::ArpOp;
use crate::wire::ndp::Ndp;

/// RFC 5227 DEFEND_INTERVAL: two stations that both defend must not answer each other without end.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// Addresses that are defended within that time.
const AT_ONCE: usize = 256;

/// Claims that were answered of late.
#[derive(Default)]
pub struct Claims {
    defended: Vec<(IpAddr, Instant)>,
}

impl Claims {
    /// Looks for a claim in a message of ARP or neighbour discovery, and answers it.
    pub fn heed(&mut self, link: LinkId, parsed: &Parsed, host: &mut Host<'_>, turn: &mut Turn<impl Egress>) {
        let Some((mac, addr, how)) = claim(parsed) else { return };
        let own = |mac: Mac| host.router.links().any(|(_, link)| link.mac == mac);
        if !host.owns(addr) || host.router.virtuals.is_away(addr) || mac.is_multicast() || mac == Mac::ZERO || own(mac)
        {
            return;
        }
        // To an address of no net of the link routes lead: of several directors behind a router each has it.
        if !host.router.link(link).addresses.iter().any(|net| net.contains(addr)) {
            return;
        }
        self.defended.retain(|(_, at)| turn.now.since(*at) < DEFEND_INTERVAL);
        if self.defended.len() >= AT_ONCE || self.defended.iter().any(|(other, _)| *other == addr) {
            return;
        }
        self.defended.push((addr, turn.now));
        let name = &host.router.link(link).name;
        match how {
            How::Has => {
                log::warn!(
                    "{name}: {mac} claims {addr}, which is this director's; it is announced again. Take it from the other host"
                );
                host.router.announce(link, addr, turn);
            }
            // The answer to the probe is the defence.
            How::Wants => log::warn!(
                "{name}: {mac} probes for {addr}, to use it, and is told that it is this director's; give the other host another address"
            ),
        }
    }
}

/// What a station says of an address.
enum How {
    Has,
    Wants,
}

/// The station that a message says an address is at, or is to be at.
fn claim(parsed: &Parsed) -> Option<(Mac, IpAddr, How)> {
    match parsed {
        Parsed::Arp(arp) if arp.sender.1.is_unspecified() && arp.op == ArpOp::Request => {
            Some((arp.sender.0, IpAddr::V4(arp.target.1), How::Wants))
        }
        Parsed::Arp(arp) => Some((arp.sender.0, IpAddr::V4(arp.sender.1), How::Has)),
        Parsed::Ndp(Ndp::Advertisement { target, mac: Some(mac), .. }) => Some((*mac, IpAddr::V6(*target), How::Has)),
        Parsed::Ndp(Ndp::Solicitation { target, mac, sender }) if sender.is_unspecified() => {
            Some((*mac, IpAddr::V6(*target), How::Wants))
        }
        Parsed::Ndp(_) | Parsed::Ip(_) => None,
    }
}
