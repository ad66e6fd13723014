//! The director's own routing table: on-link prefixes, static routes, a default gateway.
//!
//! Longest prefix first. Never looks at the host's table.

use std::net::IpAddr;

use crate::base::{LinkId, Prefix};

/// What a next hop is needed for; the later kinds go first where solicitations or memory are scarce.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Need {
    /// A packet that is only forwarded. Anybody can send one, to any address of the net.
    Transit,
    /// A packet of a conn to its client, or one that the director made.
    Conn,
    /// The next hop is a gateway or a real server: the configuration names it, so there are few.
    Configured,
}

/// Where a packet goes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// The link it leaves by.
    pub link: LinkId,
    /// Who gets it there: the destination itself or a gateway.
    pub next_hop: IpAddr,
    /// Largest IP packet of the link.
    pub mtu: u16,
    /// What the next hop is needed for.
    pub need: Need,
}

impl Route {
    /// The same for a packet that belongs to no conn.
    pub fn for_transit(self) -> Route {
        let need = if self.need == Need::Configured { Need::Configured } else { Need::Transit };
        Route { need, ..self }
    }
}

/// Destination prefixes with the way to each.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Routes {
    /// Longest prefix first.
    entries: Vec<(Prefix, Option<IpAddr>, LinkId)>,
}

impl Routes {
    /// Adds a route; without `via` the destinations are on the link itself.
    pub fn add(&mut self, to: Prefix, via: Option<IpAddr>, link: LinkId) {
        let place = self.entries.partition_point(|(prefix, _, _)| prefix.len >= to.len);
        self.entries.insert(place, (to, via, link));
    }

    /// All routes with gateway and link, the longest prefix first.
    pub fn all(&self) -> impl Iterator<Item = (Prefix, Option<IpAddr>, LinkId)> {
        self.entries.iter().copied()
    }

    /// The routes by a neighbour, the longest prefix first.
    pub fn by_neighbour(&self) -> impl Iterator<Item = (Prefix, IpAddr)> {
        self.all().filter_map(|(to, via, _)| Some((to, via?)))
    }

    /// Link and next hop for an address.
    #[inline(always)]
    pub fn lookup(&self, to: IpAddr) -> Option<(LinkId, IpAddr)> {
        self.way(to).map(|(link, via)| (link, via.unwrap_or(to)))
    }

    /// Link and, where the address is not on the link itself, the gateway.
    #[inline(always)]
    pub(super) fn way(&self, to: IpAddr) -> Option<(LinkId, Option<IpAddr>)> {
        let (_, via, link) = self.entries.iter().find(|(prefix, _, _)| prefix.contains(to))?;
        Some((*link, *via))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        let mut routes = Routes::default();
        let gateway: IpAddr = "10.0.0.1".parse().unwrap();
        let (a, b) = (LinkId(0), LinkId(1));
        routes.add("0.0.0.0/0".parse().unwrap(), Some(gateway), a);
        routes.add("10.0.0.2/24".parse().unwrap(), None, a);
        routes.add("10.0.0.128/25".parse().unwrap(), None, b);
        let at = |addr: &str| routes.lookup(addr.parse().unwrap());
        assert_eq!(at("10.0.0.9"), Some((a, "10.0.0.9".parse().unwrap())));
        assert_eq!(at("10.0.0.200"), Some((b, "10.0.0.200".parse().unwrap())));
        assert_eq!(at("192.0.2.1"), Some((a, gateway)));
        assert_eq!(at("2001:db8::1"), None);
    }
}
