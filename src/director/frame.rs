//! A frame that came: whether it is for this director, and to which room what is in it goes.
//!
//! Never edits a frame.

use super::Director;
use super::told::{take_helped, tell_directors};
use crate::base::{DropReason, LinkId};
use crate::router::{Egress, Turn};
use crate::stack::Host;
use crate::vrrp::Vrrp;
use crate::wire::listener::Query;
use crate::wire::ndp::Ndp;
use crate::wire::{self, Packet, PacketBuf, Parsed, Reassembly, igmp};

impl Director {
    /// Takes one frame from a link. What becomes of it is in the ledger.
    #[cfg(any(test, feature = "testing"))]
    pub fn ingress(&mut self, link: LinkId, buf: &mut PacketBuf, turn: &mut Turn<impl Egress>) {
        let mut parsed = wire::parse(buf);
        self.frame(link, buf, &mut parsed, turn);
    }

    /// The same of a frame that was parsed already.
    #[inline(always)]
    pub(super) fn frame(
        &mut self,
        link: LinkId,
        buf: &mut PacketBuf,
        parsed: &mut Result<Parsed, DropReason>,
        turn: &mut Turn<impl Egress>,
    ) {
        turn.received();
        turn.link = link;
        // Matched where it is: a packet as parsed is large, and copying it right after it was written stalls.
        match parsed {
            Ok(Parsed::Ip(ip))
                if self.standby.has_all_addresses(&self.router.virtuals)
                    && self.router.is_for(link, buf.frame()) == Ok(true) =>
            {
                self.counted(&mut Packet::new(buf, ip), turn);
            }
            parsed => {
                if let Err(reason) = self.other_frame(link, buf, parsed, turn) {
                    turn.drop(reason);
                }
                self.fast().heed();
            }
        }
    }

    /// What is no IP packet, not for this station alone, or comes while another director works.
    fn other_frame(
        &mut self,
        link: LinkId,
        buf: &mut PacketBuf,
        parsed: &mut Result<Parsed, DropReason>,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), DropReason> {
        let to_us = self.router.is_for(link, buf.frame())?;
        let mut finished;
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(DropReason::Offload) if wire::finish_inner_checksum(buf) => {
                finished = wire::parse(buf)?;
                &mut finished
            }
            Err(reason) => return Err(*reason),
        };
        if self.standby.silences(parsed, &self.flows.services, &self.router.virtuals, &self.sync) {
            return Err(DropReason::Standby);
        }
        if self.standby.is_active() {
            let mut host = Host { services: &self.flows.services, router: &mut self.router };
            self.stack.claims.heed(link, parsed, &mut host, turn);
        }
        self.own_probes.hear_neighbour(link, parsed);
        match parsed {
            Parsed::Ip(ip) if to_us => {
                self.counted(&mut Packet::new(buf, ip), turn);
                Ok(())
            }
            Parsed::Ip(ip) => self.group_packet(link, &mut Packet::new(buf, ip), turn),
            Parsed::Arp(arp) => self.host().arp(link, arp, turn),
            Parsed::Ndp(Ndp::Query(query)) => self.listener_query(link, query, turn),
            Parsed::Ndp(ndp) => self.host().ndp(link, ndp, turn),
        }
    }

    /// An IP packet, which is refused in one place if it goes no further; then all listeners hear of its conns.
    pub(super) fn counted(&mut self, packet: &mut Packet, turn: &mut Turn<impl Egress>) {
        if let Err(refusal) = self.packet(packet, turn) {
            let host = Host { services: &self.flows.services, router: &mut self.router };
            self.stack.refuse(packet, refusal, host, turn);
        }
        self.tell_listeners();
        if self.flows.has_news() || self.sync.master.has_unsaid() {
            tell_directors(self, turn);
        }
    }

    fn listener_query(&mut self, link: LinkId, query: &Query, turn: &mut Turn<impl Egress>) -> Result<(), DropReason> {
        let mut host = Host { services: &self.flows.services, router: &mut self.router };
        self.stack.listeners.queried(link, query, &mut host, turn)
    }

    /// A packet to a group: what another director tells of its conns or of itself, or a question for listeners.
    fn group_packet(
        &mut self,
        link: LinkId,
        packet: &mut Packet,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), DropReason> {
        if Vrrp::is_advertisement(packet.ip) {
            return self.presence().hear_vrrp(Some(link), packet, turn);
        }
        if let Some(query) = igmp::query(packet.frame(), packet.ip) {
            return self.listener_query(link, &query, turn);
        }
        if !self.sync.is_sync_group(packet.ip) {
            return Err(DropReason::NotForUs);
        }
        if Reassembly::is_piece(packet.frame(), packet.ip) && !self.stack.join(packet, turn)? {
            return Ok(());
        }
        self.hear_sync(packet, turn)
    }

    /// A packet to the group of connection synchronisation, or of a peer.
    pub(super) fn hear_sync(&mut self, packet: &Packet, turn: &mut Turn<impl Egress>) -> Result<(), DropReason> {
        let done = self.sync.receive(packet, &mut self.flows, &mut self.router, turn);
        self.tell_listeners();
        take_helped(self);
        done
    }
}
