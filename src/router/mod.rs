//! The way out: routes, neighbours, packets that wait for an answer, and the ledger of what became of each frame.
//!
//! Takes a finished packet and a destination; never edits anything behind the Ethernet header.

mod discovery;
mod neighbours;
pub mod path_mtu;
mod pending;
mod routes;
mod unresolved;

use std::net::IpAddr;

pub use neighbours::{MAX_NEIGHBOURS, Need, Neighbours};
pub use routes::{Route, Routes};

use crate::base::{DropReason, Family, Instant, Ledger, LinkId, Mac, Medium, Prefix};
use crate::wire::{self, PacketBuf, ndp, set_macs};
use neighbours::Resolved;
use pending::Pending;

/// Where frames leave the core.
pub trait Egress {
    /// Takes a frame to be written, after all that were taken before; an error is the reason for which it is lost. What the
    /// buffer holds afterwards is nobody's.
    fn transmit(&mut self, link: LinkId, frame: &mut PacketBuf) -> Result<(), DropReason>;
}

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
}

/// Links, routes, neighbours and the ledger.
#[derive(Default)]
pub struct Router {
    ports: Vec<Port>,
    /// Destination to next hop.
    pub routes: Routes,
    /// Next hop to MAC.
    pub neighbours: Neighbours,
    pending: Pending,
    /// Packets that were given up, for their senders to be told.
    undelivered: Vec<Vec<u8>>,
    /// What became of every frame.
    pub ledger: Ledger,
    scratch: PacketBuf,
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
        self.ports.push(Port { link, medium, bridge: id, cuts_udp_tunnels: false });
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

    /// A link by its id.
    pub fn link(&self, id: LinkId) -> &Link {
        &self.ports[id.index()].link
    }

    /// All links with their ids.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.ports.iter().enumerate().map(|(index, port)| (LinkId(index as u8), &port.link))
    }

    /// True for an address of a link.
    pub fn owns(&self, addr: IpAddr) -> bool {
        self.ports.iter().any(|port| port.link.addresses.iter().any(|prefix| prefix.addr == addr))
    }

    /// The links in whose nets an address is; all of them for an address that is in none.
    pub fn links_toward(&self, addr: IpAddr) -> Vec<LinkId> {
        let near = |link: &Link| match is_link_local(addr) {
            true => link.addresses.iter().any(|prefix| prefix.addr == addr),
            false => link.addresses.iter().any(|prefix| prefix.contains(addr)),
        };
        let homes: Vec<LinkId> = self.links().filter(|(_, link)| near(link)).map(|(id, _)| id).collect();
        if homes.is_empty() { self.links().map(|(id, _)| id).collect() } else { homes }
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

    /// The addresses of all links.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.ports.iter().flat_map(|port| &port.link.addresses).map(|prefix| prefix.addr)
    }

    /// The way to an address, with the source address and packet size that belong to it.
    #[inline(always)]
    pub fn route(&self, to: IpAddr) -> Result<Route, DropReason> {
        let (link, via) = self.routes.way(to).ok_or(DropReason::NoRoute)?;
        let (next_hop, need) = via.map_or((to, Need::Conn), |gateway| (gateway, Need::Configured));
        Ok(Route { link, next_hop, mtu: self.link(link).mtu, need })
    }

    /// The own address that packets to `to` come from: in the prefix of the next hop, else the link's first. A link-local
    /// address speaks to its like only.
    pub fn source(&self, link: LinkId, next_hop: IpAddr, to: IpAddr) -> Option<IpAddr> {
        let local = is_link_local(to);
        let fit = |prefix: &&Prefix| Family::of(prefix.addr) == Family::of(to) && is_link_local(prefix.addr) == local;
        let addresses = || self.link(link).addresses.iter().filter(fit);
        addresses().find(|prefix| prefix.contains(next_hop)).or_else(|| addresses().next()).map(|prefix| prefix.addr)
    }

    /// Frames a finished packet and writes it, or keeps it until its next hop has answered.
    ///
    /// Counts it as sent or held; an error is for the caller to count.
    #[inline]
    pub fn send(
        &mut self,
        buf: &mut PacketBuf,
        route: &Route,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        if self.medium(route.link) == Medium::Ip {
            return self.write(buf, route.link, Mac::ZERO, out);
        }
        let source = || wire::ip_packet(buf.frame()).map_or(route.next_hop, |ip| ip.src);
        match self.neighbours.resolve(route.link, route.next_hop, route.need, now, source) {
            Resolved::At(mac) => self.write(buf, route.link, mac, out),
            Resolved::AtPerhaps(mac, ask) => {
                self.ask(ask, out);
                self.write(buf, route.link, mac, out)
            }
            Resolved::Unknown(ask) => {
                if let Some(ask) = ask {
                    self.ask(ask, out);
                }
                self.ledger.held += 1;
                let dropped = self.pending.keep(route, buf);
                self.drop_held(dropped, DropReason::HoldQueueFull);
                Ok(())
            }
            Resolved::Failed => Err(DropReason::NeighbourUnreachable),
            Resolved::Refused => Err(DropReason::NeighbourLimit),
        }
    }

    fn drop_held(&mut self, count: u64, reason: DropReason) {
        self.ledger.held -= count;
        (0..count).for_each(|_| self.ledger.drop(reason));
    }

    /// Sends a frame that the director made itself; a failure is counted here.
    pub fn send_own(&mut self, buf: &mut PacketBuf, route: &Route, now: Instant, out: &mut impl Egress) {
        self.ledger.generated += 1;
        if let Err(reason) = self.send(buf, route, now, out) {
            self.ledger.drop(reason);
        }
    }

    /// Sends a packet that the director made itself to a multicast group on a link; a failure is counted here.
    pub fn send_to_group(&mut self, buf: &mut PacketBuf, link: LinkId, group: IpAddr, out: &mut impl Egress) {
        self.ledger.generated += 1;
        if let Err(reason) = self.write(buf, link, Mac::of_group(group), out) {
            self.ledger.drop(reason);
        }
    }

    fn write(&mut self, buf: &mut PacketBuf, link: LinkId, to: Mac, out: &mut impl Egress) -> Result<(), DropReason> {
        set_macs(buf, to, self.ports[link.index()].link.mac);
        out.transmit(link, buf)?;
        self.ledger.tx += 1;
        Ok(())
    }

    /// A neighbour has shown its MAC: packets that waited for it leave.
    pub fn learned(&mut self, link: LinkId, addr: IpAddr, mac: Mac, now: Instant, out: &mut impl Egress) {
        if self.neighbours.confirm(link, addr, mac, now) {
            log::info!("{}: {addr} answers again", self.link(link).name);
        }
        for kept in self.pending.take(link, addr) {
            self.ledger.held -= 1;
            let mut buf = std::mem::take(&mut self.scratch);
            kept.restore(&mut buf);
            if let Err(reason) = self.write(&mut buf, link, mac, out) {
                self.ledger.drop(reason);
            }
            self.scratch = buf;
        }
    }

    /// Repeats solicitations that were not answered, gives up on neighbours that stay silent.
    pub fn tick(&mut self, now: Instant, out: &mut impl Egress) {
        while let Some(due) = self.neighbours.due(now) {
            match due {
                neighbours::Due::Ask(ask) => self.ask(ask, out),
                neighbours::Due::GaveUp(link, addr, need) => {
                    // Anybody can send packets to an address that nobody has.
                    let level = if need == Need::Configured { log::Level::Warn } else { log::Level::Debug };
                    log::log!(level, "{}: {addr} does not answer {}", self.link(link).name, question_to(addr));
                    self.give_up(link, addr);
                }
                neighbours::Due::Displaced(link, addr) => {
                    let waited = self.pending.take(link, addr).len() as u64;
                    self.drop_held(waited, DropReason::NeighbourLimit);
                }
            }
        }
    }

    fn give_up(&mut self, link: LinkId, addr: IpAddr) {
        for kept in self.pending.take(link, addr) {
            self.ledger.held -= 1;
            self.ledger.drop(DropReason::NeighbourUnreachable);
            self.undelivered.push(kept.into_frame());
        }
    }

    /// A packet that was given up since the last tick.
    pub fn take_undelivered(&mut self) -> Option<Vec<u8>> {
        self.undelivered.pop()
    }

    /// The end of the run: what still waits is dropped by name.
    pub fn shut_down(&mut self) {
        let waited = self.pending.clear();
        self.drop_held(waited, DropReason::Shutdown);
    }

    /// When `tick` has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.neighbours.next_due()
    }
}

