//! The director: one frame in, frames out, every one accounted for.
//!
//! Joins the rooms: here is the packet's path from one to the next, and what all of them have to do as time passes.
//! Sans-I/O: frames, time and the way out are arguments. Never reads a clock, a socket or a random source.

mod admin;
mod batch;
mod expiry_resets;
mod icmp;
mod kept;
mod kernel_quirks;
mod martians;
mod options;
mod own_probes;
mod owner;
mod standby;
mod transit;
mod tunnel_gso;
mod virtual_routers;

use std::hash::RandomState;
use std::net::IpAddr;

pub use crate::settings::Settings;
pub use batch::Batch;
pub use kept::Kept;
pub use own_probes::{Answer, OwnProbe, OwnProbes};

use crate::alg::{self, Ftp};
use crate::base::{ConnId, DropReason, Instant, LinkId, Method, Proto, ServiceId, Tuple};
use crate::conn::{Due, Event, Side};
use crate::flows::{ConnFate, Flows, Opening};
use crate::forward::{self, Ends, Fit};
use crate::outbound::Outbound;
use crate::router::{Egress, Refusal, Router, Turn};
use crate::stack::{self, Host, Stack};
use crate::sync::Sync;
use crate::vrrp::Vrrp;
use crate::wire::icmp::IcmpError;
use crate::wire::ndp::Ndp;
use crate::wire::{self, L4, Packet, PacketBuf, Parsed, Reassembly};
use kernel_quirks::layer4_for_state;
use martians::check_addresses;
use owner::{Owner, Ownership};
use standby::Standby;

/// Everything between the links.
pub struct Director {
    /// Links, routes, neighbours.
    pub router: Router,
    /// Services, conns, and what binds them.
    pub flows: Flows,
    stack: Stack,
    ftp: Ftp,
    sync: Sync,
    standby: Standby,
    /// What packets of no service may do.
    pub outbound: Outbound,
    /// Health probes by the director's own packets.
    pub own_probes: OwnProbes,
    /// Virtual routers: which addresses this director has now.
    pub vrrp: Vrrp,
}

impl Director {
    /// A director without links and services; `hasher` carries the key of the flow table, `seed` all other chance.
    pub fn new(settings: Settings, hasher: RandomState, seed: u64) -> Director {
        let mut router = Router::default();
        router.start_ids_at(seed as u16);
        router.path_mtus.discovery = settings.pmtu_disc;
        let stack = Stack::new(settings.icmp_rate, seed);
        let flows = Flows::new(settings, hasher, seed);
        let (ftp, sync, standby) = (Ftp::default(), Sync::default(), Standby::default());
        let (outbound, own_probes, vrrp) = (Outbound::default(), OwnProbes::default(), Vrrp::default());
        Director { router, flows, stack, ftp, sync, standby, outbound, own_probes, vrrp }
    }

    /// Takes one frame from a link. What becomes of it is in the ledger.
    #[cfg(any(test, feature = "testing"))]
    pub fn ingress(&mut self, link: LinkId, buf: &mut PacketBuf, turn: &mut Turn<impl Egress>) {
        let mut parsed = wire::parse(buf);
        self.frame(link, buf, &mut parsed, turn);
    }

    /// The same of a frame that was parsed already.
    #[inline(always)]
    fn frame(
        &mut self,
        link: LinkId,
        buf: &mut PacketBuf,
        parsed: &mut Result<Parsed, DropReason>,
        turn: &mut Turn<impl Egress>,
    ) {
        turn.received();
        turn.link = link;
        // Matched where it is: a packet as parsed is large, and copying it right after it was written stalls.
        match parsed {
            Ok(Parsed::Ip(ip)) if self.has_all_addresses() && self.router.is_for(link, buf.frame()) == Ok(true) => {
                self.counted(&mut Packet::new(buf, ip), turn);
            }
            parsed => {
                if let Err(reason) = self.other_frame(link, buf, parsed, turn) {
                    turn.drop(reason);
                }
            }
        }
    }

