//! The director: one frame in, frames out, every one accounted for.
//!
//! Sans-I/O: the frame, the time and the way out are arguments. Never reads a clock, a socket or a random source.

mod admin;
mod admission;
mod answer;
mod backup;
mod batch;
mod defence;
mod expiry_resets;
mod fragments;
mod ftp;
mod icmp;
mod kernel_quirks;
mod neighbours;
mod options;
mod persist;
mod sync;
mod transmit;
mod tunnel_gso;
mod unreachable;

use std::hash::RandomState;
use std::net::IpAddr;

pub use crate::settings::Settings;
pub use batch::Batch;

use crate::base::{ConnId, DropReason, Instant, LinkId, Prefix, Tuple};
use crate::conn::{ConnTable, Due, Event, Side, Timeouts, next_state};
use crate::forward::{Ends, LocalPorts};
use crate::router::path_mtu::PathMtus;
use crate::router::{Egress, Router};
use crate::service::Services;
use crate::wire::{self, Ip, L4, PacketBuf, Parsed, Reassembly};
use admission::Standing;

/// Everything between the links.
pub struct Director {
    /// Links, routes, neighbours and the ledger.
    pub router: Router,
    /// Services and dests.
    pub services: Services,
    /// Live conns.
    pub conns: ConnTable,
    /// Settings, named as the kernel's sysctls where it has them.
    pub settings: Settings,
    /// Conn timeouts (`--set`).
    pub timeouts: Timeouts,
    ports: LocalPorts,
    locals: Vec<Prefix>,
    pmtu: PathMtus,
    icmp_limit: answer::Limiter,
    announcements: admin::Announcements,
    warnings: admin::Warnings,
    reassembly: Reassembly,
    ftp: ftp::Ftp,
    calls: persist::Calls,
    defence: defence::Defence,
    sync: sync::Sync,
    next_id: u16,
    /// Where the search for conns of removed dests goes on.
    sweep: Option<usize>,
    scratch: Option<Box<PacketBuf>>,
    pieces: PacketBuf,
}

/// Where a packet belongs.
enum Place {
    /// To a conn.
    Flow(ConnId, Side),
    /// To an address of the director, and to no conn.
    Here,
    /// Elsewhere: it is only forwarded.
    Through,
}

impl Director {
    /// A director without links and services; `hasher` carries the key of the flow table, `seed` all other chance.
    pub fn new(settings: Settings, hasher: RandomState, seed: u64) -> Director {
        Director {
            router: Router::default(),
            services: Services::new(settings.sched(), seed),
            conns: ConnTable::new(settings.max_flows, hasher),
            timeouts: Timeouts::default(),
            ports: LocalPorts::default(),
            locals: Vec::new(),
            pmtu: PathMtus::default(),
            icmp_limit: answer::Limiter::new(settings.icmp_rate),
            announcements: admin::Announcements::default(),
            warnings: admin::Warnings::default(),
            reassembly: Reassembly::default(),
            ftp: ftp::Ftp::default(),
            calls: persist::Calls::default(),
            defence: defence::Defence::default(),
            sync: sync::Sync::default(),
            next_id: seed as u16,
            sweep: None,
            scratch: Some(Box::new(PacketBuf::new())),
            pieces: PacketBuf::new(),
            settings,
        }
    }

    /// Takes one frame from a link. What becomes of it is in the ledger.
    pub fn ingress(&mut self, link: LinkId, buf: &mut PacketBuf, now: Instant, out: &mut impl Egress) {
        self.router.ledger.rx += 1;
        if let Err(reason) = self.frame(link, buf, now, out) {
            log::trace!("dropped: {}", reason.name());
            self.router.ledger.drop(reason);
        }
    }

    /// The packet's path, from one end to the other.
    fn frame(
        &mut self,
        link: LinkId,
        buf: &mut PacketBuf,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        let to_us = self.is_for_us(link, buf)?;
        // Matched where it is: a packet as parsed is large, and copying it right after it was written stalls.
        match &mut wire::parse(buf) {
            Ok(Parsed::Ip(ip)) if to_us => self.packet(buf, ip, now, out),
            Ok(Parsed::Ip(ip)) if self.hears(link, ip) => self.take_message(buf, ip, now),
            Ok(Parsed::Ip(_)) => Err(DropReason::NotForUs),
            Ok(Parsed::Arp(arp)) => self.arp(link, arp, now, out),
            Ok(Parsed::Ndp(ndp)) => self.ndp(link, ndp, now, out),
            Err(DropReason::Offload) if wire::finish_inner_checksum(buf) => self.frame(link, buf, now, out),
            Err(reason) => Err(*reason),
        }
    }

