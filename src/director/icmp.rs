//! ICMP errors that concern a conn or one of our tunnel packets.
//!
//! Conn timers are not restarted by errors, as in IPVS. Never schedules a conn from one.

use std::net::IpAddr;

use super::Director;
use crate::base::{ConnId, Consumed, DropReason, Family, Instant, Proto, Tunnel};
use crate::conn::{Forwarding, Side};
use crate::forward;
use crate::router::Egress;
use crate::wire::icmp::{self, IcmpError, Quote};
use crate::wire::ip::header_len;
use crate::wire::{Ip, L4, PacketBuf, decap};

impl Director {
    /// Handles an error that quotes a packet of a conn; `None` if it concerns none.
    pub(super) fn icmp_error(
        &mut self,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Option<Result<(), DropReason>> {
        let quote = icmp::quote(buf.frame(), ip)?;
        if let Some(done) = self.about_tunnel(buf, ip, &quote, now, out) {
            return Some(done);
        }
        if !self.services.any(ip.family()) {
            return None;
        }
        let (id, side) = self.conns.lookup(&quote.tuple()?.reversed())?;
        let ends = self.ends(id);
        let rewritten = ends.forwarding.rewrites_replies();
        let trusted = match side {
            Side::Reply => self.trusts_error(buf, ip),
            Side::Request => icmp::checksum_is_right(buf.frame(), ip),
        };
        if rewritten && !trusted {
            return Some(Err(DropReason::BadIcmp));
        }
        let dest = self.conns.get(id).dest;
        Some(match side {
            Side::Reply if !rewritten => return None,
            Side::Reply => {
                let to = if ends.forwarding == Forwarding::FullNat { ends.client().addr } else { ip.dst };
                self.services.count_out(dest, ip.total_len());
                self.route_onward(buf, ip, to, now, out).and_then(|route| {
                    forward::about_request(buf, ip, &quote, &ends, self.way(&route))?;
                    self.transmit(buf, ip, &route, now, out)
                })
            }
            Side::Request => {
                self.services.count_in(dest, ip.total_len());
                self.route_to_server(&ends, buf, ip, now, out).and_then(|route| {
                    forward::about_reply(buf, ip, &quote, &ends, self.way(&route))?;
                    self.by_method(&ends, buf, ip, &route, now, out)
                })
            }
        })
    }

    /// An error about a tunnel packet of ours: the client that sent the inner packet is told, IPv4 in IPv4 alone, as in
    /// the kernel. What an error says of the path to the server is remembered whatever the families.
    fn about_tunnel(
        &mut self,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        outer: &Quote,
        now: Instant,
        out: &mut impl Egress,
    ) -> Option<Result<(), DropReason>> {
        let (id, inner) = self.tunnelled_flow(buf, ip, outer)?;
        if !icmp::checksum_is_right(buf.frame(), ip) {
            return Some(Err(DropReason::BadIcmp));
        }
        let L4::Icmp { icmp_type, code } = ip.l4 else { return None };
        let mut word = icmp::second_word(buf.frame(), ip);
        let too_big = icmp::is_too_big(ip, icmp_type, code);
        if too_big {
            word = self.tunnel_too_big(outer.dst, word, now);
        }
        let told = ip.family() == Family::V4 && Family::of(inner.dst) == Family::V4;
        if !told && !too_big {
            return None;
        }
        self.router.ledger.consume(Consumed::TunnelError);
        if told && (!too_big || inner.dont_fragment) {
            self.services.count_out(self.conns.get(id).dest, ip.total_len());
            let about = &buf.frame()[inner.at..ip.end];
            self.complain_as(IcmpError::Raw(icmp_type, code, word), about, inner.dst, inner.src, now, out);
        }
        Some(Ok(()))
    }

    /// The conn whose packet, quoted inside `outer`, an error to the director is about.
    fn tunnelled_flow(&self, buf: &PacketBuf, ip: &Ip, outer: &Quote) -> Option<(ConnId, Quote)> {
        let later_fragment = outer.ports.is_none() && !matches!(outer.proto, Proto::IPIP | Proto::IPV6);
        if later_fragment || !self.owns(ip.dst) {
            return None;
        }
        let (at, port) = decap::inner_at(buf.frame(), outer.proto, outer.l4_at, ip.end)?;
        let inner = icmp::quote_at(buf.frame(), at, ip.end)?;
        let (id, side) = self.conns.lookup(&inner.tuple()?)?;
        let ends = self.ends(id);
        let kind_fits = match ends.tunnel {
            Tunnel::Ipip => matches!(outer.proto, Proto::IPIP | Proto::IPV6),
            Tunnel::Gre { .. } => outer.proto == Proto::GRE,
            Tunnel::Gue { port: to, .. } => outer.proto == Proto::UDP && port == Some(to),
        };
        let ours = side == Side::Request && ends.forwarding == Forwarding::Tunnel && ends.real.addr == outer.dst;
        (ours && kind_fits).then_some((id, inner))
    }

    /// Learns a path's size and returns what the client is told: the size its packets were measured with so far. The
    /// kernel takes the outer IP header off, whatever else the tunnel adds.
    fn tunnel_too_big(&mut self, real: IpAddr, mtu: u32, now: Instant) -> u32 {
        let mtu = mtu.min(u32::from(u16::MAX)) as u16;
        let before = self.pmtu.last_used(real).unwrap_or(mtu);
        self.pmtu.learn(real, mtu, now);
        u32::from(before.saturating_sub(header_len(Family::of(real)) as u16))
    }
}
