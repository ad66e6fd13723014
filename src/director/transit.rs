//! Packets that belong to no service: the director is also a router, which may let pass only what servers ask for, and may
//! masquerade it.
//!
//! Never touches a packet of a conn.

use super::Director;
use super::owner::Ownership;
use super::path::orphaned_reply;
use crate::base::{DropReason, Endpoint};
use crate::flows::Flows;
use crate::outbound::Outbound;
use crate::router::{Egress, Refusal, Route, Router, Turn, is_link_local};
use crate::wire::Packet;
use crate::wire::icmp::IcmpError;

/// The rooms that such a packet passes.
pub(super) struct Transit<'a> {
    outbound: &'a mut Outbound,
    flows: &'a mut Flows,
    router: &'a mut Router,
}

impl Director {
    /// The way of packets that belong to no service.
    pub(super) fn transit(&mut self) -> Transit<'_> {
        let Director { outbound, flows, router, .. } = self;
        Transit { outbound, flows, router }
    }
}

impl Transit<'_> {
    /// A packet that is only forwarded.
    pub(super) fn forward(&mut self, packet: &mut Packet, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
        if is_link_local(packet.ip.src) {
            return Err(Refusal::with(DropReason::BeyondScope, IcmpError::BeyondScope));
        }
        let is_used = self.outbound.is_used();
        let inside = is_used && self.ownership().is_from_server(packet, turn.link);
        if is_used && !self.outbound.admits(turn.link, packet, inside) {
            return Err(DropReason::NotForwarded.into());
        }
        let route = self.router.route_onward(packet, packet.ip.dst)?.for_transit();
        if self.ownership().is_orphaned_reply(packet.ip) {
            return Err(orphaned_reply());
        }
        if self.ownership().is_strayed_reply(packet.ip) {
            return Err(DropReason::UnknownConn.into());
        }
        if is_used {
            self.leave(packet, &route, inside, turn)?;
        }
        self.ownership().record_passage(packet, &route);
        Ok(self.router.transmit(packet, &route, turn)?)
    }

    fn ownership(&self) -> Ownership<'_> {
        Ownership { flows: self.flows, router: self.router }
    }

    /// Opens a flow where the links' policies need it, and gives a masqueraded packet its source.
    fn leave<E>(
        &mut self,
        packet: &mut Packet,
        route: &Route,
        from_server: bool,
        turn: &mut Turn<E>,
    ) -> Result<(), DropReason> {
        let Transit { outbound, flows, router } = self;
        let inside = from_server || route.link != turn.link;
        if Outbound::may_open(packet) {
            if outbound.masquerades(route.link, packet, inside) {
                let to = packet.ip.dst;
                let local = router.source(route.link, route.next_hop, to).ok_or(DropReason::NoLocalPort)?;
                outbound.open(packet, Some(local), &mut flows.ports, turn.now)?;
            } else if from_server && outbound.tracks() {
                outbound.open(packet, None, &mut flows.ports, turn.now)?;
            }
        }
        outbound.answered(packet, &flows.timeouts, turn.now);
        outbound.leave(packet, &flows.timeouts, turn.now);
        Ok(())
    }

    /// An answer to a masqueraded flow, or an error about it.
    pub(super) fn enter(
        &mut self,
        packet: &mut Packet,
        inside: Endpoint,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), Refusal> {
        let route = self.router.route_onward(packet, inside.addr)?;
        self.outbound.enter(packet, inside, &self.flows.timeouts, turn.now);
        self.ownership().record_passage(packet, &route);
        Ok(self.router.transmit(packet, &route, turn)?)
    }
}
