//! A router's duties towards a packet: a route, a TTL, a size; and cutting what is too large for the next link.
//!
//! The one place where a packet becomes several, but for what a tunnel adds. Never chooses a server.

use std::net::IpAddr;

use super::{Egress, Refusal, Route, Router, Turn};
use crate::base::{Consumed, DropReason, Family};
use crate::wire::icmp::IcmpError;
use crate::wire::translate::growth;
use crate::wire::{ETH_LEN, Fragments, Gso, Packet, PacketBuf, Segments, decrement_ttl, finish_checksum, ip_packet};

/// A link or tunnel that takes less than this is not used for the family (RFC 791, RFC 8200).
pub fn least_mtu(family: Family) -> u16 {
    match family {
        Family::V4 => 68,
        Family::V6 => 1280,
    }
}

/// The largest packet, before translation to `family`, that still fits `mtu` afterwards.
#[inline]
pub fn room_for(packet: &Packet, mtu: u16, family: Family) -> u16 {
    if packet.ip.family() == family {
        return mtu;
    }
    // Segments of a superframe are made to fit.
    if matches!(packet.buf.vnet.gso, Gso::Tcp4 | Gso::Tcp6) {
        return u16::MAX;
    }
    let room = (mtu as isize - growth(packet.ip, family)).clamp(0, 65_535) as u16;
    // What an IPv6 sender may always send is cut here, once it is IPv4 (RFC 7915 5.1).
    if packet.ip.family() == Family::V6 { room.max(least_mtu(Family::V6)) } else { room }
}

/// Calls `each` with every packet that a superframe stands for; they count as generated, the superframe as consumed.
pub fn each_segment<E>(
    packet: &Packet,
    turn: &mut Turn<E>,
    mut each: impl FnMut(&mut Packet, &mut Turn<E>) -> Result<(), DropReason>,
) {
    turn.lend(|turn, piece| {
        let mut segments = Segments::new(packet.buf, packet.ip);
        while let Some(mut segment) = segments.next_into(packet.buf, packet.ip, piece) {
            turn.generated();
            if let Err(reason) = each(&mut Packet::new(piece, &mut segment), turn) {
                turn.drop(reason);
            }
        }
    });
    turn.consume(Consumed::Segmented);
}

impl Router {
    /// The route of a packet that goes on to `to`; its TTL is one less afterwards.
    #[inline]
    pub fn route_onward(&self, packet: &mut Packet, to: IpAddr) -> Result<Route, Refusal> {
        let route = self.route(to).map_err(|reason| Refusal::with(reason, IcmpError::NetUnreachable))?;
        let mtu = room_for(packet, route.mtu, Family::of(to));
        let ip = &packet.ip;
        if ip.ttl > 1 && ip.wire_len(packet.buf) > usize::from(mtu) && ip.dont_fragment {
            return Err(Refusal::with(DropReason::TooBig, IcmpError::TooBig(mtu)));
        }
        spend_ttl(packet)?;
        Ok(route)
    }

    /// Writes a finished packet, cut where it is too large for the link (whether it may be was checked before).
    #[inline]
    pub fn transmit(
        &mut self,
        packet: &mut Packet,
        route: &Route,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), DropReason> {
        let known = packet.buf.vnet.tunnel.is_none() || self.allows_tunnels(route.link);
        if known && packet.ip.wire_len(packet.buf) <= usize::from(route.mtu) && packet.buf.cut.is_none() {
            return self.send(packet.buf, route, turn);
        }
        self.cut(packet, route, turn)
    }

    #[cold]
    fn cut(&mut self, packet: &mut Packet, route: &Route, turn: &mut Turn<impl Egress>) -> Result<(), DropReason> {
        if packet.buf.vnet.gso == Gso::None {
            finish_checksum(packet.buf, packet.ip);
            return self.fragment(packet, route, turn);
        }
        each_segment(packet, turn, |segment, turn| self.fragment(segment, route, turn));
        Ok(())
    }

    /// Writes a packet without superframe or open checksum, in fragments if it is too large for the link.
    pub fn fragment(
        &mut self,
        packet: &mut Packet,
        route: &Route,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), DropReason> {
        let largest = packet.buf.cut.unwrap_or(route.mtu).min(route.mtu);
        if packet.ip.total_len() <= usize::from(largest) {
            return self.send(packet.buf, route, turn);
        }
        // IPv6 fragments may be as large as every path takes, even if smaller ones came (as in the kernel).
        let least = if packet.ip.family() == Family::V6 { least_mtu(Family::V6) } else { 0 };
        let mtu = usize::from(largest.max(least).min(route.mtu));
        let id = u32::from(self.fresh_id()) << 16 | u32::from(self.fresh_id());
        let mut fragments = Fragments::new(packet.buf, packet.ip, mtu, id).ok_or(DropReason::TooBig)?;
        turn.lend(|turn, piece| {
            while fragments.next_into(packet.buf, packet.ip, piece) {
                self.send_own(piece, route, turn);
            }
        });
        turn.consume(Consumed::Fragmented);
        Ok(())
    }

    /// Sends a packet that the director made to one of its own addresses' peers: counted, whether it leaves or not.
    pub fn send_to(&mut self, buf: &mut PacketBuf, to: IpAddr, turn: &mut Turn<impl Egress>) {
        let Ok(route) = self.route(to) else { return };
        if buf.len() - ETH_LEN <= usize::from(route.mtu) {
            return self.send_own(buf, &route, turn);
        }
        let Ok(mut ip) = ip_packet(buf.frame()) else { return };
        turn.generated();
        if let Err(reason) = self.transmit(&mut Packet::new(buf, &mut ip), &route, turn) {
            turn.drop(reason);
        }
    }

    /// The next IP identification for a packet without one (RFC 6864: unique within its lifetime, no more).
    pub fn fresh_id(&mut self) -> u16 {
        self.fresh_ids(1)
    }

    /// The first of `count` identifications in a row.
    pub fn fresh_ids(&mut self, count: usize) -> u16 {
        let first = self.next_id.wrapping_add(1);
        self.next_id = self.next_id.wrapping_add(count as u16);
        first
    }

    /// The last identification that was given out.
    pub fn last_id(&self) -> u16 {
        self.next_id
    }
}

/// Takes one from a packet's TTL, or refuses it.
#[inline]
pub fn spend_ttl(packet: &mut Packet) -> Result<(), Refusal> {
    if packet.ip.ttl <= 1 {
        return Err(Refusal::with(DropReason::TtlExceeded, IcmpError::TimeExceeded));
    }
    decrement_ttl(packet.buf, packet.ip);
    Ok(())
}
