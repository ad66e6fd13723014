//! What helpers read before it goes on: FTP's commands, SIP's messages, headers of the PROXY protocol, TOA, conns of the SYN
//! proxy.
//!
//! Never chooses a server.

use std::net::IpAddr;

use super::{Director, syn_proxy};
use crate::alg::{self, Ahead, Passage, Waiting};
use crate::base::{ConnId, Consumed, DropReason, Family, Instant};
use crate::conn::{Event, Side};
use crate::forward;
use crate::router::{Egress, Refusal, Router, Turn, each_segment, room_for};
use crate::settings::NoLocalPort;
use crate::stack;
use crate::wire::icmp::IcmpError;
use crate::wire::tcp::Segment;
use crate::wire::{Gso, L4, Packet, TcpFlags, field, ip_packet, tcp, udp};

impl Director {
    /// A request that helpers read before it goes on; false if there is nothing left to send.
    #[cold]
    pub(super) fn help_request(
        &mut self,
        id: ConnId,
        packet: &mut Packet,
        turn: &mut Turn<impl Egress>,
    ) -> Result<bool, Refusal> {
        self.flows.splices.request(id, packet);
        let (has_header, has_option) = (self.proxy.has(id), self.toa.has(id));
        if matches!(packet.ip.l4, L4::Udp { .. }) {
            return self.help_datagrams(id, packet, turn);
        }
        if !has_header && reads_ftp(self, id) {
            self.ftp.request(id, packet, &mut self.flows, turn.now)?;
        }
        if !has_header && self.flows.is_sip_over_tcp(id) {
            read_stream(self, id, Side::Request, packet, turn.now)?;
        }
        if !has_header && !has_option {
            return Ok(true);
        }
        let mtu = self.router.route(self.flows.ends(id).real.addr)?.mtu;
        if has_option {
            let room = room_for(packet, mtu, Family::of(self.flows.ends(id).real.addr));
            if !self.toa.request(id, packet, room, &self.flows) {
                self.flows.warn_of_missing_toa(id, turn.now);
            }
            return Ok(true);
        }
        let passage = Passage { id, from: Side::Request, mtu, now: turn.now };
        match self.proxy.request(passage, packet, &mut self.flows)? {
            Ahead::Nothing => {}
            Ahead::Waits => {
                turn.consume(Consumed::Handshake);
                return Ok(false);
            }
            Ahead::Header => self.send_header(id, packet, turn),
            Ahead::Refused(expected) => {
                self.refuse_header(id, packet, expected, turn);
                return Err(DropReason::ClientHeader.into());
            }
        }
        Ok(true)
    }

    /// Sends the header ahead of a segment that has no room for it.
    fn send_header(&mut self, id: ConnId, packet: &Packet, turn: &mut Turn<impl Egress>) {
        let Director { proxy, flows, router, .. } = self;
        let ends = flows.ends(id);
        turn.lend(|turn, piece| {
            turn.generated();
            let sent = proxy
                .alone(id, packet, piece, flows)
                .map_err(Refusal::from)
                .and_then(|mut ip| forward::send_to_server(&mut Packet::new(piece, &mut ip), &ends, router, turn));
            if let Err(refusal) = sent {
                turn.drop(refusal.reason);
            }
        });
    }

    /// Resets both ends of a conn whose client sends a header that it may not send.
    fn refuse_header(&mut self, id: ConnId, packet: &Packet, expected: u32, turn: &mut Turn<impl Egress>) {
        let ends = self.flows.ends(id);
        let reset = L4::Tcp { sport: 0, dport: 0, flags: TcpFlags::RST };
        self.flows.advance(id, Event::Input, &reset, turn.now);
        let told = tcp::acknowledged(packet.frame(), packet.ip).wrapping_add(self.flows.splices.back(id));
        stack::reset_end((ends.virt(), ends.client()), told, &mut self.router, turn);
        stack::reset_end((ends.peer(), ends.real), expected, &mut self.router, turn);
    }

    /// A datagram, or a superframe of them, which is cut.
    fn help_datagrams(
        &mut self,
        id: ConnId,
        packet: &mut Packet,
        turn: &mut Turn<impl Egress>,
    ) -> Result<bool, Refusal> {
        if packet.buf.vnet.gso == Gso::None {
            self.help_datagram(id, packet, turn.now)?;
            return Ok(true);
        }
        let ends = self.flows.ends(id);
        check_room_for_header(self, id, packet)?;
        each_segment(packet, turn, |datagram, turn| {
            let done = self.help_datagram(id, datagram, turn.now);
            done.and_then(|()| forward::send_to_server(datagram, &ends, &mut self.router, turn))
                .map_err(|refusal| refusal.reason)
        });
        Ok(false)
    }

    /// A datagram of SIP is read, and one that carries its client's address gets it.
    fn help_datagram(&mut self, id: ConnId, packet: &mut Packet, now: Instant) -> Result<(), Refusal> {
        if self.flows.is_sip(id) {
            read_message(self, id, Side::Request, packet, now)?;
        }
        if self.proxy.has(id) {
            check_room_for_header(self, id, packet)?;
            self.proxy.datagram(id, packet, &self.flows)?;
        }
        Ok(())
    }
}

