//! SIP in the segments of TCP conns: messages are read as those of UDP, wherever segments begin and end.
//!
//! Selective acknowledgements are not agreed upon, so that what is sent again begins where the other end's stream does. Never
//! keeps a segment: what has not gone on is acknowledged by nobody.

use super::passage::Passage;
use super::sip::text;
use super::sip_stream::{Onward, Stream};
use crate::base::{ConnId, DropReason, Family};
use crate::conn::{Beside, LifeEvent, Side};
use crate::flows::Flows;
use crate::wire::{Gso, L4, Packet, Vnet, field, tcp, tcp_option};

/// Both directions of a conn.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SipConn {
    pub(super) client: Stream,
    pub(super) server: Stream,
}

/// Conns whose messages are read.
#[derive(Default)]
pub struct SipTcp(Beside<SipConn>);

impl SipTcp {
    /// A conn has ended: what was known of it is forgotten.
    #[inline]
    pub fn on(&mut self, event: LifeEvent) {
        self.0.on(event);
    }

    /// Those that have changed since they were asked for, each with what is known of it now.
    pub fn take_changed(&mut self) -> Vec<(ConnId, Option<SipConn>)> {
        self.0.take_changed()
    }

    /// Goes on with what an earlier process knew of a conn.
    pub fn recall(&mut self, id: ConnId, conn: SipConn) {
        self.0.recall(id, conn);
    }

    /// What is known of a conn.
    pub fn conn(&self, id: ConnId) -> Option<&SipConn> {
        self.0.get(id)
    }

    /// Another director knows this of a conn.
    pub fn take(&mut self, id: ConnId, told: Option<SipConn>) {
        self.0.take(id, told);
    }

    /// A segment, not rewritten yet.
    #[inline(never)]
    pub fn segment(
        &mut self,
        Passage { id, from, mtu, now }: Passage,
        packet: &mut Packet,
        flows: &mut Flows,
    ) -> Result<(), DropReason> {
        let L4::Tcp { flags, .. } = packet.ip.l4 else { return Ok(()) };
        // As in the kernel, a corrupt one is its receiver's to drop; nothing of it is heeded.
        if !tcp::checksum_is_right(packet.buf, packet.ip) {
            return Ok(());
        }
        if flags.syn() {
            let first = Some(tcp::sequence(packet.frame(), packet.ip).wrapping_add(1));
            let mut conn = self.0.get(id).filter(|_| flags.ack()).cloned().unwrap_or_default();
            // One that is repeated says nothing new.
            let own = if from == Side::Request { &mut conn.client } else { &mut conn.server };
            own.next = own.next.or(first);
            self.0.set(id, conn);
            tcp_option::blank(packet.buf, packet.ip, tcp_option::SACK_PERMITTED, 2);
            return Ok(());
        }
        if self.0.get(id).is_none() {
            self.0.set(id, SipConn::default());
        }
        let Some(SipConn { client, server }) = self.0.get_mut(id) else { return Ok(()) };
        let (own, other) = if from == Side::Request { (client, server) } else { (server, client) };
        if flags.ack() {
            let moved = if from == Side::Reply { flows.conns.shift(id) } else { 0 };
            let number = tcp::acknowledged(packet.frame(), packet.ip).wrapping_sub(moved);
            let by = other.of_acknowledged(number);
            tcp::shift_acknowledged(packet.buf, packet.ip, |_| by);
            other.acknowledged(number.wrapping_add_signed(by));
        }
        let (sequence, at) = (tcp::sequence(packet.frame(), packet.ip), tcp::payload_at(packet.frame(), packet.ip));
        if at == packet.ip.end {
            let bare = own.bare(sequence);
            if flags.fin() && bare != sequence {
                return Err(DropReason::SipOrder);
            }
            let by = bare.wrapping_sub(sequence) as i32 + own.of_sequence(bare);
            tcp::shift_sequence(packet.buf, packet.ip, by);
            return Ok(());
        }
        let data = packet.frame()[at..packet.ip.end].to_vec();
        let onward = own.take(sequence, &data, flags.fin(), &mut |message| text(id, from, message, flows, now))?;
        let by = onward.at.wrapping_sub(sequence) as i32 + own.of_sequence(onward.at);
        if flags.fin() && onward.end != sequence.wrapping_add(data.len() as u32) {
            tcp::clear_fin(packet.buf, packet.ip);
        }
        put(packet, at, &onward, mtu)?;
        tcp::shift_sequence(packet.buf, packet.ip, by);
        self.0.note_changed(id);
        flows.tell_of(id);
        Ok(())
    }
}

/// Puts what goes on in place of the payload; a segment that does not fit its way any more becomes a superframe.
#[inline(never)]
fn put(packet: &mut Packet, at: usize, onward: &Onward, mtu: u16) -> Result<(), DropReason> {
    let mut vnet = packet.buf.vnet;
    if vnet.gso == Gso::None {
        let gso = if packet.ip.family() == Family::V4 { Gso::Tcp4 } else { Gso::Tcp6 };
        let headers = packet.ip.total_len() - (packet.ip.end - at);
        let (csum_start, csum_offset) = (packet.ip.l4_at as u16, field::tcp::CHECKSUM as u16);
        let gso_size = usize::from(mtu).saturating_sub(headers).max(1) as u16;
        vnet = Vnet { needs_csum: true, gso, gso_size, csum_start, csum_offset, ..Vnet::default() };
    }
    let len = at + onward.bytes.len();
    if len > usize::from(u16::MAX) {
        return Err(DropReason::NoHeadroom);
    }
    // What has waited may be longer than there is room for in front.
    let frame = [&packet.frame()[..at], &onward.bytes].concat();
    packet.buf.set(&frame);
    packet.ip.end = len;
    tcp::replace_payload(packet.buf, packet.ip, at..len, &onward.bytes);
    tcp::reopen(packet.buf, packet.ip, vnet);
    Ok(())
}
