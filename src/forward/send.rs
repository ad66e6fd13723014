//! Sending a packet to its real server by the conn's method, inside a tunnel where that is the method.
//!
//! Never chooses a server, never counts a conn.

use std::net::IpAddr;

use super::{Ends, Fit, request};
use crate::base::{DropReason, Family, Instant, Method, Tunnel};
use crate::router::{
    Egress, Need, Refusal, Route, Router, Turn, apply_verdict, each_segment, least_mtu, room_for, spend_ttl,
};
use crate::wire::icmp::IcmpError;
use crate::wire::{Gso, Ip, L4, Packet, PacketBuf, Segments, encap, extension, ip_packet};

/// Sends a request to the real server. Inlined, so that the ends of a conn need not be put into memory for each packet.
#[inline(always)]
pub fn send_to_server(
    packet: &mut Packet,
    ends: &Ends,
    router: &mut Router,
    turn: &mut Turn<impl Egress>,
) -> Result<(), Refusal> {
    let route = route_to_server(packet, ends, router, turn.now)?;
    check_translatable(packet, ends)?;
    // The other methods leave the packet as it is.
    if ends.method.rewrites_replies() {
        let fit = Fit::on(router, &route);
        request(packet, ends, fit)?;
    }
    Ok(send_by_method(packet, ends, &route, router, turn)?)
}

/// Refuses a packet whose routing header or options cannot survive translation (RFC 7915 5.1).
#[inline]
pub fn check_translatable(packet: &Packet, ends: &Ends) -> Result<(), Refusal> {
    if !ends.translates() {
        return Ok(());
    }
    apply_verdict(extension::at_the_border(packet.frame(), packet.ip))
}

/// Routes to the real server; decrements the TTL and checks the size.
#[inline(always)]
pub fn route_to_server(packet: &mut Packet, ends: &Ends, router: &mut Router, now: Instant) -> Result<Route, Refusal> {
    let route = router.route(ends.real.addr).map_err(|reason| Refusal::with(reason, IcmpError::HostUnreachable))?;
    let route = match ends.method {
        Method::Bypass => route.for_transit(),
        _ => Route { need: Need::Configured, ..route },
    };
    spend_ttl(packet)?;
    let mtu = match ends.method {
        Method::Tunnel(kind) => tunnel_mtu((ends.real.addr, kind), packet.buf, &route, router, now)?,
        Method::FullNat => room_for(packet, route.mtu, Family::of(ends.real.addr)),
        Method::Nat | Method::Direct | Method::Bypass => route.mtu,
    };
    let ip = &packet.ip;
    let may_cut = !ip.dont_fragment || (matches!(ends.method, Method::Tunnel(_)) && !router.path_mtus.discovery);
    let is_icmp = matches!(ip.l4, L4::Icmp { .. });
    if ip.wire_len(packet.buf) > usize::from(mtu) && !may_cut && !is_icmp {
        return Err(Refusal::with(DropReason::TooBig, IcmpError::TooBig(mtu)));
    }
    Ok(route)
}

/// Sends what is already rewritten to a real server, wrapped if it is behind a tunnel.
#[inline]
pub fn send_by_method(
    packet: &mut Packet,
    ends: &Ends,
    route: &Route,
    router: &mut Router,
    turn: &mut Turn<impl Egress>,
) -> Result<(), DropReason> {
    match ends.method {
        Method::Tunnel(kind) => tunnel(packet, (ends.real.addr, kind), route, router, turn),
        Method::Nat | Method::FullNat | Method::Direct | Method::Bypass => router.transmit(packet, route, turn),
    }
}

/// The largest packet that fits into the tunnel to a real server.
fn tunnel_mtu(
    (real, kind): (IpAddr, Tunnel),
    buf: &PacketBuf,
    route: &Route,
    router: &mut Router,
    now: Instant,
) -> Result<u16, DropReason> {
    let path = router.path_mtus.get(real, now).unwrap_or(route.mtu).min(route.mtu);
    router.path_mtus.used(real, path, now);
    let mtu = path.saturating_sub(encap::overhead(kind, Family::of(real), buf) as u16);
    if mtu < least_mtu(Family::of(real)) { Err(DropReason::TooBig) } else { Ok(mtu) }
}

/// The largest packet of a conn that leaves by this route without being cut, before a tunnel is put around it; `None` if
/// none does.
pub fn largest(ends: &Ends, route: &Route, router: &mut Router, now: Instant) -> Option<u16> {
    match ends.method {
        Method::Tunnel(kind) => tunnel_mtu((ends.real.addr, kind), &PacketBuf::new(), route, router, now).ok(),
        Method::Nat | Method::FullNat | Method::Direct | Method::Bypass => Some(route.mtu),
    }
}

/// Wraps a packet for a real server behind a tunnel; superframes are cut first, unless the kernel does it afterwards.
fn tunnel(
    packet: &mut Packet,
    (real, kind): (IpAddr, Tunnel),
    route: &Route,
    router: &mut Router,
    turn: &mut Turn<impl Egress>,
) -> Result<(), DropReason> {
    let outer = Family::of(real);
    let whole = |packet: &Packet| {
        router.allows_tunnels(route.link) && encap::takes_whole(kind, outer, packet.ip, packet.buf, route.mtu)
    };
    if packet.buf.vnet.gso == Gso::None || whole(packet) {
        return wrap(packet, (real, kind), route, router, turn);
    }
    each_segment(packet, turn, |segment, turn| wrap(segment, (real, kind), route, router, turn));
    Ok(())
}

fn wrap(
    packet: &mut Packet,
    (real, kind): (IpAddr, Tunnel),
    route: &Route,
    router: &mut Router,
    turn: &mut Turn<impl Egress>,
) -> Result<(), DropReason> {
    let src = router.source(route.link, route.next_hop, real).ok_or(DropReason::NoRoute)?;
    let id = router.fresh_ids(Segments::count(packet.buf, packet.ip));
    let inner = Ip { dont_fragment: packet.ip.dont_fragment && router.path_mtus.discovery, ..*packet.ip };
    encap::wrap(packet.buf, &inner, kind, encap::Outer { src, dst: real, id })?;
    let mut outer = ip_packet(packet.frame())?;
    if packet.buf.vnet.tunnel.is_some() {
        return router.send(packet.buf, route, turn);
    }
    router.fragment(&mut Packet::new(packet.buf, &mut outer), route, turn)
}
