//! The client's side of the SYN proxy: who is asked first, the cookie that answers a SYN, and what proves one.
//!
//! Never opens a conn.

use super::Director;
use crate::alg::{Cookies, offered};
use crate::base::{ConnId, Consumed, DropReason, Family, Instant, ServiceId, Tuple};
use crate::conn::{Event, LifeEvent, TcpState};
use crate::flows::{Answer, Flows, Handshake};
use crate::router::{Egress, Refusal, Turn};
use crate::service::command::{ClientAddress, SynProxy};
use crate::wire::tcp::{self, Segment};
use crate::wire::{Offer, Packet};

/// By how many bits clients are told that windows are shifted.
const SCALE: u8 = 7;
/// What a segment's IP and TCP headers take of its size.
const HEADERS: [u16; 2] = [40, 60];

impl Flows {
    /// True if a client of the service proves itself before a conn is opened, and there is a server for it.
    pub(super) fn asks_first(&mut self, service: ServiceId, now: Instant) -> bool {
        let Some(configured) = self.services.get(service) else { return false };
        let mode = configured.options.syn_proxy;
        if !self.services.takes_conns(service) {
            return false;
        }
        mode == SynProxy::On || self.services.ask(service, self.settings.syn_proxy_rate, now)
    }

    /// A segment of the server of a conn that was begun here, in the client's numbers but for the server's own.
    #[cold]
    pub(super) fn hear_server(&mut self, id: ConnId, packet: &mut Packet, now: Instant) -> Answer {
        let clock = self.cookies().clock(now);
        self.splices.reply(id, packet, clock)
    }

    pub(super) fn cookies(&self) -> Cookies {
        Cookies { key: self.conns.cookie_key() }
    }

    /// A conn whose client has stood up for its SYN, where that is counted.
    #[inline]
    pub(super) fn note_answered(&mut self, event: LifeEvent) {
        if let LifeEvent::Moved(id, before, Some(Event::Input)) = event
            && self.services.any_syn_proxy()
            && before == TcpState::SynRecv as u8
            && let Some(conn) = self.conns.live(id)
            && conn.state() == TcpState::Established as u8
            && let Some(service) = self.services.slot_of(&self.services.dest(conn.dest).service)
        {
            self.services.answer(service);
        }
    }

    /// What of a segment is not its client's, for what servers are told of clients and for headers of another family.
    pub(super) fn reserved(&self, service: ServiceId, family: Family) -> u16 {
        let dests = self.services.get(service).map_or(&[][..], |service| &service.dests);
        let reserved = dests.iter().map(|dest| {
            let crosses = family == Family::V4 && !self.services.server(*dest).endpoint.addr.is_ipv4();
            let told = match (self.services.dest(*dest).client_address, family) {
                (ClientAddress::Toa, Family::V4) => 8,
                (ClientAddress::Toa, Family::V6) => 20,
                _ => 0,
            };
            told + if crosses { 20 } else { 0 }
        });
        reserved.max().unwrap_or(0)
    }
}

/// Answers a SYN by a cookie.
pub(super) fn give_cookie(
    director: &mut Director,
    (service, tuple): (ServiceId, &Tuple),
    packet: &mut Packet,
    turn: &mut Turn<impl Egress>,
) -> Result<(), Refusal> {
    let Director { flows, router, .. } = director;
    if !tcp::checksum_is_right(packet.buf, packet.ip) {
        return Err(DropReason::L4Checksum.into());
    }
    let family = packet.ip.family();
    let least = if family == Family::V4 { 536 } else { 1220 };
    let mut offer = Offer::read(packet.buf, packet.ip);
    if !flows.settings.syn_proxy_timestamps || offer.timestamps.is_none() {
        // Without a clock only the size comes back.
        offer = Offer { mss: offer.mss, ..Offer::default() };
    }
    let first = tcp::sequence(packet.frame(), packet.ip).wrapping_add(1);
    let cookies = flows.cookies();
    let taken = HEADERS[family as usize] + flows.reserved(service, family);
    let mss = router.route(tuple.src.addr)?.mtu.saturating_sub(taken);
    let answer = Offer {
        mss: Some(mss),
        scale: offer.scale.map(|_| SCALE),
        timestamps: offer.timestamps.map(|(value, _)| (cookies.clock_with(&offer, turn.now), value)),
        ..offer
    };
    let mut options = [0; 40];
    let answer = Segment {
        src: tuple.dst,
        dst: tuple.src,
        seq: cookies.issue(tuple, first, offer.mss.unwrap_or(least), turn.now),
        ack: first,
        flags: tcp::SYN | tcp::ACK,
        window: 0,
        options: answer.write(&mut options),
        tos: packet.ip.tos & !3,
    };
    turn.consume(Consumed::SynCookie);
    turn.lend(|turn, frame| {
        tcp::write(frame, &answer);
        router.send_to(frame, tuple.src.addr, turn);
    });
    Ok(())
}

/// The handshake that a segment proves, and the number that its sender expects next.
///
/// A probe of a window of 0 stands one byte before the first (RFC 9293 3.8.6.1).
pub(super) fn proof(flows: &Flows, tuple: &Tuple, packet: &mut Packet, now: Instant) -> Option<(Handshake, u32)> {
    if !tcp::checksum_is_right(packet.buf, packet.ip) {
        return None;
    }
    let (sequence, next) = (tcp::sequence(packet.frame(), packet.ip), tcp::acknowledged(packet.frame(), packet.ip));
    let (cookie, cookies) = (next.wrapping_sub(1), flows.cookies());
    let known = |first: u32| cookies.check(tuple, first, cookie, now).map(|mss| (first, mss));
    let (first, mss) = known(sequence).or_else(|| known(sequence.wrapping_add(1)))?;
    let offer = offered(mss, Offer::read(packet.buf, packet.ip).timestamps);
    let scale = if offer.scale.is_some() { SCALE } else { 0 };
    let window = tcp::window(packet.frame(), packet.ip);
    Some((Handshake::new(first, cookie, offer, scale, window), next))
}