    /// True unless another director works, or has some of the addresses.
    #[inline]
    fn has_all_addresses(&self) -> bool {
        self.standby.is_active() && !self.router.virtuals.any_away()
    }

    /// What is no IP packet, not for this station alone, or comes while another director works.
    fn other_frame(
        &mut self,
        link: LinkId,
        buf: &mut PacketBuf,
        parsed: &mut Result<Parsed, DropReason>,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), DropReason> {
        let to_us = self.router.is_for(link, buf.frame())?;
        let mut finished;
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(DropReason::Offload) if wire::finish_inner_checksum(buf) => {
                finished = wire::parse(buf)?;
                &mut finished
            }
            Err(reason) => return Err(*reason),
        };
        if self.standby.silences(parsed, &self.flows.services, &self.router.virtuals) {
            return Err(DropReason::Standby);
        }
        if self.standby.is_active() {
            let mut host = Host { services: &self.flows.services, router: &mut self.router };
            self.stack.claims.heed(link, parsed, &mut host, turn);
        }
        self.own_probes.hear_neighbour(link, parsed);
        match parsed {
            Parsed::Ip(ip) if to_us => {
                self.counted(&mut Packet::new(buf, ip), turn);
                Ok(())
            }
            Parsed::Ip(ip) => self.group_packet(link, &mut Packet::new(buf, ip), turn),
            Parsed::Arp(arp) => self.host().arp(link, arp, turn),
            Parsed::Ndp(Ndp::Query(query)) => {
                let host = Host { services: &self.flows.services, router: &mut self.router };
                self.stack.listeners.queried(link, query, &host, turn)
            }
            Parsed::Ndp(ndp) => self.host().ndp(link, ndp, turn),
        }
    }

    /// An IP packet, which is refused in one place if it goes no further; then all listeners hear of its conns.
    fn counted(&mut self, packet: &mut Packet, turn: &mut Turn<impl Egress>) {
        if let Err(refusal) = self.packet(packet, turn) {
            let host = Host { services: &self.flows.services, router: &mut self.router };
            self.stack.refuse(packet, refusal, host, turn);
        }
        self.tell_listeners();
    }

    /// The path of an IP packet.
    #[inline]
    fn packet(&mut self, packet: &mut Packet, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
        packet.buf.truncate(packet.ip.end);
        check_addresses(packet.ip)?;
        self.ownership().check_options(packet)?;
        if let L4::Icmp { icmp_type, .. } = packet.ip.l4
            && wire::icmp::is_translatable(packet.ip, icmp_type)
            && let Some(done) = self.icmp_error(packet, turn)
        {
            return done;
        }
        if Reassembly::is_piece(packet.frame(), packet.ip)
            && self.ownership().reassembles(packet.ip, self.outbound.is_used())
            && !self.stack.join(packet, turn)?
        {
            return Ok(());
        }
        if packet.buf.vnet.tunnel.is_some() && !self.ownership().passes_whole(packet.ip) {
            self.one_by_one(packet, turn);
            return Ok(());
        }
        let owner = self.ownership().of(packet.ip);
        if !matches!(owner, Owner::Conn(..)) {
            if self.own_probes.hear(packet, &mut self.router, turn) {
                return Ok(());
            }
            if packet.ip.proto == Proto::VRRP && self.owns(packet.ip.dst) {
                return Ok(self.hear_vrrp(None, packet, turn)?);
            }
            self.ownership().check_source(packet.ip)?;
        }
        match owner {
            Owner::Conn(conn, Side::Reply) => self.reply(conn, packet, turn),
            Owner::Forward => self.forward(packet, turn),
            Owner::Local if let Some(inside) = self.outbound.opener(packet) => self.enter(packet, inside, turn),
            Owner::Conn(..) | Owner::Local if self.ownership().is_orphaned_reply(packet.ip) => Err(orphaned_reply()),
            Owner::Conn(..) | Owner::Local if self.only_stands_by() => self.pass_by(packet, turn),
            Owner::Conn(conn, Side::Request) => self.request(conn, packet, turn),
            Owner::Local => self.admit(packet, turn),
        }
    }

    /// A packet to a group: only what another director tells of its conns is for us.
    fn group_packet(
        &mut self,
        link: LinkId,
        packet: &mut Packet,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), DropReason> {
        if packet.ip.proto == Proto::VRRP && Vrrp::is_group(packet.ip.dst) {
            return self.hear_vrrp(Some(link), packet, turn);
        }
        if !self.sync.is_sync_group(link, packet.ip) {
            return Err(DropReason::NotForUs);
        }
        if Reassembly::is_piece(packet.frame(), packet.ip) && !self.stack.join(packet, turn)? {
            return Ok(());
        }
        let done = self.sync.receive(packet, &mut self.flows, &self.router, turn);
        self.tell_listeners();
        done
    }

    /// To whom packets belong.
    #[inline(always)]
    fn ownership(&self) -> Ownership<'_> {
        Ownership { flows: &self.flows, router: &self.router }
    }

    /// True for every address that the director answers for.
    pub fn owns(&self, addr: IpAddr) -> bool {
        self.ownership().owns(addr)
    }

    fn host(&mut self) -> Host<'_> {
        Host { services: &self.flows.services, router: &mut self.router }
    }

    /// A request that is not balanced: as if there were no services.
    fn pass_by(&mut self, packet: &mut Packet, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
        if self.owns(packet.ip.dst) {
            stack::answer(packet, &mut self.router, turn)
        } else {
            self.forward(packet, turn)
        }
    }

    /// A packet to an address of the director that belongs to no conn: a service takes it, or the director's own stack.
    fn admit(&mut self, packet: &mut Packet, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
        if packet.ip.l4 == L4::Truncated {
            return Err(DropReason::TruncatedL4.into());
        }
        let Some((service, tuple)) = self.flows.opening_service(packet.ip) else {
            return stack::answer(packet, &mut self.router, turn);
        };
        if self.flows.drops_this_packet() {
            return Err(DropReason::Defence.into());
        }
        let call = alg::call_of(packet, service, &self.flows)?;
        let Some(choice) = self.flows.choose(service, &tuple, call, turn.now)? else {
            if self.flows.may_bypass(service) && self.ownership().is_elsewhere(tuple.dst.addr) {
                return self.bypass(service, &tuple, packet, turn);
            }
            // Other ports of an FTP service's address are the host's own.
            if self.flows.services.is_ftp(service) && tuple.dst.port != 21 {
                return stack::answer(packet, &mut self.router, turn);
            }
            return Err(Refusal::with(DropReason::NoServer, IcmpError::PortUnreachable));
        };
        let opening = Opening { service, tuple, choice };
        if self.flows.is_one_packet(service, tuple.proto) {
            return self.one_packet(&opening, packet, turn);
        }
        let id = self.open(opening, call, turn.now)?;
        self.flows.begin_sequence(id, packet, turn.now);
        self.tell_listeners();
        self.forward_request(id, packet, turn)
    }

    /// A packet of a mark service that has no usable server goes where it is addressed (`cache_bypass`).
    fn bypass(
        &mut self,
        service: ServiceId,
        tuple: &Tuple,
        packet: &mut Packet,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), Refusal> {
        if self.flows.is_one_packet(service, tuple.proto) {
            let ends = Ends::new(Method::Bypass, tuple.src.into(), tuple.dst.into(), tuple.dst, None);
            return forward::send_to_server(packet, &ends, &mut self.router, turn);
        }
        let id = self.flows.open_bypass(service, tuple, turn.now)?;
        self.tell_listeners();
        self.forward_request(id, packet, turn)
    }

    /// Makes the conn; a server without a free local port is passed over for the scheduler's next choice.
    fn open(&mut self, mut opening: Opening, call: Option<&[u8]>, now: Instant) -> Result<ConnId, DropReason> {
        let Opening { service, tuple, .. } = opening;
        let servers = self.flows.services.get(service).map_or(0, |service| service.dests.len());
        for _ in 0..servers {
            let kind = self.ownership().kind_towards(opening.choice.real.addr);
            let made = self.flows.open(&opening, kind, &self.router, now);
            if made != Err(DropReason::NoLocalPort) {
                return made;
            }
            self.flows.services.exhausted(opening.choice.dest);
            opening.choice = self.flows.choose(service, &tuple, call, now)?.ok_or(DropReason::NoLocalPort)?;
        }
        Err(DropReason::NoLocalPort)
    }

    /// One-packet scheduling: sent as a packet of a conn, and forgotten.
    fn one_packet(
        &mut self,
        opening: &Opening,
        packet: &mut Packet,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), Refusal> {
        let ends = self.flows.open_one_packet(opening, packet.ip.total_len(), &self.router, turn.now)?;
        let done = forward::send_to_server(packet, &ends, &mut self.router, turn);
        self.flows.close_one_packet(opening);
        if let Some(template) = opening.choice.template {
            self.sync.master.template_used(template, &mut self.flows, &mut self.router, turn);
            self.flows.renew_template(template, turn.now);
        }
        done
    }

    /// A packet from a client to the real server of its conn.
    #[inline]
    fn request(&mut self, id: ConnId, packet: &mut Packet, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
        if self.flows.conns.get(id).is_without_client_port()
            && let Some((port, _)) = packet.ip.ports()
        {
            self.flows.conns.learn_client_port(id, port);
        }
        match self.flows.fate(id, packet.ip) {
            ConnFate::Good => self.forward_request(id, packet, turn),
            ConnFate::DestGone => Err(DropReason::DestGone.into()),
            ConnFate::Replaced => {
                self.flows.replace(id);
                if self.ownership().ends_here(packet.ip) {
                    self.admit(packet, turn)
                } else {
                    self.forward(packet, turn)
                }
            }
        }
    }

    /// Counts a packet of a conn, sends it on to the real server, and queues the conn for other directors.
    fn forward_request(
        &mut self,
        id: ConnId,
        packet: &mut Packet,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), Refusal> {
        let flows = &mut self.flows;
        let conn = flows.conns.get(id);
        let event = if conn.is_one_way() { Event::InputOnly } else { Event::Input };
        flows.services.count_in(conn.dest, packet.ip.total_len());
        flows.advance(id, event, &layer4_for_state(packet, &flows.settings), turn.now);
        let conn = flows.conns.get_mut(id);
        conn.in_pkts = conn.in_pkts.wrapping_add(1);
        if conn.is_synced() {
            flows.confirm(id);
        }
        flows.note_expected(id, Side::Request, packet);
        let done = self.send_to_server(id, packet, turn);
        self.sync.master.forwarded(id, &mut self.flows, &mut self.router, turn);
        done
    }

    #[inline]
    fn send_to_server(&mut self, id: ConnId, packet: &mut Packet, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
        let conn = self.flows.conns.get(id);
        if conn.is_local() {
            return self.deliver_here(id, packet, turn);
        }
        if conn.is_helped() {
            self.ftp.request(id, packet, &mut self.flows, turn.now)?;
        }
        let ends = self.flows.ends(id);
        forward::send_to_server(packet, &ends, &mut self.router, turn)
    }

    /// A packet of a conn whose real server is the director itself: nobody listens here, and its own stack says so.
    fn deliver_here(&mut self, id: ConnId, packet: &mut Packet, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
        if self.flows.conns.real(self.flows.conns.get(id)).addr.is_loopback() {
            return Err(DropReason::Martian.into());
        }
        if let L4::Tcp { sport, dport, flags } = packet.ip.l4
            && !flags.rst()
        {
            let reset = L4::Tcp { sport: dport, dport: sport, flags: wire::TcpFlags::RST };
            self.flows.advance(id, Event::Output, &reset, turn.now);
        }
        stack::answer(packet, &mut self.router, turn)
    }

    /// A packet from a real server to the client of its conn.
    fn reply(&mut self, id: ConnId, packet: &mut Packet, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
        let ends = self.flows.ends(id);
        // As the kernel does: a router's checks first, about the packet as the real server sent it.
        let route = self.router.route_onward(packet, ends.client().addr)?;
        forward::check_translatable(packet, &ends)?;
        self.flows.note_expected(id, Side::Reply, packet);
        if self.flows.conns.get(id).is_helped() {
            self.ftp.reply(id, packet, &mut self.flows, turn.now)?;
        }
        let fit = Fit::on(&mut self.router, &route);
        forward::reply(packet, &ends, fit)?;
        self.ownership().record_passage(packet, &route);
        let flows = &mut self.flows;
        flows.conns.get_mut(id).saw_reply();
        flows.services.count_out(flows.conns.get(id).dest, packet.ip.total_len());
        flows.advance(id, Event::Output, &layer4_for_state(packet, &flows.settings), turn.now);
        Ok(self.router.transmit(packet, &route, turn)?)
    }

    /// What has happened to conns is told to those who keep something beside them, in one place.
    #[inline]
    fn tell_listeners(&mut self) {
        while let Some(event) = self.flows.conns.next_event() {
            self.sync.on(event, &self.flows.conns);
            self.ftp.on(event);
            self.flows.refusals.on(event, &self.flows.conns);
        }
    }

    /// Lets time pass: conns expire, neighbours are asked again, caches are cleaned.
    pub fn tick(&mut self, turn: &mut Turn<impl Egress>) {
        let now = turn.now;
        self.judge_standby(now);
        while let Some(due) = self.flows.expire_one(now) {
            match due {
                Due::Over(id, conn) => {
                    expiry_resets::reset_ends((id, &conn), (&self.flows, &self.standby), &mut self.router, turn);
                }
                Due::Prolonged(id) => self.sync.master.prolonged(id, &mut self.flows, &mut self.router, turn),
            }
            self.tell_listeners();
        }
        self.sync.master.send_due(&mut self.router, turn);
        let Director { flows, standby, router, .. } = self;
        flows.sweep(|flows, id, conn| expiry_resets::reset_both((id, conn), (flows, standby), router, turn));
        self.flows.defend(now);
        self.outbound.expire(&mut self.flows.ports, now);
        self.flows.ports.pass_time(now);
        self.tell_listeners();
        let mut host = Host { services: &self.flows.services, router: &mut self.router };
        self.stack.expire_fragments(&mut host, turn);
        self.router.tick(turn);
        self.tick_vrrp(turn);
        self.tell_of_undelivered(turn);
        self.flows.services.read_meters(now);
        self.flows.services.empty_trash(now);
        self.stack.announcements.send_due(&mut self.router, turn);
        self.stack.listeners.send_due(&mut self.router, turn);
    }

    /// When `tick` has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let flows = &self.flows;
        let deadlines = [
            flows.conns.next_deadline(),
            self.router.next_deadline(),
            self.stack.next_deadline(),
            flows.sweep_due(),
            flows.defence_due(),
            self.outbound.next_due(),
            self.sync.due(),
            self.vrrp.due(),
            flows.services.meters_due(),
            flows.services.trash_due(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The conn that a packet of this flow belongs to now, for tests and explanations.
    #[cfg(any(test, feature = "testing"))]
    pub fn conn_of(&self, tuple: &Tuple) -> Option<ConnId> {
        self.flows.conns.lookup(tuple).map(|(id, _)| id)
    }
}

#[cold]
fn orphaned_reply() -> Refusal {
    Refusal::with(DropReason::NoConn, IcmpError::PortUnreachable)
}
