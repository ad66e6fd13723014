//! The path of an IP packet: whose it is, and through which rooms it goes to the link it leaves by.
//!
//! Never edits a packet itself.

use super::Director;
use super::begin::begin;
use super::help::{help_reply, no_local_port};
use super::kernel_quirks::layer4_for_state;
use super::martians::check_addresses;
use super::owner::Owner;
use super::syn_proxy;
use crate::alg;
use crate::base::{ConnId, DropReason, Method, Proto, ServiceId, Tuple};
use crate::conn::{Event, Side};
use crate::flows::{Answer, ConnFate, Opening};
use crate::forward::{self, Ends, Fit};
use crate::router::{Egress, Refusal, Turn};
use crate::stack;
use crate::wire::icmp::IcmpError;
use crate::wire::{self, L4, Packet, Reassembly};

/// The packets from the client with which a conn asks to be forwarded by the kernel: the first comes when a conn of one
/// request is over, and the others after it has left the kernel.
const OFFERED_EVERY: u32 = 16;
const OFFERED_AT: u32 = 8;
/// Of all replies, those whose UDP flows may ask.
const REPLIES_NOTED_EVERY: u64 = 16;

impl Director {
    /// The path of an IP packet.
    #[inline]
    pub(super) fn packet(&mut self, packet: &mut Packet, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
        packet.buf.truncate(packet.ip.end);
        check_addresses(packet.ip)?;
        self.ownership().check_options(packet)?;
        if let L4::Icmp { icmp_type, .. } = packet.ip.l4
            && wire::icmp::is_translatable(packet.ip, icmp_type)
            && let Some(done) = self.errors().about_conn(packet, turn)
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
                return Ok(self.presence().hear_vrrp(None, packet, turn)?);
            }
            self.ownership().check_source(packet.ip)?;
            if self.sync.is_from_peer(packet.ip) && self.router.own_addresses().any(|addr| addr == packet.ip.dst) {
                return Ok(self.hear_sync(packet, turn)?);
            }
        }
        match owner {
            Owner::Conn(conn, Side::Reply) => self.reply(conn, packet, turn),
            Owner::Forward => self.transit().forward(packet, turn),
            Owner::Local if let Some(inside) = self.outbound.opener(packet) => {
                self.transit().enter(packet, inside, turn)
            }
            Owner::Conn(..) | Owner::Local if self.ownership().is_orphaned_reply(packet.ip) => Err(orphaned_reply()),
            Owner::Conn(..) | Owner::Local if self.standby.leaves_conns(&self.sync, &self.flows.settings) => {
                self.pass_by(packet, turn)
            }
            Owner::Conn(conn, Side::Request) => self.request(conn, packet, turn),
            Owner::Local => self.admit(packet, turn),
        }
    }

    /// A request that is not balanced: as if there were no services.
    fn pass_by(&mut self, packet: &mut Packet, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
        if self.owns(packet.ip.dst) {
            stack::answer(packet, &mut self.router, turn)
        } else {
            self.transit().forward(packet, turn)
        }
    }

    /// A packet to an address of the director that belongs to no conn: a service takes it, or the director's own stack.
    fn admit(&mut self, packet: &mut Packet, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
        if packet.ip.l4 == L4::Truncated {
            return Err(DropReason::TruncatedL4.into());
        }
        if self.flows.services.any_syn_proxy()
            && let Some(done) = syn_proxy::proxied(self, packet, turn)
        {
            return done;
        }
        let Some((service, tuple)) = self.flows.opening_service(packet.ip) else {
            if self.flows.keeps_silent(packet.ip) {
                return Err(DropReason::UnknownConn.into());
            }
            if self.ownership().is_closed(packet.ip) {
                return Err(DropReason::NotForUs.into());
            }
            return stack::answer(packet, &mut self.router, turn);
        };
        if self.flows.drops_this_packet() {
            return Err(DropReason::Defence.into());
        }
        self.flows.check_quota(service, &tuple, turn.now)?;
        let call = alg::call_of(packet, service, &self.flows)?;
        let Some(choice) = self.flows.choose(service, &tuple, call, turn.now)? else {
            if self.flows.may_bypass(service) && self.ownership().is_elsewhere(tuple.dst.addr) {
                return self.bypass(service, &tuple, packet, turn);
            }
            // Other ports of an FTP service's address are the host's own.
            if self.flows.services.is_ftp(service) && tuple.dst.port != 21 {
                return stack::answer(packet, &mut self.router, turn);
            }
            if self.flows.lacks_ports(service) {
                return Err(no_local_port(self.flows.settings.no_local_port, packet, &mut self.router, turn));
            }
            return Err(Refusal::with(DropReason::NoServer, IcmpError::PortUnreachable));
        };
        let opening = Opening { service, tuple, choice };
        if self.flows.is_one_packet(service, tuple.proto) {
            return self.one_packet(&opening, packet, turn);
        }
        let id = match begin(self, &opening, call, packet, turn.now) {
            Err(DropReason::NoLocalPort) => {
                return Err(no_local_port(self.flows.settings.no_local_port, packet, &mut self.router, turn));
            }
            opened => opened?,
        };
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
    fn request(&mut self, mut id: ConnId, packet: &mut Packet, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
        let is_looked_at = self.flows.conns.get(id).is_looked_at();
        if is_looked_at && self.flows.conns.get(id).is_without_client_port() {
            id = self.flows.learn_port(id, Side::Request, packet, turn.now);
        }
        match self.flows.fate(id, packet.ip) {
            ConnFate::Good if is_looked_at && self.flows.splices.waiting(id).is_some() => {
                syn_proxy::before_server(self, id, packet, turn)
            }
            ConnFate::Good => self.forward_request(id, packet, turn),
            ConnFate::DestGone => Err(DropReason::DestGone.into()),
            ConnFate::Replaced => {
                self.flows.replace(id);
                if self.ownership().ends_here(packet.ip) {
                    self.admit(packet, turn)
                } else {
                    self.transit().forward(packet, turn)
                }
            }
        }
    }

    /// Counts a packet of a conn, sends it on to the real server, and queues the conn for other directors.
    pub(super) fn forward_request(
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
        let in_pkts = conn.in_pkts.wrapping_add(1);
        conn.in_pkts = in_pkts;
        if conn.is_synced() {
            flows.confirm(id);
        }
        flows.note_expected(id, Side::Request, packet);
        if in_pkts % OFFERED_EVERY == OFFERED_AT {
            self.fast.offer(id);
        }
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
        if conn.is_helped() && !self.help_request(id, packet, turn)? {
            return Ok(());
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
        if self.flows.conns.get(id).is_without_server_port() {
            self.flows.learn_port(id, Side::Reply, packet, turn.now);
        }
        let ends = self.flows.ends(id);
        // As the kernel does: a router's checks first, about the packet as the real server sent it.
        let route = self.router.route_onward(packet, ends.client().addr)?;
        forward::check_translatable(packet, &ends)?;
        self.flows.note_expected(id, Side::Reply, packet);
        let is_helped = self.flows.conns.get(id).is_helped();
        if is_helped {
            help_reply(self, id, packet, turn)?;
        }
        let fit = Fit::on(&mut self.router, &route);
        forward::reply(packet, &ends, fit)?;
        let answer = if is_helped { self.flows.hear_server(id, packet, turn.now) } else { Answer::Passes };
        self.ownership().record_passage(packet, &route);
        let flows = &mut self.flows;
        flows.conns.get_mut(id).saw_reply();
        flows.services.count_out(flows.conns.get(id).dest, packet.ip.total_len());
        flows.advance(id, Event::Output, &layer4_for_state(packet, &flows.settings), turn.now);
        if flows.services.total.out_pkts.is_multiple_of(REPLIES_NOTED_EVERY)
            && flows.conns.get(id).proto() == Proto::UDP
        {
            // Its client may be silent.
            self.fast.note_reply(id);
        }
        if answer != Answer::Passes {
            return syn_proxy::server_answered(self, id, answer, packet, turn);
        }
        Ok(self.router.transmit(packet, &route, turn)?)
    }
}

#[cold]
pub(super) fn orphaned_reply() -> Refusal {
    Refusal::with(DropReason::NoConn, IcmpError::PortUnreachable)
}
