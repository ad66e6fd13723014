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
        let Some((mac, addr)) = claim(parsed) else { return };
        let own = |mac: Mac| host.router.links().any(|(_, link)| link.mac == mac);
        if !host.owns(addr) || mac.is_multicast() || mac == Mac::ZERO || own(mac) {
            return;
        }
        self.defended.retain(|(_, at)| turn.now.since(*at) < DEFEND_INTERVAL);
        if self.defended.len() >= AT_ONCE || self.defended.iter().any(|(other, _)| *other == addr) {
            return;
        }
        self.defended.push((addr, turn.now));
        let name = &host.router.link(link).name;
        log::warn!(
            "{name}: {mac} claims {addr}, which is this director's; it is announced again. Take it from the other host"
        );
        host.router.announce(link, addr, turn);
    }
}

/// The station that a message says an address is at.
fn claim(parsed: &Parsed) -> Option<(Mac, IpAddr)> {
    match parsed {
        Parsed::Arp(arp) => Some((arp.sender.0, IpAddr::V4(arp.sender.1))),
        Parsed::Ndp(Ndp::Advertisement { target, mac: Some(mac), .. }) => Some((*mac, IpAddr::V6(*target))),
        Parsed::Ndp(_) | Parsed::Ip(_) => None,
    }
}
