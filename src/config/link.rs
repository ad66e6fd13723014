//! One link of the plan, and what is asked of it.
//!
//! Never opens a device.

use std::net::IpAddr;

use super::draft::LinkDraft;
use super::place::{At, Problems};
use crate::base::{Mac, Medium, Prefix};
use crate::io::{self, LinkConfig};
use crate::outbound::Policy;

/// One link of the plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedLink {
    /// The device.
    pub device: LinkConfig,
    /// Own addresses.
    pub addresses: Vec<Prefix>,
    /// What holds for packets of no service.
    pub policy: Policy,
}

/// What a link of the draft will be; `None` if something of it is wrong.
pub fn plan(link: &LinkDraft, problems: &mut Problems) -> Option<PlannedLink> {
    let before = problems.0.len();
    for address in &link.addresses {
        own_address(address, problems);
    }
    let Some(first) = link.addresses.first() else {
        problems.add(&link.place, "no address; the director needs one of its own there, like 10.0.0.2/24");
        return None;
    };
    if let Some(mac) = link.mac.as_ref().filter(|mac| mac.value.is_multicast() || mac.value == Mac::ZERO) {
        problems.add(&mac.place, "not the address of one station; its first byte must be even, like 02");
    }
    tun(link, problems);
    for name in link.bridge.iter().chain(&link.tap).chain(&link.tun) {
        if let Err(error) = io::check_name(&name.value) {
            problems.add(&name.place, error);
        }
    }
    mtu(link, problems);
    let medium = if link.tun.is_some() { Medium::Ip } else { Medium::Ethernet };
    let device = LinkConfig {
        tap: link.tap.as_ref().or(link.tun.as_ref()).map(|name| name.value.clone()),
        bridge: link.bridge.as_ref().map(|name| name.value.clone()),
        mtu: link.mtu.as_ref().map(|mtu| mtu.value),
        offload: link.offload,
        mac: match (medium, &link.mac) {
            (Medium::Ip, _) => Mac::ZERO,
            (Medium::Ethernet, Some(mac)) => mac.value,
            (Medium::Ethernet, None) => mac_for(first.value.addr),
        },
        medium,
    };
    let addresses = link.addresses.iter().map(|address| address.value).collect();
    let policy = Policy { forward: link.forward, masquerade: link.masquerade.clone() };
    (problems.0.len() == before).then_some(PlannedLink { device, addresses, policy })
}

/// Links that a director can have: a `LinkId` has eight bits.
const MOST: usize = 256;

/// There are not too many links. They may share a bridge, but no TAP, no address, and no MAC on one bridge.
pub fn differ(said: &[LinkDraft], links: &[PlannedLink], problems: &mut Problems) {
    for link in said.iter().skip(MOST) {
        problems.add(&link.place, format!("the director has {MOST} links at most; leave this one out"));
    }
    if said.len() != links.len() {
        return;
    }
    for (index, (link, draft)) in links.iter().zip(said).enumerate() {
        let others = || links[..index].iter();
        if let Some(tap) = draft
            .tap
            .as_ref()
            .or(draft.tun.as_ref())
            .filter(|tap| others().any(|other| other.device.tap.as_ref() == Some(&tap.value)))
        {
            problems.add(&tap.place, "another link has this TAP; give each link one of its own");
        }
        let taken = |prefix: &Prefix| others().flat_map(|other| &other.addresses).any(|own| own.addr == prefix.addr);
        for address in draft.addresses.iter().filter(|address| taken(&address.value)) {
            problems.add(&address.place, "another link has this address; name it once");
        }
        let ethernet = link.device.medium == Medium::Ethernet;
        let same =
            |other: &PlannedLink| other.device.bridge == link.device.bridge && other.device.mac == link.device.mac;
        if ethernet && others().any(same) {
            let place = draft.mac.as_ref().map_or(&draft.place, |mac| &mac.place);
            problems
                .add(place, format!("another link on the same bridge has the MAC {}; give another", link.device.mac));
        }
    }
}

/// An address that a host can have.
fn own_address(address: &At<Prefix>, problems: &mut Problems) {
    let (prefix, addr) = (address.value, address.value.addr);
    if addr.is_multicast() || addr.is_unspecified() || addr.is_loopback() || prefix.broadcast() == Some(addr) {
        problems.add(&address.place, "not an address that a host can have; give one like 10.0.0.2/24");
    }
}

/// An MTU must carry the smallest packets that may not be cut (RFC 791, RFC 8200 5).
fn mtu(link: &LinkDraft, problems: &mut Problems) {
    let six = link.addresses.iter().any(|address| address.value.addr.is_ipv6());
    let (least, family) = if six { (1280, "IPv6") } else { (68, "IPv4") };
    if let Some(mtu) = link.mtu.as_ref().filter(|mtu| mtu.value < least) {
        let what = format!("too small for {family}; use {least} to 65521, or leave it out to take the bridge's");
        problems.add(&mtu.place, what);
    }
}

/// A TUN is not on a bridge and has no MAC: its host routes what comes and goes.
fn tun(link: &LinkDraft, problems: &mut Problems) {
    if link.tun.is_none() {
        return;
    }
    let places = [link.bridge.as_ref().map(|at| &at.place), link.tap.as_ref().map(|at| &at.place)];
    for place in places.into_iter().chain([link.mac.as_ref().map(|at| &at.place)]).flatten() {
        problems.add(place, "not with a TUN, to which the host routes packets without Ethernet; leave one of them out");
    }
}

/// A MAC that a restarted director has again, so that neighbours need not learn it anew: `02:74` and four bytes.
fn mac_for(addr: IpAddr) -> Mac {
    let tail = match addr {
        IpAddr::V4(addr) => addr.octets(),
        IpAddr::V6(addr) => {
            let bytes = addr.octets();
            [bytes[12], bytes[13], bytes[14], bytes[15]]
        }
    };
    Mac([0x02, 0x74, tail[0], tail[1], tail[2], tail[3]])
}
