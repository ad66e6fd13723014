//! From a decided packet to frames on a link: TTL, packet size, encapsulation, cutting.
//!
//! The one place where a packet becomes several. Never chooses a server.

use std::net::IpAddr;

use super::Director;
use crate::base::{Consumed, DropReason, Family, Instant};
use crate::conn::Forwarding;
use crate::forward::{self, Ends, Way};
use crate::router::{Egress, Need, Route, is_link_local};
use crate::wire::extension;
use crate::wire::icmp::IcmpError;
use crate::wire::translate::growth;
use crate::wire::{Fragments, Gso, Ip, L4, PacketBuf, Segments, decrement_ttl, encap, finish_checksum};

/// A tunnel whose packets could not be this large is not used (RFC 791, RFC 8200).
fn least_mtu(outer: Family) -> u16 {
    match outer {
        Family::V4 => 68,
        Family::V6 => 1280,
    }
}

/// The largest packet as it is that fits the next link when it has become one of `family`.
#[inline]
fn room_for(ip: &Ip, buf: &PacketBuf, mtu: u16, family: Family) -> u16 {
    if ip.family() == family {
        return mtu;
    }
    // Segments of a superframe are made to fit.
    if matches!(buf.vnet.gso, Gso::Tcp4 | Gso::Tcp6) {
        return u16::MAX;
    }
    let room = (mtu as isize - growth(ip, family)).clamp(0, 65_535) as u16;
    // What an IPv6 sender may always send is cut here, once it is IPv4 (RFC 7915 5.1).
    if ip.family() == Family::V6 { room.max(least_mtu(Family::V6)) } else { room }
}

impl Director {
    /// Sends a request (or an error about a reply) to the real server by the conn's method.
    #[inline]
    pub(super) fn serve(
        &mut self,
        ends: &Ends,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        let route = self.route_to_server(ends, buf, ip, now, out)?;
        self.check_border(ends, buf, ip, now, out)?;
        let way = self.way(&route);
        forward::request(buf, ip, ends, way)?;
        self.by_method(ends, buf, ip, &route, now, out)
    }

    /// A packet that is to change its family must not ask for what is lost thereby.
    #[inline]
    pub(super) fn check_border(
        &mut self,
        ends: &Ends,
        buf: &PacketBuf,
        ip: &Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        if !ends.cross() {
            return Ok(());
        }
        self.abide(extension::at_the_border(buf.frame(), ip), buf, ip, now, out)
    }

    /// What a packet by that route must fit if it changes its family.
    #[inline]
    pub(super) fn way(&mut self, route: &Route) -> Way {
        Way { mtu: route.mtu, id: self.fresh_id() }
    }

    /// Sends what is already rewritten to a real server, wrapped if it is behind a tunnel.
    #[inline]
    pub(super) fn by_method(
        &mut self,
        ends: &Ends,
        buf: &mut PacketBuf,
        ip: &Ip,
        route: &Route,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        match ends.forwarding {
            Forwarding::Tunnel => self.tunnel(ends, buf, ip, route, now, out),
            Forwarding::Nat | Forwarding::FullNat | Forwarding::Direct => self.transmit(buf, ip, route, now, out),
        }
    }