    /// The path of an IP packet.
    #[inline]
    fn packet(
        &mut self,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        buf.truncate(ip.end);
        check_addresses(ip)?;
        self.check_options(buf, ip, now, out)?;
        if let L4::Icmp { icmp_type, .. } = ip.l4
            && wire::icmp::is_related(ip, icmp_type)
            && let Some(done) = self.icmp_error(buf, ip, now, out)
        {
            return done;
        }
        if Reassembly::is_piece(buf.frame(), ip) && self.reassembles(ip) {
            match self.join(buf, ip, now)? {
                Some(whole) => *ip = whole,
                None => return Ok(()),
            }
        }
        if buf.vnet.tunnel.is_some() && !self.passes_whole(ip) {
            return self.one_by_one(buf, ip, now, out);
        }
        match self.place(ip) {
            Place::Flow(conn, Side::Request) => self.request(conn, buf, ip, now, out),
            Place::Flow(conn, Side::Reply) => self.reply(conn, buf, ip, now, out),
            Place::Here => self.schedule(buf, ip, now, out),
            Place::Through => self.forward(buf, ip, now, out),
        }
    }

    /// The destination MAC is ours (true) or a group's (false); anything else is somebody else's frame.
    fn is_for_us(&self, link: LinkId, buf: &PacketBuf) -> Result<bool, DropReason> {
        let (dst, _) = wire::macs(buf.frame())?;
        match dst == self.router.link(link).mac {
            true => Ok(true),
            false if dst.is_multicast() => Ok(false),
            false => Err(DropReason::NotForUs),
        }
    }

    /// True for every address that the director answers for.
    pub fn owns(&self, addr: IpAddr) -> bool {
        self.services.owns(addr) || self.router.owns(addr) || self.locals.iter().any(|prefix| prefix.contains(addr))
    }

    /// True for a packet that ends here, or belongs to a service whose marks name its destination's net.
    fn ends_here(&self, ip: &Ip) -> bool {
        self.owns(ip.dst) || ip.tuple().is_some_and(|tuple| self.services.takes_by_mark(&tuple))
    }

    #[inline(always)]
    fn place(&self, ip: &Ip) -> Place {
        let here = |director: &Director| if director.ends_here(ip) { Place::Here } else { Place::Through };
        let Some(tuple) = ip.tuple().filter(|_| self.services.any(ip.family())) else { return here(self) };
        match self.conns.lookup(&tuple) {
            Some((conn, side)) => Place::Flow(conn, side),
            None => here(self),
        }
    }

    /// A packet from a client to the real server of its conn.
    fn request(
        &mut self,
        id: ConnId,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        if self.conns.get(id).is_without_client_port()
            && let Some((port, _)) = ip.ports()
        {
            self.conns.learn_client_port(id, port);
        }
        match self.standing(id, ip) {
            Standing::Good => self.follow(id, buf, ip, now, out),
            Standing::DestGone => Err(DropReason::DestGone),
            Standing::Replaced => {
                self.replace(id);
                if self.ends_here(ip) { self.schedule(buf, ip, now, out) } else { self.forward(buf, ip, now, out) }
            }
        }
    }

    /// Counts a packet of a conn, sends it on to the real server, and tells other directors of the conn.
    fn follow(
        &mut self,
        id: ConnId,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        let conn = self.conns.get(id);
        let event = if conn.is_one_way() { Event::InputOnly } else { Event::Input };
        self.services.count_in(conn.dest, ip.total_len());
        self.advance(id, event, &self.layer4_for_state(buf, ip), now);
        let conn = self.conns.get_mut(id);
        conn.in_pkts = conn.in_pkts.wrapping_add(1);
        self.note_expected(id, Side::Request, buf, ip);
        let done = self.towards_server(id, buf, ip, now, out);
        self.sync(id, now, out);
        done
    }

    fn towards_server(
        &mut self,
        id: ConnId,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        let conn = self.conns.get(id);
        if conn.is_local() {
            return self.deliver_here(id, buf, ip, now, out);
        }
        if conn.is_helped() {
            self.ftp_request(id, buf, ip, now)?;
        }
        let ends = self.ends(id);
        self.serve(&ends, buf, ip, now, out)
    }

