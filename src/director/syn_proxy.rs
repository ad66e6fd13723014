//! The SYN proxy: handshakes that the director makes with clients before it opens a conn, and then with their servers.
//!
//! ```text
//! SYN                   answered by a cookie; nothing is kept
//! ACK with a cookie     the conn is opened as by the client's SYN, which its server is sent
//! SYN+ACK of a server   the handshake's last segment goes to the server, and the client is told the server's window
//! ```
//! What the director says in an end's place goes the way of that end's packets, through all that changes them. Never keeps
//! a packet.

use super::Director;
use super::begin::begin;
use super::syn_cookies::{give_cookie, proof};
use crate::base::{ConnId, Consumed, DropReason, Endpoint, ServiceId, Tuple};
use crate::conn::{Event, Kind};
use crate::flows::{Answer, Due, FTP_DATA_PORT, Handshake, Opening};
use crate::forward;
use crate::router::{Egress, Refusal, Turn};
use crate::service::command::SynProxy;
use crate::settings::Unknown;
use crate::stack;
use crate::wire::tcp::{self, Segment};
use crate::wire::{L4, Offer, Packet, ip_packet};

/// A packet of no conn to an address of the director: whether a handshake is made here. `None` if it is not.
#[cold]
pub(super) fn proxied(
    director: &mut Director,
    packet: &mut Packet,
    turn: &mut Turn<impl Egress>,
) -> Option<Result<(), Refusal>> {
    let L4::Tcp { flags, .. } = packet.ip.l4 else { return None };
    let tuple = packet.ip.tuple()?;
    let service = director.flows.services.find(&tuple)?;
    let mode = director.flows.services.get(service)?.options.syn_proxy;
    let is_ftp_data =
        tuple.src.port == FTP_DATA_PORT || (director.flows.services.is_ftp(service) && tuple.dst.port != 21);
    if mode == SynProxy::Off || is_ftp_data || flags.rst() || flags.syn() == flags.ack() {
        return None;
    }
    if flags.syn() {
        return director
            .flows
            .asks_first(service, turn.now)
            .then(|| give_cookie(director, (service, &tuple), packet, turn));
    }
    let Some((handshake, next)) = proof(&director.flows, &tuple, packet, turn.now) else {
        if mode == SynProxy::Auto {
            return None;
        }
        if director.flows.settings.unknown != Unknown::Drop {
            stack::answer_by_reset(packet, &mut director.router, turn);
        }
        return Some(Err(DropReason::BadCookie.into()));
    };
    director.flows.services.answer(service);
    if let Err(refusal) = open(director, (service, &tuple), handshake, packet.ip.tos, turn) {
        // The client was told that it is connected.
        stack::reset_end((tuple.dst, tuple.src), next, &mut director.router, turn);
        return Some(Err(refusal.reason.into()));
    }
    turn.consume(Consumed::Handshake);
    Some(Ok(()))
}

/// A request of a conn whose server has not answered yet.
#[cold]
pub(super) fn before_server(
    director: &mut Director,
    id: ConnId,
    packet: &mut Packet,
    turn: &mut Turn<impl Egress>,
) -> Result<(), Refusal> {
    let L4::Tcp { flags, .. } = packet.ip.l4 else { return Err(DropReason::ServerAwaited.into()) };
    let sequence = tcp::sequence(packet.frame(), packet.ip);
    let first = director.flows.splices.waiting(id).map(|handshake| handshake.first);
    if flags.rst() {
        if Some(sequence) != first {
            return Err(DropReason::ServerAwaited.into());
        }
        director.flows.splices.forget(id);
        return director.forward_request(id, packet, turn);
    }
    if flags.syn() || flags.fin() || tcp::payload_at(packet.frame(), packet.ip) < packet.ip.end {
        return Err(DropReason::ServerAwaited.into());
    }
    director.flows.splices.heard(id, packet);
    turn.consume(Consumed::Handshake);
    Ok(())
}

