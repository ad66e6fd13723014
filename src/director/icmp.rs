//! ICMP errors that concern a conn or one of our tunnel packets.
//!
//! Conn timers are not restarted by errors, as in IPVS, and only with `schedule_icmp` does one open a conn.

use std::net::IpAddr;

use super::Director;
use super::kernel_quirks::trusts_error;
use super::owner::Ownership;
use crate::alg::{Proxy, Toa};
use crate::base::{ConnId, Consumed, DropReason, Endpoint, Family, Instant, Method, Proto, ServiceId, Tunnel, Tuple};
use crate::conn::Side;
use crate::flows::{Flows, Opening};
use crate::forward::{self, Ends, Fit};
use crate::router::{Egress, Refusal, Router, Turn};
use crate::stack::{ErrorAbout, Host, Stack};
use crate::wire::icmp::{self, IcmpError};
use crate::wire::quote::{self, Quote};
use crate::wire::{L4, Packet, PacketBuf, decap, ip, ip_packet};

/// The rooms that an error about a conn passes.
pub(super) struct Errors<'a> {
    flows: &'a mut Flows,
    router: &'a mut Router,
    stack: &'a mut Stack,
    proxy: &'a Proxy,
    toa: &'a mut Toa,
    /// Another director has the conns.
    leaves_conns: bool,
}

impl Director {
    /// What is done about ICMP errors.
    pub(super) fn errors(&mut self) -> Errors<'_> {
        let leaves_conns = self.standby.leaves_conns(&self.sync, &self.flows.settings);
        let Director { flows, router, stack, proxy, toa, .. } = self;
        Errors { flows, router, stack, proxy, toa, leaves_conns }
    }
}

