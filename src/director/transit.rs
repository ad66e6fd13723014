//! Packets that belong to no service: the director is also a router, which may let pass only what servers ask for, and may
//! masquerade it.
//!
//! Never touches a packet of a conn.

use super::{Director, orphaned_reply};
use crate::base::{DropReason, Endpoint, LinkId};
use crate::outbound::{Outbound, Policy};
use crate::router::{Egress, Refusal, Route, Turn, is_link_local};
use crate::wire::Packet;
use crate::wire::icmp::IcmpError;

impl Director {
    /// Says which packets of no service pass a link, and which are masqueraded there.
    pub fn set_policy(&mut self, link: LinkId, policy: Policy) {
        self.outbound.set_policy(link, policy);
    }

    /// A packet that is only forwarded.
    pub(super) fn forward(&mut self, packet: &mut Packet, turn: &mut Turn<impl Egress>) -> Result<(), Refusal> {
        if is_link_local(packet.ip.src) {
            return Err(Refusal::with(DropReason::BeyondScope, IcmpError::BeyondScope));
        }
        let is_used = self.outbound.is_used();
        let inside = is_used && self.is_from_server(packet, turn.link);
        if is_used && !self.outbound.admits(turn.link, packet, inside) {
            return Err(DropReason::NotForwarded.into());
        }
        let route = self.router.route_onward(packet, packet.ip.dst)?.for_transit();
        if self.is_orphaned_reply(packet.ip) {
            return Err(orphaned_reply());
        }
        if is_used {
            self.leave(packet, &route, inside, turn)?;
        }
        self.record_passage(packet, &route);
        Ok(self.router.transmit(packet, &route, turn)?)
    }

    /// True for a packet of a real server that came by the link on which the server is.
    fn is_from_server(&self, packet: &Packet, link: LinkId) -> bool {
        let src = packet.ip.src;
        self.flows.services.is_server(src) && self.router.route(src).is_ok_and(|route| route.link == link)
    }

    /// Opens a flow where the links' policies need it, and gives a masqueraded packet its source.
    fn leave<E>(
        &mut self,
        packet: &mut Packet,
        route: &Route,
        from_server: bool,
        turn: &mut Turn<E>,
    ) -> Result<(), DropReason> {
        let Director { outbound, flows, router, .. } = self;
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

    /// The opener to which a packet to an address of the director goes, if it belongs to a masqueraded flow.
    #[inline]
    pub(super) fn masqueraded(&self, packet: &Packet) -> Option<Endpoint> {
        if self.outbound.is_used() { self.outbound.opener(packet) } else { None }
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
        self.record_passage(packet, &route);
        Ok(self.router.transmit(packet, &route, turn)?)
    }
}
