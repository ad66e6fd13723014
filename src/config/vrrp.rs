//! What the configuration's virtual routers are on its links, each of one family.

use std::net::IpAddr;

use super::draft::{Problems, VrrpDraft};
use super::link::PlannedLink;
use crate::base::{Family, LinkId};
use crate::vrrp::{Options, Rank};
use crate::wire::vrrp::Version;

/// The virtual routers, each of one family. `services` are the addresses of all services.
pub fn options(
    drafts: &[VrrpDraft],
    links: &[PlannedLink],
    services: &[IpAddr],
    problems: &mut Problems,
) -> Vec<Options> {
    let mut all: Vec<Options> = Vec::new();
    for draft in drafts {
        let Some(link) = link_of(draft, links, problems) else { continue };
        let said = draft.addresses.iter().map(|addr| addr.value);
        let mut addresses: Vec<IpAddr> = if said.len() > 0 { said.collect() } else { services.to_vec() };
        addresses.sort();
        addresses.dedup();
        if addresses.is_empty() {
            problems.add(&draft.place, "no address, and no service with one; name the addresses that move");
        }
        let fixed = links.iter().flat_map(|link| &link.addresses).map(|prefix| prefix.addr);
        for addr in fixed.filter(|addr| addresses.contains(addr)) {
            problems.add(&draft.place, format!("{addr} is a link's own address and does not move; name another"));
        }
        for family in [Family::V4, Family::V6] {
            let of_family = |addr: &IpAddr| Family::of(*addr) == family;
            let addresses: Vec<IpAddr> = addresses.iter().copied().filter(of_family).collect();
            if !addresses.is_empty() {
                let new = of_one_family(draft, link, addresses, problems);
                check_apart(&new, &all, draft, problems);
                all.push(new);
            }
        }
    }
    all
}

/// The link that a virtual router is on.
fn link_of(draft: &VrrpDraft, links: &[PlannedLink], problems: &mut Problems) -> Option<LinkId> {
    let index = match &draft.link {
        None => Some(0),
        Some(name) => links.iter().position(|link| link.device.tap.as_deref() == Some(&name.value)),
    };
    let found = index.filter(|index| links.get(*index).is_some_and(|link| link.device.bridge.is_some()));
    if found.is_none() {
        let place = draft.link.as_ref().map_or(&draft.place, |link| &link.place);
        problems.add(place, "no link on a bridge has this name; name the TAP of one");
    }
    found.map(|index| LinkId(index as u8))
}

fn of_one_family(draft: &VrrpDraft, link: LinkId, addresses: Vec<IpAddr>, problems: &mut Problems) -> Options {
    let (family, is_v2) = (Family::of(addresses[0]), draft.version != Version::V3);
    if is_v2 && family == Family::V6 {
        problems.add(&draft.place, format!("version 2 has no IPv6 ({}); use version 3", addresses[0]));
    }
    let peers: Vec<IpAddr> =
        draft.peers.iter().map(|peer| peer.value).filter(|peer| Family::of(*peer) == family).collect();
    if peers.is_empty() && !draft.peers.is_empty() {
        problems.add(&draft.place, format!("no peer of the family of {}; name one, or leave peers out", addresses[0]));
    }
    let rank = Rank { priority: draft.priority, interval: draft.interval, preempt: draft.preempt, is_v2 };
    let VrrpDraft { id, version, virtual_mac, covers, .. } = *draft;
    Options { link, id, version, rank, addresses, peers, virtual_mac, covers }
}

/// An address belongs to one virtual router, and a number is used once on a link.
fn check_apart(new: &Options, known: &[Options], draft: &VrrpDraft, problems: &mut Problems) {
    if known.iter().any(|other| new.is_of(other)) {
        problems.add(&draft.place, format!("a second virtual router {} on this link; give it another id", new.id));
    }
    for addr in new.addresses.iter().filter(|addr| known.iter().any(|other| other.addresses.contains(addr))) {
        problems.add(&draft.place, format!("{addr} belongs to another virtual router already; name it once"));
    }
}