/// True for an IPv6 address that no router sends on.
pub fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}

fn question_to(addr: IpAddr) -> &'static str {
    match Family::of(addr) {
        Family::V4 => "ARP",
        Family::V6 => "neighbour solicitations",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Wire;

    fn router(nets: &[&str]) -> Router {
        let mut router = Router::default();
        for net in nets {
            let addresses = vec![net.parse().unwrap()];
            router.add_link(Link { name: (*net).into(), mac: Mac([2, 0, 0, 0, 0, 1]), mtu: 1500, addresses });
        }
        router
    }

    #[test]
    fn without_ethernet_everything_leaves_at_once_and_nobody_is_told() {
        let mut router = Router::default();
        let addresses = vec!["203.0.113.2/32".parse().unwrap(), "2001:db8::2/128".parse().unwrap()];
        let link = router.add_ip_link(Link { name: "tun0".into(), mac: Mac::ZERO, mtu: 1500, addresses });
        let mut out = Wire::default();
        router.announce(link, "203.0.113.2".parse().unwrap(), &mut out);
        assert_eq!(out.frames, 0);
        for to in ["192.0.2.7", "2001:db8:c::7"] {
            let route = router.route(to.parse().unwrap()).unwrap();
            let mut buf = PacketBuf::new();
            buf.reset(60);
            router.send_own(&mut buf, &route, Instant(1000), &mut out);
        }
        assert_eq!((out.frames, router.ledger.tx, router.ledger.held), (2, 2, 0));
    }

    #[test]
    fn an_address_is_at_home_where_its_net_is() {
        let router = router(&["10.0.0.2/24", "192.0.2.2/24"]);
        let homes = |addr: &str| router.links_toward(addr.parse().unwrap());
        assert_eq!(homes("192.0.2.100"), [LinkId(1)]);
        assert_eq!(homes("198.51.100.1"), [LinkId(0), LinkId(1)]);
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
