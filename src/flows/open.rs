//! How a conn is made: its local port, its place in the flow table, what it counts.
//!
//! Never decides whether a packet may open one (`admission`), and never rewrites: the packet goes the way of all others.

use std::net::IpAddr;
use std::time::Duration;

use super::{Choice, Flows};
use crate::base::{ConnId, Counted, DestId, DropReason, Endpoint, Family, Instant, Method, Proto, ServiceId, Tuple};
use crate::conn::{AddrId, Full, Kind, NewConn, Room};
use crate::forward::Ends;
use crate::router::Router;
use crate::service::Service;
use crate::settings::Ports;

/// How long a conn lives that no packet has moved yet.
pub(super) const UNBORN: Duration = Duration::from_secs(3);

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
    /// Makes the conn; a server without a free local port is passed over for the scheduler's next choice.
    pub fn open(
        &mut self,
        opening: &Opening,
        call: Option<&[u8]>,
        router: &Router,
        now: Instant,
    ) -> Result<ConnId, DropReason> {
        match self.open_to(opening, router, now) {
            Err(DropReason::NoLocalPort) => self.open_elsewhere(*opening, call, router, now),
            made => made,
        }
    }

    /// The server of this opening has no local port left.
    #[cold]
    fn open_elsewhere(
        &mut self,
        mut opening: Opening,
        call: Option<&[u8]>,
        router: &Router,
        now: Instant,
    ) -> Result<ConnId, DropReason> {
        let Opening { service, tuple, .. } = opening;
        let servers = self.services.get(service).map_or(0, |service| service.dests.len());
        for _ in 0..servers {
            self.services.exhausted(opening.choice.dest);
            opening.choice = self.choose(service, &tuple, call, now)?.ok_or(DropReason::NoLocalPort)?;
            let made = self.open_to(&opening, router, now);
            if made != Err(DropReason::NoLocalPort) {
                return made;
            }
        }
        Err(DropReason::NoLocalPort)
    }

    /// The same to this server.
    fn open_to(&mut self, opening: &Opening, router: &Router, now: Instant) -> Result<ConnId, DropReason> {
        let Opening { service, tuple, choice: Choice { dest, real, template } } = *opening;
        let local = self.local_for(opening, router, now)?;
        // A template that was used just now is not what makes room for its conn.
        if let Some(template) = template {
            self.renew_template(template, now);
        }
        let made = self.store(opening, self.kind_towards(real.addr, router), local, now);
        match (made, local) {
            (Ok(id), _) => {
                self.services.bind(dest);
                self.services.count_conn(service, dest);
                if self.services.get(service).is_some_and(Service::limits_conns_of_clients) {
                    let conn = *self.conns.get(id);
                    self.count_at_client(id, &conn);
                }
                if let Some(template) = template {
                    self.conns.set_control(id, template);
                }
            }
            (Err(_), Some(local)) => self.ports.give_back(local.addr, tuple.proto, real, local.port),
            (Err(_), None) => {}
        }
        made
    }

    /// The kind of a conn to this server, which may be the director itself.
    pub fn kind_towards(&self, real: IpAddr, router: &Router) -> Kind {
        let is_here = real.is_loopback() || self.services.owns(real) || router.owns(real);
        if is_here { Kind::LocalFlow } else { Kind::Flow }
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
        if self.announces(id) {
            self.conns.get_mut(id).set_helped(true);
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

    /// A conn's server knows its client: from now on nobody reads the conn but FTP or SIP, and who moves its numbers.
    pub fn ends_help(&mut self, id: ConnId) {
        let is_read_on = self.announces(id) || self.splices.get(id).is_some();
        self.conns.get_mut(id).set_helped(is_read_on);
    }

    /// True for a conn that will announce others.
    pub fn announces(&self, id: ConnId) -> bool {
        self.is_ftp_control(id) || self.is_sip(id) || self.is_sip_over_tcp(id)
    }

    /// True for a conn whose replies pass here, of this protocol and to one of these ports.
    #[inline]
    fn is_for(&self, id: ConnId, proto: Proto, ports: &Ports) -> bool {
        let conn = self.conns.get(id);
        conn.proto() == proto
            && conn.rewrites_replies()
            && !conn.is_template()
            && ports.contains(conn.packed_virt().port)
    }

    /// True for a conn of SIP over UDP, whose messages say where media are waited for.
    pub fn is_sip(&self, id: ConnId) -> bool {
        self.is_for(id, Proto::UDP, &self.settings.sip_ports)
    }

    /// The same over TCP.
    pub fn is_sip_over_tcp(&self, id: ConnId) -> bool {
        self.is_for(id, Proto::TCP, &self.settings.sip_ports)
    }

    /// True for a control conn of FTP.
    pub fn is_ftp_control(&self, id: ConnId) -> bool {
        self.is_for(id, Proto::TCP, &self.settings.ftp_ports)
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

    /// True if the scheduler passes over servers of the service towards which no local address has a port left.
    pub fn lacks_ports(&self, service: ServiceId) -> bool {
        let Some(service) = self.services.get(service) else { return false };
        let is_behind = |dest: &&DestId| self.services.dest(**dest).method == Method::FullNat;
        service.dests.iter().filter(is_behind).any(|dest| self.services.server(*dest).is_exhausted())
    }

    /// One of the service's local addresses, else the director's own, with a free port. Where the search begins is drawn:
    /// addresses in turn would go round in step with servers in turn, so that each server saw one address alone.
    fn local_endpoint(&mut self, opening: &Opening, router: &Router, now: Instant) -> Result<Endpoint, DropReason> {
        let Opening { service, tuple, choice: Choice { real, .. } } = *opening;
        let locals = self.services.locals_of_family(service, Family::of(real.addr));
        let own = if locals.is_empty() { own_address(router, real.addr) } else { None };
        let (before, from) = locals.split_at(self.rng.below(locals.len() as u64) as usize);
        let mut candidates = from.iter().chain(before).copied().chain(own);
        let reserve = self.services.get(service).map_or(0, |service| service.options.quota.leave_ports);
        let free = candidates.find_map(|addr| Some((addr, self.ports.take_above(reserve, addr, tuple.proto, real)?)));
        let (addr, port) = free.ok_or_else(|| {
            self.warnings.no_local_port(now, real);
            DropReason::NoLocalPort
        })?;
        Ok(Endpoint::new(addr, port))
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
}

/// The address as which the director itself sends to a server.
pub fn own_address(router: &Router, towards: IpAddr) -> Option<IpAddr> {
    let route = router.route(towards).ok()?;
    router.source(route.link, route.next_hop, towards)
}
