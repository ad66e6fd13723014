//! Packets to the director without a conn: a service takes them, or the director's own stack answers.
//!
//! The order of the checks is IPVS's. Never rewrites: the new conn's packet goes the way of all others.

use std::net::IpAddr;
use std::time::Duration;

use super::Director;
use super::ftp::Ftp;
use super::persist::Choice;
use crate::base::{ConnId, Counted, DestId, DropReason, Endpoint, Family, Instant, Proto, ServiceId, Tunnel, Tuple};
use crate::conn::{Conn, Forwarding, Kind, NewConn, SctpState, TcpState};
use crate::forward::Ends;
use crate::router::Egress;
use crate::service::command::Method;
use crate::wire::icmp::IcmpError;
use crate::wire::{Ip, L4, PacketBuf};

/// How long a conn lives that no packet has moved yet.
const UNBORN: Duration = Duration::from_secs(3);
const SCTP_INIT: u8 = 1;
const SCTP_ABORT: u8 = 6;
/// Active FTP data conns come from here; they are never scheduled.
const FTP_DATA_PORT: u16 = 20;

/// What a packet of a conn meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// The conn takes it.
    Good,
    /// The conn ends, and the packet is treated as without one.
    Replaced,
    /// The dest was removed; the packet is dropped in silence.
    DestGone,
}

impl Director {
    /// A packet to an address of ours that belongs to no conn.
    pub(super) fn schedule(
        &mut self,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        if ip.l4 == L4::Truncated {
            return Err(DropReason::TruncatedL4);
        }
        let Some((service, tuple)) = self.wanted_by(ip) else { return self.answer(buf, ip, now, out) };
        if self.sacrifices_packet() {
            return Err(DropReason::Defence);
        }
        let call = self.call_of(service, buf, ip)?;
        let Some(choice) = self.choose(service, &tuple, call, now)? else {
            return self.no_server(service, &tuple, buf, ip, now, out);
        };
        if self.is_one_packet(service, &tuple) {
            return self.one_packet(service, &choice, &tuple, buf, ip, now, out);
        }
        let id = self.connect(service, &choice, &tuple, now)?;
        self.follow(id, buf, ip, now, out)
    }

    /// One-packet scheduling is for UDP only, whatever else a mark collects.
    fn is_one_packet(&self, service: ServiceId, tuple: &Tuple) -> bool {
        tuple.proto == Proto::UDP && self.services.get(service).is_some_and(|service| service.options.one_packet)
    }

    /// A conn for one packet: counted, never stored, so that its reply is nobody's.
    #[allow(clippy::too_many_arguments)]
    fn one_packet(
        &mut self,
        service: ServiceId,
        choice: &Choice,
        tuple: &Tuple,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        let Choice { dest, real, template } = *choice;
        let forwarding = self.forwarding(dest);
        let local = match forwarding {
            Forwarding::FullNat => {
                let local = self.local_endpoint(service, tuple.proto, real, now)?;
                self.ports.give_back(local.addr, tuple.proto, real, local.port);
                Some(local)
            }
            Forwarding::Nat | Forwarding::Direct | Forwarding::Tunnel => None,
        };
        self.services.bind(dest);
        self.services.count_conn(service, dest);
        self.services.count_in(dest, ip.total_len());
        let method = (forwarding, self.tunnel_of(dest));
        let ends = Ends::new(method, tuple.src.into(), tuple.dst.into(), real, local);
        let done = self.serve(&ends, buf, ip, now, out);
        self.services.unbind(dest, Counted::Inactive);
        if let Some(template) = template {
            self.sync_template(template, now, out);
            self.renew_template(template, now);
        }
        done
    }

    pub(super) fn forwarding(&self, dest: DestId) -> Forwarding {
        match self.services.dest(dest).method {
            Method::Nat => Forwarding::Nat,
            Method::Direct => Forwarding::Direct,
            Method::Tunnel(_) => Forwarding::Tunnel,
            Method::FullNat => Forwarding::FullNat,
        }
    }

    /// How a dest's tunnel is made now, whatever the method of the conn.
    pub(super) fn tunnel_of(&self, dest: DestId) -> Tunnel {
        match self.services.dest(dest).method {
            Method::Tunnel(tunnel) => tunnel,
            Method::Nat | Method::Direct | Method::FullNat => Tunnel::Ipip,
        }
    }