impl Errors<'_> {
    /// Handles an error that quotes a packet of a conn; `None` if it concerns none.
    pub(super) fn about_conn(
        &mut self,
        packet: &mut Packet,
        turn: &mut Turn<impl Egress>,
    ) -> Option<Result<(), Refusal>> {
        let quote = quote::read(packet.frame(), packet.ip)?;
        let related = matches!(packet.ip.l4, L4::Icmp { icmp_type, .. } if icmp::is_related(packet.ip, icmp_type));
        if related && let Some(done) = self.about_tunnel(packet, &quote, turn) {
            return Some(done);
        }
        if !self.flows.services.any(packet.ip.family()) {
            return None;
        }
        let Some((id, side)) = self.flows.conns.lookup(&quote.tuple()?.reversed()) else {
            return if related && self.flows.settings.schedule_icmp {
                self.open_by_error(packet, &quote, turn)
            } else {
                None
            };
        };
        if side == Side::Request && self.leaves_conns {
            return None;
        }
        let ends = self.flows.ends(id);
        if !related && !ends.translates() {
            return None;
        }
        let rewritten = ends.method.rewrites_replies();
        let trusted = match side {
            Side::Reply => trusts_error(packet, &self.flows.settings),
            Side::Request => icmp::checksum_is_right(packet.frame(), packet.ip),
        };
        if rewritten && !trusted {
            return Some(Err(DropReason::BadIcmp.into()));
        }
        let (dest, bytes) = (self.flows.conns.get(id).dest, packet.ip.total_len());
        match side {
            Side::Reply if !rewritten => None,
            Side::Reply => {
                quote::shift_acknowledged(packet.buf, &quote, packet.ip.end, self.flows.splices.back(id));
                self.flows.services.count_out(dest, bytes);
                if let L4::Icmp { icmp_type, code } = packet.ip.l4
                    && icmp::is_unreachable(packet.ip, (icmp_type, code))
                {
                    self.flows.refused_by_error(id);
                }
                self.allow_for_insertions(id, packet, &quote, turn.now);
                Some(error_to_client(packet, &quote, &ends, self.router, turn))
            }
            Side::Request => {
                let back = self.flows.splices.back(id).wrapping_neg();
                quote::shift_sequence(packet.buf, &quote, packet.ip.end, back);
                self.flows.services.count_in(dest, bytes);
                Some(error_to_server(packet, &quote, &ends, self.router, turn))
            }
        }
    }

    /// An error about a packet into which its client's address was put: the client is told of its own packet. Where the packet
    /// was too big, as much less fits as was put in.
    fn allow_for_insertions(&mut self, id: ConnId, packet: &mut Packet, quote: &Quote, now: Instant) {
        if !self.flows.conns.get(id).is_helped() {
            return;
        }
        let number = quote::sequence(packet.frame(), quote, packet.ip.end);
        let ahead = number.map_or(0, |number| self.proxy.ahead(id, number, self.flows));
        quote::shift_sequence(packet.buf, quote, packet.ip.end, ahead);
        let L4::Icmp { icmp_type, code } = packet.ip.l4 else { return };
        if !icmp::is_too_big(packet.ip, icmp_type, code) {
            return;
        }
        // In front of a stream the header goes as a segment of its own when it is sent again.
        let of_datagram = if quote.proto == Proto::UDP { self.proxy.length(id, self.flows) } else { 0 };
        let (of_segment, word) = (self.toa.length(id, self.flows), icmp::second_word(packet.frame(), packet.ip));
        let (put_in, size) = (of_segment + of_datagram, word & u32::from(u16::MAX));
        // Who is told of less makes its packets no smaller.
        let least = if packet.ip.family() == Family::V4 { 576 } else { 1280 };
        if size >= least + put_in {
            icmp::set_second_word(packet.buf, packet.ip, word - put_in);
        } else if of_segment > 0 && size > 0 {
            self.toa.give_up(id, self.flows);
            self.flows.warn_of_missing_toa(id, now);
        }
    }

    /// An error about a reply of an unknown conn: a service opens it, so that its server hears of the error.
    fn open_by_error(
        &mut self,
        packet: &mut Packet,
        quote: &Quote,
        turn: &mut Turn<impl Egress>,
    ) -> Option<Result<(), Refusal>> {
        let tuple = quote.tuple()?.reversed();
        let portless = |addr| Endpoint::new(addr, 0);
        let ip = &packet.ip;
        let own = Tuple { proto: ip.proto, src: portless(ip.src), dst: portless(ip.dst) };
        let mark = self.flows.services.marks().of(&own);
        let service = self.flows.opening_service_of_error(mark, &tuple).filter(|_| !self.leaves_conns)?;
        Some(self.send_opening_error((service, tuple), packet, quote, turn))
    }

    fn send_opening_error(
        &mut self,
        (service, tuple): (ServiceId, Tuple),
        packet: &mut Packet,
        quote: &Quote,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), Refusal> {
        if self.flows.drops_this_packet() {
            return Err(DropReason::Defence.into());
        }
        let choice = self.flows.choose(service, &tuple, None, turn.now)?.ok_or(DropReason::NoServer)?;
        let opening = Opening { service, tuple, choice };
        // As in the kernel, a wrong checksum is noticed after the conn was made.
        let intact = icmp::checksum_is_right(packet.frame(), packet.ip);
        let bytes = packet.ip.total_len();
        let ends = if self.flows.is_one_packet(service, tuple.proto) {
            let ends = self.flows.open_one_packet(&opening, bytes, self.router, turn.now)?;
            self.flows.close_one_packet(&opening);
            ends
        } else {
            let id = self.flows.open(&opening, None, self.router, turn.now)?;
            if intact {
                self.flows.services.count_in(choice.dest, bytes);
            }
            self.flows.ends(id)
        };
        if !intact {
            return Err(DropReason::BadIcmp.into());
        }
        error_to_server(packet, quote, &ends, self.router, turn)
    }

    /// An error about a tunnel packet of ours: the client that sent the inner packet is told, IPv4 in IPv4 alone, as in
    /// the kernel. What an error says of the path to the server is remembered whatever the families.
    fn about_tunnel(
        &mut self,
        packet: &Packet,
        outer: &Quote,
        turn: &mut Turn<impl Egress>,
    ) -> Option<Result<(), Refusal>> {
        let ip = &packet.ip;
        let (id, inner) = self.ownership().tunnelled_flow(packet, outer)?;
        if !icmp::checksum_is_right(packet.frame(), ip) {
            return Some(Err(DropReason::BadIcmp.into()));
        }
        let L4::Icmp { icmp_type, code } = ip.l4 else { return None };
        let mut word = icmp::second_word(packet.frame(), ip);
        let too_big = icmp::is_too_big(ip, icmp_type, code);
        if too_big {
            word = tunnel_too_big(outer.dst, word, self.router, turn.now);
        }
        let told = ip.family() == Family::V4 && Family::of(inner.dst) == Family::V4;
        if !told && !too_big {
            return None;
        }
        turn.consume(Consumed::TunnelError);
        if told && (!too_big || inner.dont_fragment) {
            self.flows.services.count_out(self.flows.conns.get(id).dest, ip.total_len());
            let about = ErrorAbout {
                error: IcmpError::Raw(icmp_type, code, word),
                packet: &packet.frame()[inner.at..ip.end],
                from: Host { services: &self.flows.services, router: self.router }.speaks_as(inner.dst),
                to: inner.src,
            };
            self.stack.send_error(&about, self.router, turn);
        }
        Some(Ok(()))
    }

    /// Tells the senders of packets that were given up, because the next hop did not answer. The error quotes the packet
    /// as it was to leave; about a packet of a conn it is translated back like a received one.
    pub(super) fn tell_of_undelivered(&mut self, turn: &mut Turn<impl Egress>) {
        while let Some(frame) = self.router.take_undelivered() {
            turn.lend(|turn, error| {
                if self.stack.write_unreachable(error, &frame, self.router, turn.now) {
                    self.send_unreachable(error, turn);
                }
            });
        }
    }

    fn ownership(&self) -> Ownership<'_> {
        Ownership { flows: self.flows, router: self.router }
    }

    fn send_unreachable(&mut self, error: &mut PacketBuf, turn: &mut Turn<impl Egress>) {
        let Ok(mut ip) = ip_packet(error.frame()) else { return };
        let to = ip.dst;
        match self.about_conn(&mut Packet::new(error, &mut ip), turn) {
            Some(done) => {
                turn.generated();
                if let Err(refusal) = done {
                    turn.drop(refusal.reason);
                }
            }
            None if self.ownership().owns(to) => {}
            None => self.router.send_to(error, to, turn),
        }
    }
}

