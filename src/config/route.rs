//! Static routes and default gateways of a draft, each by a neighbour that some link has.
//!
//! Never looks at the host's routes.

use std::net::IpAddr;

use super::draft::Draft;
use super::hop::Hop;
use super::link::PlannedLink;
use super::place::{At, Problems};
use crate::base::{Family, LinkId, Medium, Prefix};
use crate::router::is_link_local;

/// A static route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedRoute {
    /// Where it leads.
    pub to: Prefix,
    /// The neighbour that it goes by.
    pub via: IpAddr,
    /// The link that the neighbour is on, where its address does not tell.
    pub link: Option<LinkId>,
}

/// Static routes, then the default gateways; every one by a neighbour.
pub(super) fn routes(draft: &Draft, links: &[PlannedLink], problems: &mut Problems) -> Vec<PlannedRoute> {
    let gateways = draft.gateways.iter().map(|via| (everything(via.value.addr), via));
    let routes = draft.routes.iter().map(|route| (route.to.value, &route.via)).chain(gateways);
    let mut known: Vec<PlannedRoute> = Vec::new();
    for (to, At { value: hop, place }) in routes {
        let near = egress_links(hop, links);
        if Family::of(to.addr) != Family::of(hop.addr) {
            problems.add(place, format!("not of the family of {to}; name a neighbour of the same"));
        } else if near.is_empty() {
            problems.add(place, not_a_neighbour(hop));
        } else if near.len() > 1 && is_link_local(hop.addr) {
            problems.add(place, format!("a neighbour on any link; name the TAP too, like {}%tap0", hop.addr));
        } else if links.iter().flat_map(|link| &link.addresses).any(|prefix| prefix.addr == hop.addr) {
            problems.add(place, "the director itself; name another neighbour");
        } else if known.iter().any(|other| other.to.len == to.len && other.to.contains(to.addr)) {
            problems.add(place, format!("a second way to {to}; name one"));
        }
        let link = near.first().copied().filter(|_| is_link_local(hop.addr));
        known.push(PlannedRoute { to, via: hop.addr, link });
    }
    known
}

fn not_a_neighbour(hop: &Hop) -> String {
    match &hop.link {
        Some(link) => format!("no link with IPv6 has the name {link}; name one that has"),
        None => "not in the net of any address of the director; name a neighbour".into(),
    }
}

/// The links that a neighbour may be on; a link-local one may be on every link that speaks IPv6.
fn egress_links(hop: &Hop, links: &[PlannedLink]) -> Vec<LinkId> {
    let is_near = |link: &PlannedLink| {
        let near = |prefix: &Prefix| prefix.contains(hop.addr) || (is_link_local(hop.addr) && prefix.addr.is_ipv6());
        // On a TUN there are no neighbours: the host routes.
        link.device.medium == Medium::Ethernet
            && link.addresses.iter().any(near)
            && (hop.link.is_none() || hop.link == link.device.tap)
    };
    let near = links.iter().enumerate().filter(|(_, link)| is_near(link));
    near.map(|(index, _)| LinkId(index as u8)).collect()
}

fn everything(like: IpAddr) -> Prefix {
    match like {
        IpAddr::V4(_) => Prefix { addr: IpAddr::from([0, 0, 0, 0]), len: 0 },
        IpAddr::V6(_) => Prefix { addr: IpAddr::from([0u16; 8]), len: 0 },
    }
}