    /// The service that may open a conn for this packet.
    fn wanted_by(&self, ip: &Ip) -> Option<(ServiceId, Tuple)> {
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

    /// The client learns that nobody is there; other ports of an FTP service's address are the host's own.
    fn no_server(
        &mut self,
        service: ServiceId,
        tuple: &Tuple,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        if self.services.is_ftp(service) && tuple.dst.port != 21 {
            return self.answer(buf, ip, now, out);
        }
        self.complain(IcmpError::PortUnreachable, buf, ip, now, out);
        Err(DropReason::NoServer)
    }

    /// Makes the conn.
    fn connect(
        &mut self,
        service: ServiceId,
        choice: &Choice,
        tuple: &Tuple,
        now: Instant,
    ) -> Result<ConnId, DropReason> {
        let Choice { dest, real, template } = *choice;
        let forwarding = self.forwarding(dest);
        let local = match forwarding {
            Forwarding::FullNat => Some(self.local_endpoint(service, tuple.proto, real, now)?),
            Forwarding::Nat | Forwarding::Direct | Forwarding::Tunnel => None,
        };
        let new = NewConn {
            proto: tuple.proto,
            client: tuple.src,
            virt: tuple.dst,
            real: self.conns.intern(real.addr).ok_or(DropReason::FlowTableFull)?,
            dport: real.port,
            local: match local {
                Some(local) => Some((self.conns.intern(local.addr).ok_or(DropReason::FlowTableFull)?, local.port)),
                None => None,
            },
            dest,
            forwarding,
            kind: if self.is_here(real.addr) { Kind::LocalFlow } else { Kind::Flow },
        };
        let made = self.insert(&new, now, UNBORN);
        match (made, local) {
            (Ok(id), _) => {
                self.services.bind(dest);
                self.services.count_conn(service, dest);
                if Ftp::watches(self.conns.get(id)) {
                    self.conns.get_mut(id).set_helped();
                }
                if let Some(template) = template {
                    self.conns.set_control(id, template);
                    self.renew_template(template, now);
                }
            }
            (Err(_), Some(local)) => self.ports.give_back(local.addr, tuple.proto, real, local.port),
            (Err(_), None) => {}
        }
        made
    }

    /// True if a real server's address is the director's own, whatever the method.
    pub(super) fn is_here(&self, real: IpAddr) -> bool {
        real.is_loopback() || self.owns(real)
    }

    /// A place in the flow table.
    pub(super) fn insert(&mut self, new: &NewConn, now: Instant, timeout: Duration) -> Result<ConnId, DropReason> {
        let mut inserted = self.conns.insert(new, now, timeout);
        if inserted.is_err() && self.evict_half_open() {
            inserted = self.conns.insert(new, now, timeout);
        }
        inserted.map_err(|_| {
            self.warnings.flow_table_full(now, self.settings.max_flows);
            DropReason::FlowTableFull
        })
    }

    /// A local endpoint for FULL-NAT: the service's local addresses in turn, else the director's own.
    fn local_endpoint(
        &mut self,
        service: ServiceId,
        proto: Proto,
        real: Endpoint,
        now: Instant,
    ) -> Result<Endpoint, DropReason> {
        let count = self.services.get(service).map_or(0, |service| service.locals.len());
        for _ in 0..count.max(1) {
            let Some(addr) =
                self.services.next_local(service, Family::of(real.addr)).or_else(|| self.own_address(real.addr))
            else {
                break;
            };
            if let Some(port) = self.ports.take(addr, proto, real) {
                return Ok(Endpoint::new(addr, port));
            }
        }
        self.warnings.no_local_port(now, real);
        Err(DropReason::NoLocalPort)
    }

    fn own_address(&self, towards: IpAddr) -> Option<IpAddr> {
        let route = self.router.route(towards).ok()?;
        self.router.source(route.link, route.next_hop, towards)
    }

    /// What a conn held besides its record goes back where it came from.
    pub(super) fn settle(&mut self, id: ConnId, conn: &Conn) {
        if conn.is_template() {
            self.calls.forget(id);
            return self.services.unbind_template(conn.dest);
        }
        if conn.is_helped() {
            self.ftp.forget(id);
        }
        self.services.unbind(conn.dest, conn.counted());
        if let Some(local) = self.conns.local(conn) {
            self.ports.give_back(local.addr, conn.proto(), self.conns.real(conn), local.port);
        }
    }

    /// Whether a conn still takes a packet of its flow.
    ///
    /// A first packet on a conn that is over starts another one (`conn_reuse_mode`); with `expire_nodest_conn` so does
    /// one on a quiesced dest, and any packet on a dest that was removed.
    #[inline]
    pub(super) fn standing(&self, id: ConnId, ip: &Ip) -> Standing {
        let server = self.services.server(self.conns.get(id).dest);
        let expire = self.settings.expire_nodest_conn;
        let first = match ip.l4 {
            L4::Tcp { flags, .. } => flags.syn(),
            L4::Sctp { chunk, .. } => chunk == SCTP_INIT,
            L4::Udp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => false,
        };
        if first && ((expire && server.weight == 0) || self.is_over(id)) {
            return Standing::Replaced;
        }
        match (server.available, expire) {
            (true, _) => Standing::Good,
            (false, true) => Standing::Replaced,
            (false, false) => Standing::DestGone,
        }
    }

    /// True if a first packet means a new conn; never for conns that persistence or a helper made.
    fn is_over(&self, id: ConnId) -> bool {
        let conn = self.conns.get(id);
        let mode = self.settings.conn_reuse_mode;
        if mode == 0 || conn.control().is_some() {
            return false;
        }
        if conn.proto() == Proto::SCTP {
            return SctpState::from_number(conn.state) == SctpState::Closed;
        }
        match TcpState::from_number(conn.state) {
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

    /// The name of a conn's state in listings.
    pub fn state_name(&self, conn: &Conn) -> &'static str {
        if conn.is_template() {
            return Director::template_state(conn);
        }
        self.timeouts.state(conn.proto(), conn.state).name
    }
}
