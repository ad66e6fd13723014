//! Admission of a new flow, and whether a known one still takes a packet.
//!
//! The order of the checks is IPVS's. Never rewrites: the new conn's packet goes the way of all others.

use std::net::IpAddr;
use std::time::Duration;

use super::{Choice, Flows};
use crate::base::{ConnId, Counted, DropReason, Endpoint, Family, Instant, Method, Proto, ServiceId, Tuple};
use crate::conn::{AddrId, Full, Kind, NewConn, Room, SctpState, TcpState};
use crate::forward::Ends;
use crate::router::Router;
use crate::sched::Mask;
use crate::wire::{Ip, L4};

/// How long a conn lives that no packet has moved yet.
pub(super) const UNBORN: Duration = Duration::from_secs(3);
const SCTP_INIT: u8 = 1;
/// The chunk that ends an association at once.
pub const SCTP_ABORT: u8 = 6;
/// Active FTP data conns come from here; they are never scheduled.
const FTP_DATA_PORT: u16 = 20;

/// What a packet of a known conn meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnFate {
    /// The conn takes it.
    Good,
    /// The conn ends, and the packet is treated as without one.
    Replaced,
    /// The dest was removed; the packet is dropped in silence.
    DestGone,
}

/// A flow that is about to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The service that takes it.
    pub service: ServiceId,
    /// Its first packet's ends.
    pub tuple: Tuple,
    /// The server.
    pub choice: Choice,
}

impl Flows {
    /// The service that may open a conn for this packet.
    pub fn opening_service(&self, ip: &Ip) -> Option<(ServiceId, Tuple)> {
        let tuple = ip.tuple()?;
        let opens = match ip.l4 {
            L4::Tcp { flags, .. } => !flags.rst() && (flags.syn() || self.settings.sloppy_tcp),
            L4::Udp { .. } => true,
            L4::Sctp { chunk, .. } => chunk == SCTP_INIT || (self.settings.sloppy_sctp && chunk != SCTP_ABORT),
            L4::Icmp { .. } | L4::Other | L4::Truncated => false,
        };
        if !opens || tuple.src.port == FTP_DATA_PORT {
            return None;
        }
        Some((self.services.find(&tuple)?, tuple))
    }

    /// The service that opens a conn because of an ICMP error about one of its replies (`schedule_icmp`); `mark` is the
    /// error's own. The tuple is that of requests.
    pub fn opening_service_of_error(&self, mark: u32, tuple: &Tuple) -> Option<ServiceId> {
        let from_ftp = tuple.src.port == FTP_DATA_PORT;
        self.services.find_marked(mark, tuple.proto, tuple.dst).filter(|_| !from_ftp)
    }

    /// One-packet scheduling is for UDP only, whatever else a mark collects.
    pub fn is_one_packet(&self, service: ServiceId, proto: Proto) -> bool {
        let configured = self.services.get(service);
        proto == Proto::UDP && configured.is_some_and(|service| service.options.one_packet)
    }

    /// The ends of a conn for one packet (one-packet scheduling): counted, never stored, so that its reply finds none.
    /// It counts at its dest until `close_one_packet`.
    pub fn open_one_packet(
        &mut self,
        opening: &Opening,
        bytes: usize,
        router: &Router,
        now: Instant,
    ) -> Result<Ends, DropReason> {
        let Opening { service, tuple, choice: Choice { dest, real, .. } } = *opening;
        let local = self.local_for(opening, router, now)?;
        if let Some(local) = local {
            self.ports.give_back(local.addr, tuple.proto, real, local.port);
        }
        self.services.bind(dest);
        self.services.count_conn(service, dest);
        self.services.count_in(dest, bytes);
        Ok(Ends::new(self.services.dest(dest).method, tuple.src.into(), tuple.dst.into(), real, local))
    }

    /// The packet of a conn for one packet was sent.
    pub fn close_one_packet(&mut self, opening: &Opening) {
        self.services.unbind(opening.choice.dest, Counted::Inactive);
    }

    /// Makes the conn; `local` if its server is the director itself.
    pub fn open(&mut self, opening: &Opening, kind: Kind, router: &Router, now: Instant) -> Result<ConnId, DropReason> {
        let Opening { service, tuple, choice: Choice { dest, real, template } } = *opening;
        let local = self.local_for(opening, router, now)?;
        // A template that was used just now is not what makes room for its conn.
        if let Some(template) = template {
            self.renew_template(template, now);
        }
        let made = self.store(opening, kind, local, now);
        match (made, local) {
            (Ok(id), _) => {
                self.services.bind(dest);
                self.services.count_conn(service, dest);
                if let Some(template) = template {
                    self.conns.set_control(id, template);
                }
            }
            (Err(_), Some(local)) => self.ports.give_back(local.addr, tuple.proto, real, local.port),
            (Err(_), None) => {}
        }
        made
    }

    fn store(
        &mut self,
        opening: &Opening,
        kind: Kind,
        local: Option<Endpoint>,
        now: Instant,
    ) -> Result<ConnId, DropReason> {
        let Opening { tuple, choice: Choice { dest, real, .. }, .. } = *opening;
        let new = NewConn {
            proto: tuple.proto,
            client: tuple.src,
            virt: tuple.dst,
            real: self.intern(real.addr, now)?,
            dport: real.port,
            local: match local {
                Some(local) => Some((self.intern(local.addr, now)?, local.port)),
                None => None,
            },
            dest,
            method: self.services.dest(dest).method,
            kind,
        };
        self.insert(&new, now, UNBORN)
    }