/// Sends the handshake's end, with the header, of clients that say nothing: their servers may speak first.
#[cold]
#[inline(never)]
pub(super) fn send_waiting(director: &mut Director, turn: &mut Turn<impl Egress>) {
    while let Some(Waiting { id, first: seq, ack, window, .. }) = director.proxy.next_due(turn.now) {
        let conn = director.flows.conns.get(id);
        let (src, dst, flags) = (conn.client(), conn.virt(), tcp::ACK);
        turn.lend(|turn, piece| {
            turn.generated();
            tcp::write(piece, &Segment { src, dst, seq, ack, flags, window, options: &[], tos: 0 });
            let sent = ip_packet(piece.frame()).map_err(Refusal::from).and_then(|mut ip| {
                let (packet, ends) = (&mut Packet::new(piece, &mut ip), director.flows.ends(id));
                let goes_on = director.help_request(id, packet, turn)?;
                if goes_on { forward::send_to_server(packet, &ends, &mut director.router, turn) } else { Ok(()) }
            });
            if let Err(refusal) = sent {
                turn.drop(refusal.reason);
            }
        });
    }
}

fn reads_ftp(director: &Director, id: ConnId) -> bool {
    director.flows.is_ftp_control(id) || director.ftp.has(id)
}

/// A datagram must fit with the header in front of it.
fn check_room_for_header(director: &Director, id: ConnId, packet: &Packet) -> Result<(), Refusal> {
    let longer = director.proxy.length(id, &director.flows) as usize;
    check_room(director, packet, director.flows.ends(id).real.addr, longer)
}

/// Refuses a datagram that is too long on its way to `to` once it is so much longer.
fn check_room(director: &Director, packet: &Packet, to: IpAddr, longer: usize) -> Result<(), Refusal> {
    let room = room_for(packet, director.router.route(to)?.mtu, Family::of(to)).saturating_sub(longer as u16);
    if longer > 0 && packet.ip.dont_fragment && packet.ip.wire_len(packet.buf) > usize::from(room) {
        return Err(Refusal::with(DropReason::TooBig, IcmpError::TooBig(room)));
    }
    Ok(())
}

/// Where a packet of a conn goes, by who has sent it.
fn onward(director: &Director, id: ConnId, from: Side) -> IpAddr {
    let ends = director.flows.ends(id);
    if from == Side::Request { ends.real.addr } else { ends.client().addr }
}

/// Reads a message of SIP, and writes what the other side has to read in its place.
#[cold]
fn read_message(
    director: &mut Director,
    id: ConnId,
    from: Side,
    packet: &mut Packet,
    now: Instant,
) -> Result<(), Refusal> {
    let Some(text) = alg::sip_message(id, from, packet, &mut director.flows, now)? else { return Ok(()) };
    let to = onward(director, id, from);
    let longer = text.len().saturating_sub(packet.ip.end - packet.ip.l4_at - field::udp::LEN);
    check_room(director, packet, to, longer)?;
    let is_done = udp::replace_payload(packet.buf, packet.ip, &text);
    if is_done { Ok(()) } else { Err(DropReason::NoHeadroom.into()) }
}

/// Reads the messages of SIP in a segment, and writes what the other side has to read in their place.
#[cold]
fn read_stream(
    director: &mut Director,
    id: ConnId,
    from: Side,
    packet: &mut Packet,
    now: Instant,
) -> Result<(), Refusal> {
    let to = onward(director, id, from);
    let mtu = room_for(packet, director.router.route(to)?.mtu, Family::of(to));
    Ok(director.sip.segment(Passage { id, from, mtu, now }, packet, &mut director.flows)?)
}

/// No local address has a port left: what the client is told.
#[cold]
pub(super) fn no_local_port(
    how: NoLocalPort,
    packet: &Packet,
    router: &mut Router,
    turn: &mut Turn<impl Egress>,
) -> Refusal {
    let reason = DropReason::NoLocalPort;
    match (how, packet.ip.l4) {
        (NoLocalPort::Drop, _) => {}
        (NoLocalPort::Reset, L4::Tcp { .. }) => stack::answer_by_reset(packet, router, turn),
        (NoLocalPort::Reset | NoLocalPort::Icmp, _) => return Refusal::with(reason, IcmpError::PortUnreachable),
    }
    reason.into()
}

/// A reply that helpers read before it goes on.
#[cold]
pub(super) fn help_reply(
    director: &mut Director,
    id: ConnId,
    packet: &mut Packet,
    turn: &mut Turn<impl Egress>,
) -> Result<(), Refusal> {
    syn_proxy::check_answer(director, id, packet, turn)?;
    if director.flows.is_sip(id) && packet.buf.vnet.gso == Gso::None {
        read_message(director, id, Side::Reply, packet, turn.now)?;
    }
    let (has_header, has_option) = (director.proxy.has(id), director.toa.has(id));
    if has_header {
        director.proxy.reply(id, packet, &mut director.flows)?;
    } else if reads_ftp(director, id) {
        director.ftp.reply(id, packet, &mut director.flows, turn.now)?;
    } else if director.flows.is_sip_over_tcp(id) {
        read_stream(director, id, Side::Reply, packet, turn.now)?;
    }
    if has_option {
        director.toa.reply(id, packet, &mut director.flows);
    }
    Ok(())
}
