//! Where packets go next: links, routes, neighbours, packets that wait for one, path MTUs; and the `Turn` through all rooms.
//!
//! A packet's TTL, size and cutting are in `transmit`. Never edits what is behind the IP header.

mod discovery;
mod neighbour;
mod neighbours;
mod own;
mod path_mtu;
mod pending;
mod refusal;
mod routes;
mod transmit;
mod turn;
mod unresolved;
mod virtuals;
mod waiting;

use std::net::IpAddr;

pub use neighbours::Neighbours;
pub use own::is_link_local;
pub use path_mtu::PathMtus;
pub use refusal::{Refusal, apply_verdict};
pub use routes::{Need, Route, Routes};
pub use transmit::{each_segment, least_mtu, room_for, spend_ttl};
pub use turn::{Egress, Turn};
pub use virtuals::{Virtual, Virtuals};

use crate::base::{DropReason, Instant, LinkId, Mac, Medium, Prefix};
use crate::wire::{self, PacketBuf, ndp, set_macs};
use neighbours::Resolved;
use pending::Pending;

/// One TAP as the core sees it.
#[derive(Clone, Debug)]
pub struct Link {
    /// Name, for people.
    pub name: String,
    /// The director's own MAC there.
    pub mac: Mac,
    /// Largest IP packet.
    pub mtu: u16,
    /// Own addresses with their prefixes, the primary one first.
    pub addresses: Vec<Prefix>,
}

/// A link with what the router knows of it besides.
struct Port {
    link: Link,
    medium: Medium,
    /// The first link of the bridge that this one is a port of: links with the same one receive each other's broadcasts.
    bridge: LinkId,
    /// It takes superframes inside UDP tunnels.
    cuts_udp_tunnels: bool,
    /// Until then reports of each family are of the version before, for a querier of that version was heard.
    old_queriers_until: [Instant; 2],
}

/// Links, routes and neighbours.
#[derive(Default)]
pub struct Router {
    ports: Vec<Port>,
    /// The addresses of all links, and the broadcast addresses of their nets, each as a list: every packet without a conn is
    /// held against them.
    own: Vec<IpAddr>,
    broadcasts: Vec<IpAddr>,
    /// Destination to next hop.
    pub routes: Routes,
    /// Next hop to MAC.
    pub neighbours: Neighbours,
    pending: Pending,
    /// Packets that were given up, for their senders to be told.
    undelivered: Vec<Vec<u8>>,
    /// What the paths to tunnel servers take.
    pub path_mtus: PathMtus,
    /// Prefixes all of whose addresses are the director's own, as by a route of type `local`.
    local: Vec<Prefix>,
    /// Addresses that move between directors.
    pub virtuals: Virtuals,
    /// Groups that the director listens to besides those of its addresses.
    groups: Vec<(LinkId, IpAddr)>,
    next_id: u16,
    /// When a neighbour that is at another MAC is said again.
    moves_told: Instant,
    /// How often links and routes have changed.
    changes: u64,
}

impl Router {
    /// Adds a link; its prefixes become on-link routes. A link with an IPv6 address has a link-local one as well.
    pub fn add_link(&mut self, mut link: Link) -> LinkId {
        if link.addresses.iter().any(|prefix| prefix.addr.is_ipv6()) {
            link.addresses.push(Prefix { addr: IpAddr::V6(ndp::link_local(link.mac)), len: 64 });
        }
        let nets = link.addresses.clone();
        self.add(link, Medium::Ethernet, &nets)
    }

    /// Adds a link without Ethernet: everything of its families is routed to it, for the host at its other end knows the
    /// way. Nobody is asked for a MAC there, and nothing is announced.
    pub fn add_ip_link(&mut self, link: Link) -> LinkId {
        let nets: Vec<Prefix> = link.addresses.iter().map(|own| Prefix { len: 0, ..*own }).collect();
        self.add(link, Medium::Ip, &nets)
    }

    fn add(&mut self, link: Link, medium: Medium, nets: &[Prefix]) -> LinkId {
        let id = LinkId(self.ports.len() as u8);
        nets.iter().for_each(|net| self.routes.add(*net, None, id));
        self.own.extend(link.addresses.iter().map(|prefix| prefix.addr));
        self.broadcasts.extend(link.addresses.iter().filter_map(Prefix::broadcast));
        self.ports.push(Port {
            link,
            medium,
            bridge: id,
            cuts_udp_tunnels: false,
            old_queriers_until: [Instant::default(); 2],
        });
        id
    }

    /// What a link carries.
    #[inline]
    pub fn medium(&self, id: LinkId) -> Medium {
        self.ports[id.index()].medium
    }

    /// Says that a link takes superframes inside UDP tunnels, which the kernel cuts where it must.
    pub fn allow_tunnels(&mut self, id: LinkId) {
        self.ports[id.index()].cuts_udp_tunnels = true;
    }

    /// Whether a link takes superframes inside UDP tunnels.
    pub fn allows_tunnels(&self, id: LinkId) -> bool {
        self.ports[id.index()].cuts_udp_tunnels
    }

    /// Packets of a link are kept to another size from now on.
    pub fn set_mtu(&mut self, id: LinkId, mtu: u16) {
        if let Some(port) = self.ports.get_mut(id.index()) {
            port.link.mtu = mtu;
        }
        self.changes += 1;
    }

    /// Other routes from now on.
    pub fn set_routes(&mut self, routes: Routes) {
        self.routes = routes;
        self.changes += 1;
    }

