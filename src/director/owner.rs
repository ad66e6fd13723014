//! To whom a packet belongs: to a conn, to the director, or to another host.
//!
//! Questions about addresses. Never changes anything.

use std::net::IpAddr;

use crate::base::{ConnId, DropReason, Family, LinkId, Method, Proto, Tuple};
use crate::conn::Side;
use crate::flows::{self, Flows};
use crate::router::Router;
use crate::settings::Unknown;
use crate::wire::{Ip, L4, Packet, TcpFlags};

/// Where a packet belongs.
pub(super) enum Owner {
    /// To a conn.
    Conn(ConnId, Side),
    /// To an address of the director, and to no conn.
    Local,
    /// Elsewhere: it is only forwarded.
    Forward,
}

/// What tells to whom a packet belongs.
#[derive(Clone, Copy)]
pub(super) struct Ownership<'a> {
    pub flows: &'a Flows,
    pub router: &'a Router,
}

impl Ownership<'_> {
    /// True for every address that the director answers for.
    pub(super) fn owns(&self, addr: IpAddr) -> bool {
        self.flows.services.owns(addr) || self.router.owns(addr)
    }

    /// Refuses what claims to come from the director itself or from the broadcast address of a net (RFC 1812 5.3.7, RFC
    /// 1122 3.2.1.3). Not asked of packets of conns: servers behind direct routing answer from the virtual address.
    pub(super) fn check_source(&self, ip: &Ip) -> Result<(), DropReason> {
        if self.owns(ip.src) || self.router.is_broadcast(ip.src) { Err(DropReason::Martian) } else { Ok(()) }
    }

    /// True for a packet that is for no service, to an address that takes only those.
    pub(super) fn is_closed(&self, ip: &Ip) -> bool {
        let is_of_service = |tuple: Tuple| self.flows.services.find_marked(0, tuple.proto, tuple.dst).is_some();
        self.router.virtuals.is_closed(ip.dst) && !ip.tuple().is_some_and(is_of_service)
    }

    /// True for a packet that ends here, or belongs to a service whose marks name its destination's net.
    pub(super) fn ends_here(&self, ip: &Ip) -> bool {
        self.owns(ip.dst) || ip.tuple().is_some_and(|tuple| self.flows.services.takes_by_mark(&tuple))
    }

    /// The owner of a packet.
    #[inline(always)]
    pub(super) fn of(&self, ip: &Ip) -> Owner {
        let without_conn = || if self.ends_here(ip) { Owner::Local } else { Owner::Forward };
        let Some(tuple) = ip.tuple().filter(|_| self.flows.services.any(ip.family())) else {
            return without_conn();
        };
        match self.flows.conns.lookup_here(&tuple) {
            Some((conn, side)) => Owner::Conn(conn, side),
            None => without_conn(),
        }
    }

    /// Fragments to the director are put together, and those that pass while services may take them, or packets of no
    /// service are looked at too.
    pub(super) fn reassembles(&self, ip: &Ip, looks_at_all: bool) -> bool {
        let watched = ip.proto.has_ports() || ip.proto == Proto::ICMP || ip.family() == Family::V6;
        ((self.flows.services.any(ip.family()) || looks_at_all) && watched) || self.owns(ip.dst)
    }

    /// True for a packet that comes from a server in NAT and belongs to no conn, if the server is to be told
    /// (`nat_icmp_send`).
    #[inline]
    pub(super) fn is_orphaned_reply(&self, ip: &Ip) -> bool {
        self.flows.settings.nat_icmp_send && self.is_from_nat_server(ip)
    }

    /// True for a segment of a server in NAT from the middle of a conn that is not known here, unless `unknown` is reset. A
    /// client that saw the server's own address would end a conn that another director knows.
    #[cold]
    pub(super) fn is_strayed_reply(&self, ip: &Ip) -> bool {
        let begins = |flags: TcpFlags| flags.syn() && !flags.ack();
        let in_the_middle = matches!(ip.l4, L4::Tcp { flags, .. } if !begins(flags));
        self.flows.settings.unknown != Unknown::Reset && in_the_middle && self.is_from_nat_server(ip)
    }

    /// True for a packet of a server in NAT that does not end its conn.
    #[cold]
    fn is_from_nat_server(&self, ip: &Ip) -> bool {
        let ends_it = match ip.l4 {
            L4::Tcp { flags, .. } => flags.rst(),
            L4::Sctp { chunk, .. } => chunk == flows::SCTP_ABORT,
            L4::Udp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => false,
        };
        !ends_it && ip.tuple().is_some_and(|tuple| self.flows.services.is_nat_server(tuple.proto, tuple.src))
    }

    /// True for the address of another host.
    pub(super) fn is_elsewhere(&self, addr: IpAddr) -> bool {
        !addr.is_multicast() && !self.owns(addr) && !self.router.is_broadcast(addr)
    }

    /// True for a packet of a real server that came by the link on which the server is.
    pub(super) fn is_from_server(&self, packet: &Packet, link: LinkId) -> bool {
        let src = packet.ip.src;
        self.flows.services.is_server(src) && self.router.route(src).is_ok_and(|route| route.link == link)
    }

    /// Whether a superframe inside somebody's UDP tunnel may keep its form: on the way between the ends of a conn, both of one
    /// family and without a tunnel of ours, and where it only passes through.
    #[cold]
    pub(super) fn passes_whole(&self, ip: &Ip) -> bool {
        let tuple = ip.tuple().filter(|_| self.flows.services.any(ip.family()));
        let Some((id, _)) = tuple.and_then(|tuple| self.flows.conns.lookup(&tuple)) else { return !self.ends_here(ip) };
        let ends = self.flows.ends(id);
        let same = Family::of(ends.client().addr) == Family::of(ends.real.addr);
        same && !matches!(ends.method, Method::Tunnel(_))
    }
}