    /// The way to a real server for a packet that may go there; its TTL is one less afterwards.
    #[inline(always)]
    pub(super) fn route_to_server(
        &mut self,
        ends: &Ends,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<Route, DropReason> {
        let route = self.router.route(ends.real.addr).inspect_err(|_| {
            self.complain(IcmpError::HostUnreachable, buf, ip, now, out);
        })?;
        let route = Route { need: Need::Configured, ..route };
        self.spend_ttl(buf, ip, now, out)?;
        let mtu = match ends.forwarding {
            Forwarding::Tunnel => self.tunnel_mtu(ends, buf, &route, now)?,
            Forwarding::FullNat => room_for(ip, buf, route.mtu, Family::of(ends.real.addr)),
            Forwarding::Nat | Forwarding::Direct => route.mtu,
        };
        let may_cut = !ip.dont_fragment || (ends.forwarding == Forwarding::Tunnel && !self.settings.pmtu_disc);
        let is_icmp = matches!(ip.l4, L4::Icmp { .. });
        if ip.wire_len(buf) > usize::from(mtu) && !may_cut && !is_icmp {
            self.complain(IcmpError::TooBig(mtu), buf, ip, now, out);
            return Err(DropReason::TooBig);
        }
        Ok(route)
    }

    /// The largest packet that fits into the tunnel to a real server.
    fn tunnel_mtu(&mut self, ends: &Ends, buf: &PacketBuf, route: &Route, now: Instant) -> Result<u16, DropReason> {
        let real = ends.real.addr;
        let path = self.pmtu.get(real, now).unwrap_or(route.mtu).min(route.mtu);
        self.pmtu.used(real, path);
        let mtu = path.saturating_sub(encap::overhead(ends.tunnel, Family::of(real), buf) as u16);
        if mtu < least_mtu(Family::of(real)) { Err(DropReason::TooBig) } else { Ok(mtu) }
    }

    /// A router's duties towards a packet that goes on to `to`: a way, a TTL, a size.
    pub(super) fn route_onward(
        &mut self,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        to: IpAddr,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<Route, DropReason> {
        let route = self.router.route(to).inspect_err(|_| {
            self.complain(IcmpError::NetUnreachable, buf, ip, now, out);
        })?;
        let mtu = room_for(ip, buf, route.mtu, Family::of(to));
        if ip.ttl > 1 && ip.wire_len(buf) > usize::from(mtu) && ip.dont_fragment {
            self.complain(IcmpError::TooBig(mtu), buf, ip, now, out);
            return Err(DropReason::TooBig);
        }
        self.spend_ttl(buf, ip, now, out)?;
        Ok(route)
    }

    #[inline]
    fn spend_ttl(
        &mut self,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        if ip.ttl <= 1 {
            self.complain(IcmpError::TimeExceeded, buf, ip, now, out);
            return Err(DropReason::TtlExceeded);
        }
        decrement_ttl(buf, ip);
        Ok(())
    }

    /// A packet that belongs to no service: this is also a router.
    pub(super) fn forward(
        &mut self,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        if is_link_local(ip.src) {
            self.complain(IcmpError::BeyondScope, buf, ip, now, out);
            return Err(DropReason::BeyondScope);
        }
        let route = self.route_onward(buf, ip, ip.dst, now, out)?.for_transit();
        self.record_passage(buf, ip, &route);
        self.transmit(buf, ip, &route, now, out)
    }

    /// Writes a finished packet, cut where it is too large for the link (it may be: the size was judged before).
    #[inline]
    pub(super) fn transmit(
        &mut self,
        buf: &mut PacketBuf,
        ip: &Ip,
        route: &Route,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        let known = buf.vnet.tunnel.is_none() || self.router.allows_tunnels(route.link);
        if known && ip.wire_len(buf) <= usize::from(route.mtu) && buf.cut.is_none() {
            return self.router.send(buf, route, now, out);
        }
        if buf.vnet.gso == Gso::None {
            finish_checksum(buf, ip);
            return self.fragment(buf, ip, route, now, out);
        }
        self.each_segment(buf, ip, |director, piece, segment| {
            if let Err(reason) = director.fragment(piece, segment, route, now, out) {
                director.router.ledger.drop(reason);
            }
        })
    }

    /// Calls `each` with every packet that a superframe stands for; they count as generated.
    pub(super) fn each_segment(
        &mut self,
        buf: &mut PacketBuf,
        ip: &Ip,
        mut each: impl FnMut(&mut Director, &mut PacketBuf, &Ip),
    ) -> Result<(), DropReason> {
        let mut piece = self.scratch.take().unwrap_or_default();
        let mut segments = Segments::new(buf, ip);
        while let Some(segment) = segments.next_into(buf, ip, &mut piece) {
            self.router.ledger.generated += 1;
            each(self, &mut piece, &segment);
        }
        self.scratch = Some(piece);
        self.router.ledger.consume(Consumed::Segmented);
        Ok(())
    }

    fn fragment(
        &mut self,
        buf: &mut PacketBuf,
        ip: &Ip,
        route: &Route,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        let mtu = usize::from(buf.cut.unwrap_or(route.mtu).min(route.mtu));
        if ip.total_len() <= mtu {
            return self.router.send(buf, route, now, out);
        }
        let id = u32::from(self.fresh_id()) << 16 | u32::from(self.fresh_id());
        let mut fragments = Fragments::new(buf, ip, mtu, id).ok_or(DropReason::TooBig)?;
        while fragments.next_into(buf, ip, &mut self.pieces) {
            self.router.send_own(&mut self.pieces, route, now, out);
        }
        self.router.ledger.consume(Consumed::Fragmented);
        Ok(())
    }

    /// Wraps a packet for a real server behind a tunnel; superframes are cut first, unless the kernel does it afterwards.
    fn tunnel(
        &mut self,
        ends: &Ends,
        buf: &mut PacketBuf,
        ip: &Ip,
        route: &Route,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        let outer = Family::of(ends.real.addr);
        let whole =
            || self.router.allows_tunnels(route.link) && encap::takes_whole(ends.tunnel, outer, ip, buf, route.mtu);
        if buf.vnet.gso == Gso::None || whole() {
            return self.wrap(ends, buf, ip, route, now, out);
        }
        self.each_segment(buf, ip, |director, piece, segment| {
            if let Err(reason) = director.wrap(ends, piece, segment, route, now, out) {
                director.router.ledger.drop(reason);
            }
        })
    }

    fn wrap(
        &mut self,
        ends: &Ends,
        buf: &mut PacketBuf,
        inner: &Ip,
        route: &Route,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        let src = self.router.source(route.link, route.next_hop, ends.real.addr).ok_or(DropReason::NoRoute)?;
        let outer = encap::Outer { src, dst: ends.real.addr, id: self.fresh_ids(Segments::count(buf, inner)) };
        let inner = Ip { dont_fragment: inner.dont_fragment && self.settings.pmtu_disc, ..*inner };
        encap::wrap(buf, &inner, ends.tunnel, outer)?;
        let outer = crate::wire::ip_packet(buf.frame())?;
        if buf.vnet.tunnel.is_some() {
            return self.router.send(buf, route, now, out);
        }
        self.fragment(buf, &outer, route, now, out)
    }

    /// The next IP identification for a packet without one (RFC 6864: unique within its lifetime, no more).
    pub(super) fn fresh_id(&mut self) -> u16 {
        self.fresh_ids(1)
    }

    /// The first of `count` identifications in a row.
    fn fresh_ids(&mut self, count: usize) -> u16 {
        let first = self.next_id.wrapping_add(1);
        self.next_id = self.next_id.wrapping_add(count as u16);
        first
    }
}