    /// How often anything has changed that says where packets go, but for neighbours.
    pub fn changes(&self) -> u64 {
        self.changes_of_ways() + self.path_mtus.changes()
    }

    /// The same but for the sizes of paths: links, routes, addresses that move.
    pub fn changes_of_ways(&self) -> u64 {
        self.changes + self.virtuals.changes()
    }

    /// A next hop that is used without asking here: it is solicited again where its MAC is in doubt, as for a packet.
    pub fn keep_alive(&mut self, link: LinkId, next_hop: IpAddr, turn: &mut Turn<impl Egress>) {
        let route = Route { link, next_hop, mtu: self.link(link).mtu, need: Need::Conn };
        if let Resolved::AtPerhaps(_, ask) = self.neighbours.resolve(&route, turn.now, || next_hop) {
            self.ask(ask, turn);
        }
    }

    /// A link by its id.
    pub fn link(&self, id: LinkId) -> &Link {
        &self.ports[id.index()].link
    }

    /// The destination MAC of a frame is that of the link it came by (true) or a group's (false); anything else is somebody else's frame.
    #[inline]
    pub fn is_for(&self, link: LinkId, frame: &[u8]) -> Result<bool, DropReason> {
        let (dst, _) = wire::macs(frame)?;
        match dst == self.link(link).mac {
            true => Ok(true),
            false if dst.is_multicast() => Ok(false),
            false if self.virtuals.is_mac(link, dst) => Ok(true),
            false => Err(DropReason::NotForUs),
        }
    }

    /// All links with their ids.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.ports.iter().enumerate().map(|(index, port)| (LinkId(index as u8), &port.link))
    }

    /// Identifications of packets that are made here begin after this one.
    pub fn start_ids_at(&mut self, id: u16) {
        self.next_id = id;
    }

    /// The way to an address, with the source address and packet size that belong to it.
    #[inline(always)]
    pub fn route(&self, to: IpAddr) -> Result<Route, DropReason> {
        let (link, via) = self.routes.way(to).ok_or(DropReason::NoRoute)?;
        let (next_hop, need) = via.map_or((to, Need::Conn), |gateway| (gateway, Need::Configured));
        Ok(Route { link, next_hop, mtu: self.link(link).mtu, need })
    }

    /// Asks a neighbour for its MAC, whatever is known of it. The link it is on; `None` for what is behind a gateway or on
    /// a link without Ethernet.
    pub fn solicit(&mut self, addr: IpAddr, turn: &mut Turn<impl Egress>) -> Option<LinkId> {
        let route = self.route(addr).ok().filter(|route| route.next_hop == addr)?;
        if self.medium(route.link) == Medium::Ip {
            return None;
        }
        // The answer of a neighbour that is not in the table changes nothing.
        self.neighbours.resolve(&Route { need: Need::Configured, ..route }, turn.now, || addr);
        self.ask(neighbours::Ask { link: route.link, addr, to: Mac::BROADCAST }, turn);
        Some(route.link)
    }

    /// Frames a finished packet and writes it, or keeps it until its next hop has answered.
    ///
    /// Counts it as sent or held; an error is for the caller to count.
    #[inline]
    pub fn send(&mut self, buf: &mut PacketBuf, route: &Route, turn: &mut Turn<impl Egress>) -> Result<(), DropReason> {
        let mac = match self.medium(route.link) {
            Medium::Ip => Some(Mac::ZERO),
            Medium::Ethernet => self.neighbours.reachable(route, turn.now),
        };
        let Some(mac) = mac else { return self.send_in_doubt(buf, route, turn) };
        set_macs(buf, mac, self.link(route.link).mac);
        turn.write(route.link, buf)
    }

    /// Sends a frame that the director made itself; a failure is counted here.
    pub fn send_own(&mut self, buf: &mut PacketBuf, route: &Route, turn: &mut Turn<impl Egress>) {
        turn.generated();
        if let Err(reason) = self.send(buf, route, turn) {
            turn.drop(reason);
        }
    }

    /// Sends a packet that the director made itself to a multicast group on a link; a failure is counted here.
    pub fn send_to_group(&mut self, buf: &mut PacketBuf, link: LinkId, group: IpAddr, turn: &mut Turn<impl Egress>) {
        set_macs(buf, Mac::of_group(group), self.link(link).mac);
        turn.write_own(link, buf);
    }

    #[inline]
    fn write(
        &self,
        buf: &mut PacketBuf,
        link: LinkId,
        to: Mac,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), DropReason> {
        set_macs(buf, to, self.link(link).mac);
        turn.write(link, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Wire;

    #[test]
    fn without_ethernet_everything_leaves_at_once_and_nobody_is_told() {
        let mut router = Router::default();
        let addresses = vec!["203.0.113.2/32".parse().unwrap(), "2001:db8::2/128".parse().unwrap()];
        let link = router.add_ip_link(Link { name: "tun0".into(), mac: Mac::ZERO, mtu: 1500, addresses });
        let mut turn = Turn::new(Wire::default());
        router.announce(link, "203.0.113.2".parse().unwrap(), &mut turn);
        assert_eq!(turn.ledger().generated(), 0);
        for to in ["192.0.2.7", "2001:db8:c::7"] {
            let route = router.route(to.parse().unwrap()).unwrap();
            let mut buf = PacketBuf::new();
            buf.reset(60);
            router.send_own(&mut buf, &route, &mut turn);
        }
        assert_eq!((turn.out.frames, turn.ledger().tx(), turn.ledger().held()), (2, 2, 0));
    }
}