/// What the server has answered to the director's SYN, in the client's numbers; the packet ends here.
#[cold]
pub(super) fn server_answered(
    director: &mut Director,
    id: ConnId,
    answer: Answer,
    packet: &Packet,
    turn: &mut Turn<impl Egress>,
) -> Result<(), Refusal> {
    let conn = director.flows.conns.get(id);
    let (client, virt) = (conn.client(), conn.virt());
    turn.consume(Consumed::Handshake);
    let (handshake, join, offer) = match answer {
        Answer::Accepted(handshake, join, offer) => (handshake, join, offer),
        Answer::Refused(handshake) => {
            tell_refusal(director, (virt, client), &handshake, turn);
            return Ok(());
        }
        Answer::Passes => return Ok(()),
    };
    let clocks = offer
        .timestamps
        .zip(handshake.offer.timestamps)
        .map(|((server, _), (client, _))| (client, server.wrapping_add(join.server_clock)));
    let (first, next) = (handshake.first, handshake.cookie.wrapping_add(1));
    let window = join.first_window(tcp::window(packet.frame(), packet.ip), offer.scale.unwrap_or(0));
    let mut options = [0; 40];
    let of = |clocks| Offer { timestamps: clocks, ..Offer::default() };
    let (src, dst, flags, tos) = (client, virt, tcp::ACK, packet.ip.tos);
    let written = of(clocks).write(&mut options);
    let ack = Segment { src, dst, seq: first, ack: next, flags, window: handshake.window, options: written, tos };
    say(director, id, &ack, turn, |director, id, packet, turn| director.forward_request(id, packet, turn));
    let written = of(clocks.map(|(client, server)| (server, client))).write(&mut options);
    let (src, dst) = (virt, client);
    let opened = Segment { src, dst, seq: next, ack: first, flags, window, options: written, tos };
    turn.lend(|turn, frame| {
        tcp::write(frame, &opened);
        director.router.send_to(frame, client.addr, turn);
    });
    Ok(())
}

/// Servers that do not answer are sent the SYN again, and given up after some time.
pub(super) fn repeat_handshakes(director: &mut Director, turn: &mut Turn<impl Egress>) {
    while let Some((id, handshake, due)) = director.flows.splices.next_due(turn.now) {
        let conn = director.flows.conns.get(id);
        let ends = (conn.virt(), conn.client());
        match due {
            Due::Again => {
                director.flows.splices.begin(id, handshake, turn.now);
                send_syn(director, id, &handshake, 0, turn);
            }
            Due::Over => {
                tell_refusal(director, ends, &handshake, turn);
                director.flows.replace(id);
            }
        }
        director.tell_listeners();
    }
}

/// Opens the conn of a client that has proved itself, and sends its SYN to a server.
fn open(
    director: &mut Director,
    (service, tuple): (ServiceId, &Tuple),
    mut handshake: Handshake,
    tos: u8,
    turn: &mut Turn<impl Egress>,
) -> Result<(), Refusal> {
    let now = turn.now;
    let flows = &mut director.flows;
    flows.check_quota(service, tuple, now)?;
    let choice = flows.choose(service, tuple, None, now)?.ok_or(DropReason::NoServer)?;
    if !flows.services.dest(choice.dest).method.rewrites_replies() {
        return Err(DropReason::NoServer.into());
    }
    if flows.kind_towards(choice.real.addr, &director.router) == Kind::LocalFlow {
        return Err(DropReason::LocalClosed.into());
    }
    let opening = Opening { service, tuple: *tuple, choice };
    let own_clock = flows.cookies().clock(now);
    let id = turn.lend(|_, frame| {
        tcp::write(frame, &syn_of((tuple.src, tuple.dst), &handshake, &[], tos));
        let mut ip = ip_packet(frame.frame())?;
        begin(director, &opening, None, &Packet::new(frame, &mut ip), now)
    })?;
    let conn = director.flows.conns.get_mut(id);
    conn.set_helped(true);
    // The clocks of many clients would be mixed in one local port's (RFC 7323 5): the server gets that of the director.
    if conn.is_full_nat()
        && let Some((value, _)) = handshake.offer.timestamps
    {
        handshake.client_clock = own_clock.wrapping_sub(value);
    }
    director.flows.splices.begin(id, handshake, now);
    send_syn(director, id, &handshake, tos, turn);
    Ok(())
}