    /// A place in the flow table, of a conn that is worth less if need be.
    pub fn insert(&mut self, new: &NewConn, now: Instant, timeout: Duration) -> Result<ConnId, DropReason> {
        if self.conns.len() >= self.settings.conn_max {
            return Err(DropReason::FlowTableFull);
        }
        let room = self.conns.room_for(new);
        let made_room = room == Room::Enough || self.make_room(room, now) || room == Room::HalfOpen;
        let inserted = if made_room { self.conns.insert(new, now, timeout) } else { Err(Full) };
        let id = inserted.map_err(|_| {
            self.warnings.flow_table_full(now, self.settings.max_flows);
            DropReason::FlowTableFull
        })?;
        if self.is_ftp_control(id) {
            self.conns.get_mut(id).set_helped();
        }
        Ok(id)
    }

    /// The index of an address for a record; where conns hold as many different ones as a table can name, those of least
    /// worth make room.
    pub(super) fn intern(&mut self, addr: IpAddr, now: Instant) -> Result<AddrId, DropReason> {
        /// Conns that end for it: each look for an address that nobody holds is a walk over all.
        const TRIES: usize = 4;
        for _ in 0..TRIES {
            if let Some(id) = self.conns.intern(addr) {
                return Ok(id);
            }
            self.warnings.addresses_used_up(now);
            if !self.make_room(Room::Full, now) {
                break;
            }
        }
        self.conns.intern(addr).ok_or(DropReason::FlowTableFull)
    }

    /// True for a conn that will announce others.
    fn is_ftp_control(&self, id: ConnId) -> bool {
        let conn = self.conns.get(id);
        conn.proto() == Proto::TCP
            && conn.is_nat()
            && self.settings.ftp_ports.contains(conn.virt().port)
            && !conn.is_template()
    }

    /// Ends the conn of least worth, so that a new one has its place.
    fn make_room(&mut self, room: Room, now: Instant) -> bool {
        let Some((id, worth)) = self.conns.least_worth(room, &self.timeouts, now) else { return false };
        self.end(id);
        self.defence.count_evicted(worth);
        true
    }

    /// The local endpoint of a conn in FULL-NAT.
    fn local_for(&mut self, opening: &Opening, router: &Router, now: Instant) -> Result<Option<Endpoint>, DropReason> {
        match self.services.dest(opening.choice.dest).method {
            Method::FullNat => self.local_endpoint(opening, router, now).map(Some),
            Method::Nat | Method::Direct | Method::Tunnel(_) | Method::Bypass => Ok(None),
        }
    }

    /// One of the service's local addresses, else the director's own, with a free port. Where the search begins is drawn:
    /// addresses in turn would go round in step with servers in turn, so that each server saw one address alone.
    fn local_endpoint(&mut self, opening: &Opening, router: &Router, now: Instant) -> Result<Endpoint, DropReason> {
        let Opening { service, tuple, choice: Choice { real, .. } } = *opening;
        let locals = self.services.locals_of_family(service, Family::of(real.addr));
        let count = locals.clone().count();
        let start = self.rng.below(count as u64) as usize;
        let own = || own_address(router, real.addr).filter(|_| count == 0);
        let mut candidates = locals.cycle().skip(start).take(count).chain(own());
        let free = candidates.find_map(|addr| Some((addr, self.ports.take(addr, tuple.proto, real)?)));
        let (addr, port) = free.ok_or_else(|| {
            self.warnings.no_local_port(now, real);
            DropReason::NoLocalPort
        })?;
        Ok(Endpoint::new(addr, port))
    }

    /// Whether a conn still takes a packet of its flow.
    ///
    /// A first packet on a conn that is over starts another one (`conn_reuse_mode`); with `expire_nodest_conn` so does
    /// one on a quiesced dest, and any packet on a dest that was removed.
    #[inline]
    pub fn fate(&self, id: ConnId, ip: &Ip) -> ConnFate {
        let server = self.services.server(self.conns.get(id).dest);
        let expire = self.settings.expire_nodest_conn;
        let first = match ip.l4 {
            L4::Tcp { flags, .. } => flags.syn(),
            L4::Sctp { chunk, .. } => chunk == SCTP_INIT,
            L4::Udp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => false,
        };
        if first && ((expire && server.weight == 0) || self.is_over(id)) {
            return ConnFate::Replaced;
        }
        if server.mask != Mask::None && self.is_abandoned(id, first) {
            return ConnFate::Replaced;
        }
        match (server.available, expire) {
            (true, _) => ConnFate::Good,
            (false, true) => ConnFate::Replaced,
            (false, false) => ConnFate::DestGone,
        }
    }

    /// True if checks took the dest out, so that what begins anew, and every datagram, goes elsewhere.
    #[cold]
    fn is_abandoned(&self, id: ConnId, first: bool) -> bool {
        let conn = self.conns.get(id);
        (first || conn.proto() == Proto::UDP) && self.services.is_abandoned(conn.dest)
    }

    /// True if a first packet means a new conn; never for conns that persistence or a helper made.
    fn is_over(&self, id: ConnId) -> bool {
        let conn = self.conns.get(id);
        let mode = self.settings.conn_reuse_mode;
        if mode == 0 || conn.control().is_some() {
            return false;
        }
        if conn.proto() == Proto::SCTP {
            return SctpState::from_number(conn.state()) == SctpState::Closed;
        }
        match TcpState::from_number(conn.state()) {
            TcpState::TimeWait | TcpState::Close => true,
            TcpState::FinWait => mode & 2 != 0 && conn.is_one_way(),
            TcpState::None
            | TcpState::Established
            | TcpState::SynSent
            | TcpState::SynRecv
            | TcpState::CloseWait
            | TcpState::LastAck
            | TcpState::Listen
            | TcpState::SynAck => false,
        }
    }
}

fn own_address(router: &Router, towards: IpAddr) -> Option<IpAddr> {
    let route = router.route(towards).ok()?;
    router.source(route.link, route.next_hop, towards)
}