    /// A packet from a real server to the client of its conn.
    fn reply(
        &mut self,
        id: ConnId,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        let ends = self.ends(id);
        // As the kernel does: a router's checks first, about the packet as the real server sent it.
        let route = self.route_onward(buf, ip, ends.client().addr, now, out)?;
        self.check_border(&ends, buf, ip, now, out)?;
        self.note_expected(id, Side::Reply, buf, ip);
        if self.conns.get(id).is_helped() {
            self.ftp_reply(id, buf, ip, now)?;
        }
        let way = self.way(&route);
        crate::forward::reply(buf, ip, &ends, way)?;
        self.record_passage(buf, ip, &route);
        self.conns.get_mut(id).saw_reply();
        let dest = self.conns.get(id).dest;
        self.services.count_out(dest, ip.total_len());
        self.advance(id, Event::Output, &self.layer4_for_state(buf, ip), now);
        self.transmit(buf, ip, &route, now, out)
    }

    /// Moves a conn's state, its dest's counters and its timer.
    fn advance(&mut self, id: ConnId, event: Event, l4: &L4, now: Instant) {
        let tables = self.tcp_tables();
        let conn = self.conns.get_mut(id);
        conn.state = next_state(conn.state, event, l4, tables);
        let state = self.timeouts.state(conn.proto(), conn.state);
        let (dest, before) = (conn.dest, conn.counted());
        if before != state.counted {
            conn.set_counted(state.counted);
            self.services.recount(dest, before, state.counted);
        }
        self.conns.rearm(id, now, state.timeout);
        self.assure(id, event);
    }

    #[inline(always)]
    fn ends(&self, id: ConnId) -> Ends {
        let conn = self.conns.get(id);
        let method = (conn.forwarding(), self.tunnel_of(conn.dest));
        let (client, virt) = (conn.packed_client(), conn.packed_virt());
        Ends::new(method, client, virt, self.conns.real(conn), self.conns.local(conn))
    }

    /// Takes a conn out before its time, or, while others depend on it, out of sight.
    fn replace(&mut self, id: ConnId) {
        if self.conns.get(id).controls() {
            return self.conns.hide(id);
        }
        self.end(id);
    }

    fn end(&mut self, id: ConnId) {
        let conn = *self.conns.get(id);
        self.conns.remove(id);
        self.settle(id, &conn);
    }

    /// Lets time pass: conns expire, neighbours are asked again, caches are cleaned.
    pub fn tick(&mut self, now: Instant, out: &mut impl Egress) {
        while let Some(due) = self.conns.expire_one(now) {
            match due {
                Due::Over(id, conn) => {
                    self.reset_ends(id, &conn, now, out);
                    self.settle(id, &conn);
                }
                Due::Prolonged(id) => self.sync_as_due(id, now, out),
            }
        }
        self.sync_due(now, out);
        self.sweep();
        self.defend(now);
        self.expire_fragments(now, out);
        self.router.tick(now, out);
        self.tell_of_undelivered(now, out);
        self.services.read_meters(now);
        self.services.empty_trash(now);
        self.announce_due(now, out);
    }

    /// When `tick` has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let sweep = self.sweep.map(|_| Instant::START);
        let fragments = self.reassembly.next_due();
        let tables = [self.conns.next_deadline(), self.router.next_deadline(), fragments];
        let deadlines = tables.into_iter().chain([
            self.announcements.next(),
            sweep,
            self.defence_due(),
            self.sync.due(),
            self.services.meters_due(),
            self.services.trash_due(),
        ]);
        deadlines.into_iter().flatten().min()
    }

    /// Who takes a packet of this flow now, for tests and explanations.
    pub fn conn_of(&self, tuple: &Tuple) -> Option<ConnId> {
        self.conns.lookup(tuple).map(|(id, _)| id)
    }
}

/// Addresses that may not appear on a link (RFC 1812 5.3.7, RFC 6890), and groups, which are not balanced.
fn check_addresses(ip: &Ip) -> Result<(), DropReason> {
    let martian = match (ip.src, ip.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            src.is_multicast() || src.is_broadcast() || src.is_loopback() || src.is_unspecified() || dst.is_loopback()
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mapped = |addr: std::net::Ipv6Addr| addr.to_ipv4_mapped().is_some();
            src.is_multicast()
                || src.is_loopback()
                || src.is_unspecified()
                || dst.is_loopback()
                || mapped(src)
                || mapped(dst)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => true,
    };
    if martian {
        return Err(DropReason::Martian);
    }
    let group = ip.dst.is_multicast() || ip.dst == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) || ip.dst.is_unspecified();
    if group { Err(DropReason::NotForUs) } else { Ok(()) }
}