fn syn_of<'a>((src, dst): (Endpoint, Endpoint), handshake: &Handshake, options: &'a [u8], tos: u8) -> Segment<'a> {
    let seq = handshake.first.wrapping_sub(1);
    Segment { src, dst, seq, ack: 0, flags: tcp::SYN, window: u16::MAX, options, tos }
}

/// Sends the SYN of a conn's client to its server.
fn send_syn(director: &mut Director, id: ConnId, handshake: &Handshake, tos: u8, turn: &mut Turn<impl Egress>) {
    let conn = director.flows.conns.get(id);
    let offer = Offer {
        timestamps: handshake.offer.timestamps.map(|(value, _)| (value.wrapping_add(handshake.client_clock), 0)),
        ..handshake.offer
    };
    let mut options = [0; 40];
    let syn = syn_of((conn.client(), conn.virt()), handshake, offer.write(&mut options), tos);
    say(director, id, &syn, turn, |director, id, packet, turn| {
        let flows = &mut director.flows;
        flows.services.count_in(flows.conns.get(id).dest, packet.ip.total_len());
        flows.advance(id, Event::Input, &packet.ip.l4, turn.now);
        if !director.help_request(id, packet, turn)? {
            return Ok(());
        }
        // What FULL-NAT does to a SYN, but for its timestamps, which are the director's already.
        let mut ends = director.flows.ends(id);
        tcp::shift_sequence(packet.buf, packet.ip, ends.shift as i32);
        ends.shift = 0;
        forward::send_to_server(packet, &ends, &mut director.router, turn)
    });
}

/// Says something in the place of a conn's client: it is counted as made here, and dropped like any other packet.
fn say<E: Egress>(
    director: &mut Director,
    id: ConnId,
    segment: &Segment,
    turn: &mut Turn<E>,
    send: impl FnOnce(&mut Director, ConnId, &mut Packet, &mut Turn<E>) -> Result<(), Refusal>,
) {
    turn.lend(|turn, frame| {
        tcp::write(frame, segment);
        let Ok(mut ip) = ip_packet(frame.frame()) else { return };
        turn.generated();
        if let Err(refusal) = send(director, id, &mut Packet::new(frame, &mut ip), turn) {
            turn.drop(refusal.reason);
        }
    });
}

/// Tells a client that its conn ends here: its server has refused, or does not answer.
fn tell_refusal(
    director: &mut Director,
    (virt, client): (Endpoint, Endpoint),
    handshake: &Handshake,
    turn: &mut Turn<impl Egress>,
) {
    stack::reset_end((virt, client), handshake.cookie.wrapping_add(1), &mut director.router, turn);
}

/// Refuses what a server may not say to the SYN of a conn (RFC 9293 3.10.7.3), by a reset where it is not one.
pub(super) fn check_answer(
    director: &mut Director,
    id: ConnId,
    packet: &Packet,
    turn: &mut Turn<impl Egress>,
) -> Result<(), Refusal> {
    let (Some(handshake), L4::Tcp { flags, .. }) = (director.flows.splices.waiting(id), packet.ip.l4) else {
        return Ok(());
    };
    let flows = &director.flows;
    let sent = handshake.first.wrapping_add(flows.conns.shift(id)).wrapping_sub(director.proxy.length(id, flows));
    let acknowledges = flags.ack() && tcp::acknowledged(packet.frame(), packet.ip) == sent;
    if acknowledges && (flags.syn() || flags.rst()) {
        return Ok(());
    }
    stack::answer_by_reset(packet, &mut director.router, turn);
    Err(DropReason::ServerAwaited.into())
}
