//! Packets to the director without a conn: a service takes them, or the director's own stack answers.
//!
//! The order of the checks is IPVS's. Never rewrites: the new conn's packet goes the way of all others.

use std::net::IpAddr;

use super::Director;
use crate::base::{ConnId, Counted, DestId, DropReason, Endpoint, Instant, Proto, ServiceId, Tuple};
use crate::conn::{Conn, Forwarding, NewConn, TcpState};
use crate::forward::Ends;
use crate::neigh::Egress;
use crate::service::command::Method;
use crate::wire::icmp::Complaint;
use crate::wire::{Fragment, Ip, L4, PacketBuf};

/// How long a conn lives that no packet has moved yet.
const UNBORN: std::time::Duration = std::time::Duration::from_secs(3);
const SCTP_INIT: u8 = 1;
const SCTP_ABORT: u8 = 6;
/// Active FTP data conns come from here; they are never scheduled.
const FTP_DATA_PORT: u16 = 20;

impl Director {
    /// A packet to an address of ours that belongs to no conn.
    pub(super) fn schedule(
        &mut self,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        if ip.fragment != Fragment::Whole {
            return Err(DropReason::Fragment);
        }
        if ip.l4 == L4::Truncated {
            return Err(DropReason::TruncatedL4);
        }
        let Some((service, tuple)) = self.wanted_by(ip) else { return self.answer(buf, ip, now, out) };
        let Some(dest) = self.services.pick(service, &tuple, now) else {
            return self.no_server(service, &tuple, buf, ip, now, out);
        };
        if self.is_one_packet(service, &tuple) {
            return self.one_packet(service, dest, &tuple, buf, ip, now, out);
        }
        let id = self.connect(service, dest, &tuple, now)?;
        self.request(id, buf, ip, now, out)
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
        dest: DestId,
        tuple: &Tuple,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        let forwarding = self.forwarding(dest);
        let real = self.real_endpoint(dest, tuple);
        let peer = match forwarding {
            Forwarding::FullNat => {
                let local = self.local_endpoint(service, tuple.proto, real, now)?;
                self.ports.give_back(local.addr, tuple.proto, real, local.port);
                local
            }
            Forwarding::Nat | Forwarding::Direct | Forwarding::Tunnel => tuple.src,
        };
        self.services.bind(service, dest);
        self.services.count_in(dest, ip.total_len());
        let done = self.serve(&Ends { forwarding, client: tuple.src, virt: tuple.dst, real, peer }, buf, ip, now, out);
        self.services.unbind(dest, Counted::Inactive);
        done
    }

    fn forwarding(&self, dest: DestId) -> Forwarding {
        match self.services.dest(dest).method {
            Method::Nat => Forwarding::Nat,
            Method::Direct => Forwarding::Direct,
            Method::Tunnel(_) => Forwarding::Tunnel,
            Method::FullNat => Forwarding::FullNat,
        }
    }

    /// A dest without a port takes the packet's.
    fn real_endpoint(&self, dest: DestId, tuple: &Tuple) -> Endpoint {
        let endpoint = self.services.server(dest).endpoint;
        let port = if endpoint.port == 0 { tuple.dst.port } else { endpoint.port };
        Endpoint::new(endpoint.addr, port)
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
        self.complain(Complaint::PortUnreachable, buf, ip, now, out);
        Err(DropReason::NoServer)
    }

    /// Makes the conn.
    fn connect(&mut self, service: ServiceId, dest: DestId, tuple: &Tuple, now: Instant) -> Result<ConnId, DropReason> {
        let forwarding = self.forwarding(dest);
        let real = self.real_endpoint(dest, tuple);
        let local = match forwarding {
            Forwarding::FullNat => Some(self.local_endpoint(service, tuple.proto, real, now)?),
            Forwarding::Nat | Forwarding::Direct | Forwarding::Tunnel => None,
        };
        let full = |_| DropReason::FlowTableFull;
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
        };
        let made = self.conns.insert(&new, now, UNBORN).map_err(full);
        match made {
            Ok(_) => self.services.bind(service, dest),
            Err(_) => {
                if let Some(local) = local {
                    self.ports.give_back(local.addr, tuple.proto, real, local.port);
                }
                self.warnings.flow_table_full(now, self.settings.max_flows);
            }
        }
        made
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
            let Some(addr) = self.services.next_local(service).or_else(|| self.own_address(real.addr)) else { break };
            if let Some(port) = self.ports.take(addr, proto, real) {
                return Ok(Endpoint::new(addr, port));
            }
        }
        self.warnings.no_local_port(now, real);
        Err(DropReason::NoLocalPort)
    }

    fn own_address(&self, towards: IpAddr) -> Option<IpAddr> {
        let route = self.router.route(towards).ok()?;
        self.router.source(route.link, route.next_hop)
    }

    /// What a conn held besides its record goes back where it came from.
    pub(super) fn settle(&mut self, conn: &Conn) {
        self.services.unbind(conn.dest, conn.counted());
        if let Some(local) = self.conns.local(conn) {
            self.ports.give_back(local.addr, conn.proto(), self.conns.real(conn), local.port);
        }
    }

    /// A SYN on a conn that is over starts another one (`conn_reuse_mode`).
    pub(super) fn is_reused(&self, id: ConnId, ip: &Ip) -> bool {
        let L4::Tcp { flags, .. } = ip.l4 else { return false };
        if !flags.syn() || self.settings.conn_reuse_mode == 0 {
            return false;
        }
        match TcpState::from_number(self.conns.get(id).state) {
            TcpState::TimeWait | TcpState::Close => true,
            TcpState::FinWait => self.settings.conn_reuse_mode & 2 != 0 && self.conns.get(id).is_one_way(),
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
        self.timeouts.state(conn.proto(), conn.state).name
    }
}