impl Ownership<'_> {
    /// The conn whose packet, quoted inside `outer`, an error to the director is about.
    fn tunnelled_flow(&self, packet: &Packet, outer: &Quote) -> Option<(ConnId, Quote)> {
        let later_fragment = outer.ports.is_none() && !matches!(outer.proto, Proto::IPIP | Proto::IPV6);
        if later_fragment || !self.owns(packet.ip.dst) {
            return None;
        }
        let (at, port) = decap::inner_at(packet.frame(), outer.proto, outer.l4_at, packet.ip.end)?;
        let inner = quote::read_at(packet.frame(), at, packet.ip.end)?;
        let (id, side) = self.flows.conns.lookup(&inner.tuple()?)?;
        let ends = self.flows.ends(id);
        let Method::Tunnel(tunnel) = ends.method else { return None };
        let kind_fits = match tunnel {
            Tunnel::Ipip => matches!(outer.proto, Proto::IPIP | Proto::IPV6),
            Tunnel::Gre { .. } => outer.proto == Proto::GRE,
            Tunnel::Gue { port: to, .. } => outer.proto == Proto::UDP && port == Some(to),
        };
        let ours = side == Side::Request && ends.real.addr == outer.dst;
        (ours && kind_fits).then_some((id, inner))
    }
}

fn error_to_client(
    packet: &mut Packet,
    quote: &Quote,
    ends: &Ends,
    router: &mut Router,
    turn: &mut Turn<impl Egress>,
) -> Result<(), Refusal> {
    let to = if ends.method == Method::FullNat { ends.client().addr } else { packet.ip.dst };
    let route = router.route_onward(packet, to)?;
    forward::about_request(packet, quote, ends, Fit::on(router, &route))?;
    Ok(router.transmit(packet, &route, turn)?)
}

fn error_to_server(
    packet: &mut Packet,
    quote: &Quote,
    ends: &Ends,
    router: &mut Router,
    turn: &mut Turn<impl Egress>,
) -> Result<(), Refusal> {
    let route = forward::route_to_server(packet, ends, router, turn.now)?;
    forward::about_reply(packet, quote, ends, Fit::on(router, &route))?;
    Ok(forward::send_by_method(packet, ends, &route, router, turn)?)
}

/// Learns a path's size and returns what the client is told: the size its packets were measured with so far. The kernel
/// takes the outer IP header off, whatever else the tunnel adds.
fn tunnel_too_big(real: IpAddr, mtu: u32, router: &mut Router, now: Instant) -> u32 {
    let mtu = mtu.min(u32::from(u16::MAX)) as u16;
    let before = router.path_mtus.last_used(real).unwrap_or(mtu);
    router.path_mtus.learn(real, mtu, now);
    u32::from(before.saturating_sub(ip::header_len(Family::of(real)) as u16))
}
