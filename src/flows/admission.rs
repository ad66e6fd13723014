//! Admission of a new flow, and whether a known one still takes a packet.
//!
//! The order of the checks is IPVS's. Never changes anything: who is admitted is opened by `open`.

use super::Flows;
use crate::base::{ConnId, DestId, Method, Proto, ServiceId, Tuple};
use crate::conn::{SctpState, TcpState};
use crate::sched::Mask;
use crate::settings::Unknown;
use crate::wire::{Ip, L4};

const SCTP_INIT: u8 = 1;
/// The chunk that ends an association at once.
pub const SCTP_ABORT: u8 = 6;
/// Active FTP data conns come from here; they are never scheduled.
pub const FTP_DATA_PORT: u16 = 20;

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

impl Flows {
    /// The service that may open a conn for this packet.
    pub fn opening_service(&self, ip: &Ip) -> Option<(ServiceId, Tuple)> {
        let tuple = ip.tuple()?;
        let opens = match ip.l4 {
            L4::Tcp { flags, .. } if flags.syn() || self.settings.sloppy_tcp => !flags.rst(),
            L4::Tcp { flags, .. } => return self.adopting_service(&tuple).filter(|_| !flags.rst()),
            L4::Udp { .. } => true,
            L4::Sctp { chunk, .. } => chunk == SCTP_INIT || (self.settings.sloppy_sctp && chunk != SCTP_ABORT),
            L4::Icmp { .. } | L4::Other | L4::Truncated => false,
        };
        if !opens || tuple.src.port == FTP_DATA_PORT {
            return None;
        }
        Some((self.services.find(&tuple)?, tuple))
    }

    /// The service that takes a conn whose beginning was not seen (`unknown` is adopt). In FULL-NAT none can: the server knows
    /// the conn by a local port, and by sequence numbers, that only the director knew that had opened it.
    #[cold]
    fn adopting_service(&self, tuple: &Tuple) -> Option<(ServiceId, Tuple)> {
        if self.settings.unknown != Unknown::Adopt || tuple.src.port == FTP_DATA_PORT {
            return None;
        }
        let service = self.services.find(tuple)?;
        let is_lost = |dest: &DestId| self.services.dest(*dest).method == Method::FullNat;
        let dests = &self.services.get(service)?.dests;
        (!dests.iter().any(is_lost)).then_some((service, *tuple))
    }

    /// True for a segment of no conn here that is for a service and opens none, where such ones get no answer (`unknown` is
    /// drop).
    #[cold]
    pub fn keeps_silent(&self, ip: &Ip) -> bool {
        let L4::Tcp { flags, .. } = ip.l4 else { return false };
        let is_unknown = || ip.tuple().is_some_and(|tuple| self.services.find(&tuple).is_some());
        self.settings.unknown == Unknown::Drop && !flags.syn() && is_unknown()
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

    /// Whether a conn still takes a packet of its flow.
    ///
    /// A first packet on a conn that is over starts another one (`conn_reuse_mode`); with `expire_nodest_conn` so does
    /// one on a quiesced dest, and any packet on a dest that was removed.
    #[inline]
    pub fn fate(&self, id: ConnId, ip: &Ip) -> ConnFate {
        let server = self.services.server(self.conns.get(id).dest);
        let first = match ip.l4 {
            L4::Tcp { flags, .. } => flags.syn(),
            L4::Sctp { chunk, .. } => chunk == SCTP_INIT,
            L4::Udp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => false,
        };
        // As almost always.
        if !first && server.available && server.mask == Mask::None {
            return ConnFate::Good;
        }
        self.judged_fate(id, first)
    }

    #[inline(never)]
    fn judged_fate(&self, id: ConnId, first: bool) -> ConnFate {
        let server = self.services.server(self.conns.get(id).dest);
        let expire = self.settings.expire_nodest_conn;
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
