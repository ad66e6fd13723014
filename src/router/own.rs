//! Which addresses are the director's own, and which link an address belongs to.
//!
//! Never sends a packet.

use std::net::IpAddr;

use super::{Link, Router};
use crate::base::{Family, LinkId, Prefix};

impl Router {
    /// Takes every address of a prefix for the director's own (a whole net of virtual addresses).
    #[cfg(any(test, feature = "testing"))]
    pub fn add_local_prefix(&mut self, prefix: Prefix) {
        self.local.push(prefix);
    }

    /// True for an address of a prefix that is the director's own as a whole.
    pub fn is_in_local_prefix(&self, addr: IpAddr) -> bool {
        self.local.iter().any(|prefix| prefix.contains(addr))
    }

    /// True for the broadcast address of a link's net.
    pub fn is_broadcast(&self, addr: IpAddr) -> bool {
        self.broadcasts.contains(&addr)
    }

    /// The broadcast addresses of the links' nets.
    pub fn broadcasts(&self) -> impl Iterator<Item = IpAddr> {
        self.broadcasts.iter().copied()
    }

    /// True for an address of a link or of a local prefix.
    pub fn owns(&self, addr: IpAddr) -> bool {
        self.own.contains(&addr) || self.is_in_local_prefix(addr) || self.virtuals.is_here(addr)
    }

    /// The addresses of all links.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.own.iter().copied()
    }

    /// The own address that packets to `to` come from: in the prefix of the next hop, else the link's first. A link-local
    /// address speaks to its like only.
    pub fn source(&self, link: LinkId, next_hop: IpAddr, to: IpAddr) -> Option<IpAddr> {
        let local = is_link_local(to);
        let fit = |prefix: &&Prefix| Family::of(prefix.addr) == Family::of(to) && is_link_local(prefix.addr) == local;
        let addresses = || self.link(link).addresses.iter().filter(fit);
        addresses().find(|prefix| prefix.contains(next_hop)).or_else(|| addresses().next()).map(|prefix| prefix.addr)
    }

    /// The links in whose nets an address is; all of them for an address that is in none.
    pub fn links_toward(&self, addr: IpAddr) -> Vec<LinkId> {
        let near = |link: &Link| match is_link_local(addr) {
            true => link.addresses.iter().any(|prefix| prefix.addr == addr),
            false => link.addresses.iter().any(|prefix| prefix.contains(addr)),
        };
        let nearest: Vec<LinkId> = self.links().filter(|(_, link)| near(link)).map(|(id, _)| id).collect();
        if nearest.is_empty() { self.links().map(|(id, _)| id).collect() } else { nearest }
    }

    /// Says that two links are ports of one bridge: each hears what is broadcast on the other.
    pub fn bridge_with(&mut self, link: LinkId, other: LinkId) {
        self.ports[link.index()].bridge = self.ports[other.index()].bridge;
    }

    /// True if a question of `sender` was only overheard: its net is that of another link on the same wire, which
    /// answers it. Two answers would show the sender two MACs in turn.
    ///
    /// Any other question for an address of the director is answered on any link (Linux's `arp_ignore` = 0).
    pub fn answered_elsewhere(&self, link: LinkId, sender: IpAddr) -> bool {
        let near = |link: &Link| link.addresses.iter().any(|prefix| prefix.contains(sender));
        let bridge = self.ports[link.index()].bridge;
        !near(self.link(link)) && self.ports.iter().any(|port| port.bridge == bridge && near(&port.link))
    }
}

/// True for an IPv6 address that no router sends on.
pub fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Mac;

    fn router(nets: &[&str]) -> Router {
        let mut router = Router::default();
        for net in nets {
            let addresses = vec![net.parse().unwrap()];
            router.add_link(Link { name: (*net).into(), mac: Mac([2, 0, 0, 0, 0, 1]), mtu: 1500, addresses });
        }
        router
    }

    #[test]
    fn an_address_is_at_home_where_its_net_is() {
        let router = router(&["10.0.0.2/24", "192.0.2.2/24"]);
        let links = |addr: &str| router.links_toward(addr.parse().unwrap());
        assert_eq!(links("192.0.2.100"), [LinkId(1)]);
        assert_eq!(links("198.51.100.1"), [LinkId(0), LinkId(1)]);
    }

    #[test]
    fn a_question_answered_elsewhere_only_on_a_shared_wire() {
        let mut router = router(&["10.0.0.2/24", "192.0.2.2/24"]);
        let (servers, client) = (LinkId(0), "192.0.2.10".parse().unwrap());
        assert!(!router.answered_elsewhere(servers, client));
        router.bridge_with(LinkId(1), servers);
        assert!(router.answered_elsewhere(servers, client));
        assert!(!router.answered_elsewhere(LinkId(1), client));
        assert!(!router.answered_elsewhere(servers, "203.0.113.1".parse().unwrap()));
    }
}
