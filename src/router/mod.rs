//! Where packets go next: links, routes, neighbours, packets that wait for one, path MTUs; and the `Turn` through all rooms.
//!
//! A packet's TTL, size and cutting are in `transmit`. Never edits what is behind the IP header.

mod discovery;
mod neighbours;
mod path_mtu;
mod pending;
mod refusal;
mod routes;
mod transmit;
mod turn;
mod unresolved;
mod virtuals;

use std::net::IpAddr;
use std::time::Duration;

pub use neighbours::Neighbours;
pub use path_mtu::PathMtus;
pub use refusal::{Refusal, apply_verdict};
pub use routes::{Need, Route, Routes};
pub use transmit::{each_segment, least_mtu, room_for, spend_ttl};
pub use turn::{Egress, Turn};
pub use virtuals::{Virtual, Virtuals};

use crate::base::{DropReason, Family, Instant, LinkId, Mac, Medium, Prefix};
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

/// Between two lines about neighbours that are at another MAC.
const BETWEEN_MOVES: Duration = Duration::from_secs(10);

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
        self.changes + self.virtuals.changes() + self.path_mtus.changes()
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
        self.ports.iter().any(|port| port.link.addresses.iter().any(|prefix| prefix.broadcast() == Some(addr)))
    }

    /// True for an address of a link or of a local prefix.
    pub fn owns(&self, addr: IpAddr) -> bool {
        let of_link = |port: &Port| port.link.addresses.iter().any(|prefix| prefix.addr == addr);
        self.ports.iter().any(of_link) || self.is_in_local_prefix(addr) || self.virtuals.is_here(addr)
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
        if self.medium(route.link) == Medium::Ip {
            return self.write(buf, route.link, Mac::ZERO, turn);
        }
        match self.neighbours.reachable(route, turn.now) {
            Some(mac) => self.write(buf, route.link, mac, turn),
            None => self.send_in_doubt(buf, route, turn),
        }
    }

    /// The same by a next hop whose MAC is not known, or may be another one by now.
    #[cold]
    fn send_in_doubt(
        &mut self,
        buf: &mut PacketBuf,
        route: &Route,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), DropReason> {
        let source = || wire::ip_packet(buf.frame()).map_or(route.next_hop, |ip| ip.src);
        match self.neighbours.resolve(route, turn.now, source) {
            Resolved::At(mac) => self.write(buf, route.link, mac, turn),
            Resolved::AtPerhaps(mac, ask) => {
                self.ask(ask, turn);
                self.write(buf, route.link, mac, turn)
            }
            Resolved::Unknown(ask) => {
                if let Some(ask) = ask {
                    self.ask(ask, turn);
                }
                turn.hold();
                let dropped = self.pending.keep(route, buf);
                drop_held(dropped, DropReason::HoldQueueFull, turn);
                Ok(())
            }
            Resolved::Failed => Err(DropReason::NeighbourUnreachable),
            Resolved::Refused => Err(DropReason::NeighbourLimit),
        }
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

    /// A neighbour has shown its MAC: packets that waited for it leave.
    pub fn learned(&mut self, link: LinkId, addr: IpAddr, mac: Mac, turn: &mut Turn<impl Egress>) {
        if let Some(before) = self.neighbours.mac_of(link, addr).filter(|before| *before != mac)
            && turn.now >= self.moves_told
        {
            self.moves_told = turn.now + BETWEEN_MOVES;
            log::warn!(
                "{}: {addr} was at {before} and is at {mac}; if it comes back, two hosts have it",
                self.link(link).name
            );
        }
        if self.neighbours.confirm(link, addr, mac, turn.now) {
            log::info!("{}: {addr} answers again", self.link(link).name);
        }
        for kept in self.pending.take(link, addr) {
            turn.release(1);
            turn.lend(|turn, buf| {
                kept.restore(buf);
                if let Err(reason) = self.write(buf, link, mac, turn) {
                    turn.drop(reason);
                }
            });
        }
    }

    /// Repeats solicitations that were not answered, gives up on neighbours that stay silent.
    pub fn tick(&mut self, turn: &mut Turn<impl Egress>) {
        while let Some(due) = self.neighbours.due(turn.now) {
            match due {
                neighbours::Due::Ask(ask) => self.ask(ask, turn),
                neighbours::Due::GaveUp(link, addr, need) => {
                    // Anybody can send packets to an address that nobody has.
                    let level = if need == Need::Configured { log::Level::Warn } else { log::Level::Debug };
                    log::log!(level, "{}: {addr} does not answer {}", self.link(link).name, question_to(addr));
                    self.give_up(link, addr, turn);
                }
                neighbours::Due::Displaced(link, addr) => {
                    let waited = self.pending.take(link, addr).len() as u64;
                    drop_held(waited, DropReason::NeighbourLimit, turn);
                }
            }
        }
    }

    fn give_up<E>(&mut self, link: LinkId, addr: IpAddr, turn: &mut Turn<E>) {
        for kept in self.pending.take(link, addr) {
            drop_held(1, DropReason::NeighbourUnreachable, turn);
            self.undelivered.push(kept.into_frame());
        }
    }

    /// A packet that was given up since the last tick.
    pub fn take_undelivered(&mut self) -> Option<Vec<u8>> {
        self.undelivered.pop()
    }

    /// The end of the run: what still waits is dropped by name.
    pub fn shut_down<E>(&mut self, turn: &mut Turn<E>) {
        let waited = self.pending.clear();
        drop_held(waited, DropReason::Shutdown, turn);
    }

    /// When `tick` has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.neighbours.next_due()
    }
}

fn drop_held<E>(count: u64, reason: DropReason, turn: &mut Turn<E>) {
    turn.release(count);
    (0..count).for_each(|_| turn.drop(reason));
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
