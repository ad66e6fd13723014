//! ICMP errors that concern a conn or one of our tunnel packets.
//!
//! Conn timers are not restarted by errors, as in IPVS. Never schedules a conn from one.

use std::net::IpAddr;

use super::Director;
use crate::base::{DropReason, Family, Instant, Proto};
use crate::conn::{Forwarding, Side};
use crate::forward;
use crate::neigh::{Consumed, Egress};
use crate::wire::icmp::{self, Complaint, Quote};
use crate::wire::{Ip, L4, PacketBuf, encap};

/// "Fragmentation needed" (RFC 1191).
const UNREACHABLE: u8 = 3;
const FRAG_NEEDED: u8 = 4;

impl Director {
    /// Handles an error that quotes a packet of a conn; `None` if it concerns none.
    pub(super) fn icmp_error(
        &mut self,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Option<Result<(), DropReason>> {
        if !self.services.any(ip.family()) {
            return None;
        }
        let quote = icmp::quote(buf.frame(), ip)?;
        if quote.proto == Proto::IPIP && self.router.owns(ip.dst) {
            return self.about_tunnel(buf, ip, &quote, now, out);
        }
        let (id, side) = self.conns.lookup(&quote.tuple()?.reversed())?;
        let ends = self.ends(id);
        let rewritten = ends.forwarding.rewrites_replies();
        if rewritten && !icmp::checksum_is_right(buf.frame(), ip) {
            return Some(Err(DropReason::BadIcmp));
        }
        let dest = self.conns.get(id).dest;
        Some(match side {
            Side::Reply if !rewritten => return None,
            Side::Reply => {
                let to = if ends.forwarding == Forwarding::FullNat { ends.client.addr } else { ip.dst };
                self.services.count_out(dest, ip.total_len());
                self.route_onward(buf, ip, to, now, out).and_then(|route| {
                    forward::about_request(buf, ip, &quote, &ends);
                    self.transmit(buf, ip, &route, now, out)
                })
            }
            Side::Request => {
                self.services.count_in(dest, ip.total_len());
                self.route_to_server(&ends, buf, ip, now, out).and_then(|route| {
                    forward::about_reply(buf, ip, &quote, &ends);
                    self.by_method(&ends, buf, ip, &route, now, out)
                })
            }
        })
    }

    /// An error about a tunnel packet of ours: the client that sent the inner packet is told.
    fn about_tunnel(
        &mut self,
        buf: &mut PacketBuf,
        ip: &Ip,
        outer: &Quote,
        now: Instant,
        out: &mut impl Egress,
    ) -> Option<Result<(), DropReason>> {
        let inner = icmp::quote_at(buf.frame(), outer.l4_at, ip.end)?;
        let (id, side) = self.conns.lookup(&inner.tuple()?)?;
        let ends = self.ends(id);
        if side != Side::Request || ends.forwarding != Forwarding::Tunnel || ends.real.addr != outer.dst {
            return None;
        }
        let L4::Icmp { kind, code } = ip.l4 else { return None };
        let at = ip.l4_at + 4;
        let word = u32::from_be_bytes([buf.frame()[at], buf.frame()[at + 1], buf.frame()[at + 2], buf.frame()[at + 3]]);
        let dest = self.conns.get(id).dest;
        self.router.ledger.consume(Consumed::TunnelError);
        let word = match (kind, code) {
            (UNREACHABLE, FRAG_NEEDED) => self.tunnel_too_big(outer.dst, word as u16, now),
            _ => word,
        };
        if (kind, code) == (UNREACHABLE, FRAG_NEEDED) && !inner.dont_fragment {
            return Some(Ok(()));
        }
        self.services.count_out(dest, ip.total_len());
        let about = &buf.frame()[inner.at..ip.end];
        self.complain_as(Complaint::Raw(kind, code, word), about, inner.dst, inner.src, now, out);
        Some(Ok(()))
    }

    /// Learns a path's size and returns what the client is told: the size its packets were measured with so far.
    fn tunnel_too_big(&mut self, real: IpAddr, mtu: u16, now: Instant) -> u32 {
        let before = self.pmtu.last_used(real).unwrap_or(mtu);
        self.pmtu.learn(real, mtu, now);
        u32::from(before.saturating_sub(encap::ipip_len(Family::of(real)) as u16))
    }
}
