//! The PROXY protocol (versions 1 and 2) in front of a client's stream: its server behind FULL-NAT learns who the client is.
//!
//! ```text
//! SYN      the header's length is fixed: from now on every byte of the client stands so much further on at the server
//! the handshake's ACK waits for what the client says first, which acknowledges the same, for 10 ms
//! until the server has acknowledged the header:
//!   a segment from the client's first byte, be it that ACK, leaves with the header in front of it
//!   what the server acknowledges before that byte is told to the client as that byte
//! ```
//! So a header that is lost, doubled or overtaken is one that its client sends again, and servers that speak first have it
//! with the handshake: where it is lost, they have no handshake's end either, and ask for that again. A server whose client speaks
//! first is woken once, for header and request. Afterwards a shift is all that is left. A header that the client sends itself is treated as the setting
//! `proxy_client_header` says, once its first segment has come; until then later ones, which have overtaken it, are dropped.
//! Datagrams carry the header each, or until their server answers (`proxy_datagrams`). Never keeps a packet.

use std::collections::VecDeque;
use std::time::Duration;

use super::passage::Passage;
use super::proxy_edit::{leave_out, put_in_front, without_payload};
use super::proxy_header::{HandshakeEnd, ProxyHeader};
use crate::base::{ConnId, DropReason, Instant};
use crate::conn::{Beside, LifeEvent};
use crate::flows::Flows;
use crate::service::command::ClientAddress;
use crate::settings::{ClientHeader, Datagrams};
use crate::wire::{Gso, Ip, L4, Packet, PacketBuf, tcp, udp};

/// So long the end of a handshake waits for what the client says.
const PATIENCE: Duration = Duration::from_millis(10);

/// How much longer an IPv6 header is than one of IPv4.
const TRANSLATED: usize = 20;

/// What nearly every path takes.
const SMALL: usize = 576;

/// The end of a handshake, which waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiting {
    due: Instant,
    /// Its conn.
    pub id: ConnId,
    /// Number of the client's first byte.
    pub first: u32,
    /// What it acknowledges.
    pub ack: u32,
    /// Its window.
    pub window: u16,
}

/// What is to be done with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ahead {
    /// It goes on.
    Nothing,
    /// It waits for what the client says.
    Waits,
    /// The header goes first, as a segment of its own: there is no room for both in one.
    Header,
    /// The client sends a header that its server is not to get: both ends are reset. The server expects this number, if it
    /// has what was sent.
    Refused(u32),
}

/// Headers that are on their way.
#[derive(Default)]
pub struct Proxy {
    pub(super) headers: Beside<ProxyHeader>,
    /// The first one to go on in front.
    waiting: VecDeque<Waiting>,
}

impl Proxy {
    /// A conn has ended: what was known of it is forgotten.
    #[inline]
    pub fn on(&mut self, event: LifeEvent) {
        self.headers.on(event);
    }

    /// Those that have changed since they were asked for, each with what is known of it now.
    pub fn take_changed(&mut self) -> Vec<(ConnId, Option<ProxyHeader>)> {
        self.headers.take_changed()
    }

    /// Goes on with what an earlier process knew of a conn.
    pub fn recall(&mut self, id: ConnId, header: ProxyHeader) {
        self.headers.recall(id, header);
    }

    /// What is known of a conn.
    pub fn header(&self, id: ConnId) -> Option<ProxyHeader> {
        self.headers.get(id).copied()
    }

    /// Another director knows this of a conn.
    pub fn take(&mut self, id: ConnId, told: Option<ProxyHeader>) {
        self.headers.take(id, told);
    }

    /// When a handshake's end has waited long enough.
    pub fn due(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.due)
    }

    /// The next that has waited long enough: its client says nothing.
    pub fn next_due(&mut self, now: Instant) -> Option<Waiting> {
        while self.due().is_some_and(|due| due <= now) {
            let waiting = self.waiting.pop_front()?;
            let header = self.headers.get(waiting.id);
            if header.is_some_and(|header| header.first == waiting.first && header.end == HandshakeEnd::Waits) {
                return Some(waiting);
            }
        }
        None
    }

    /// True while the header of a conn is on its way: FTP reads that conn afterwards.
    pub fn has(&self, id: ConnId) -> bool {
        self.headers.get(id).is_some()
    }

    /// How long the header of a conn is that is on its way.
    pub fn length(&self, id: ConnId, flows: &Flows) -> u32 {
        self.headers.get(id).map_or(0, |header| header.len(flows.conns.get(id)))
    }

    /// By how much the number of a client's segment, as its server has it, is before the client's own bytes: by what of the
    /// header is in front of them.
    pub fn ahead(&self, id: ConnId, number: u32, flows: &Flows) -> u32 {
        let Some(header) = self.headers.get(id) else { return 0 };
        let first = header.first.wrapping_add(header.cut).wrapping_add(flows.conns.shift(id));
        let ahead = first.wrapping_sub(number);
        if ahead <= self.length(id, flows) { ahead } else { 0 }
    }

    /// A conn was opened by this packet: if it is a SYN or a datagram, and its server is to be told, the header has its place.
    pub fn begin(&mut self, id: ConnId, packet: &Packet, flows: &mut Flows) {
        let conn = *flows.conns.get(id);
        let version = flows.services.dest(conn.dest).client_address;
        let is_told = match packet.ip.l4 {
            L4::Tcp { flags, .. } => flags.syn() && matches!(version, ClientAddress::ProxyV1 | ClientAddress::ProxyV2),
            L4::Udp { .. } => version == ClientAddress::ProxyV2,
            L4::Sctp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => false,
        };
        if !is_told || !conn.is_full_nat() {
            return;
        }
        let mut header = ProxyHeader::plain(0, version);
        if matches!(packet.ip.l4, L4::Tcp { .. }) {
            header.first = tcp::sequence(packet.frame(), packet.ip).wrapping_add(1);
            header.id = flows.settings.proxy_unique_id.then(|| flows.draw());
            header.is_open = flows.settings.proxy_client_header != ClientHeader::Data;
            flows.conns.move_sequence(id, header.len(&conn));
        }
        flows.conns.get_mut(id).set_helped(true);
        self.headers.set(id, header);
    }

    /// A datagram of the client, not rewritten yet, for which there is room.
    pub fn datagram(&self, id: ConnId, packet: &mut Packet, flows: &Flows) -> Result<(), DropReason> {
        let Some(header) = self.headers.get(id) else { return Ok(()) };
        let is_done = udp::put_in_front(packet.buf, packet.ip, &header.bytes(flows.conns.get(id)));
        if is_done { Ok(()) } else { Err(DropReason::NoHeadroom) }
    }

    /// A segment of the client, not rewritten yet.
    pub fn request(
        &mut self,
        Passage { id, mtu, now, .. }: Passage,
        packet: &mut Packet,
        flows: &mut Flows,
    ) -> Result<Ahead, DropReason> {
        let (Some(header), L4::Tcp { flags, .. }) = (self.headers.get_mut(id), packet.ip.l4) else {
            return Ok(Ahead::Nothing);
        };
        if !tcp::checksum_is_right(packet.buf, packet.ip) {
            return Err(DropReason::L4Checksum);
        }
        let sequence = tcp::sequence(packet.frame(), packet.ip);
        let len = header.len(flows.conns.get(id));
        if flags.syn() {
            header.first = sequence.wrapping_add(1);
            without_payload(packet)?;
            tcp::shift_sequence(packet.buf, packet.ip, (len as i32).wrapping_neg());
            return Ok(Ahead::Nothing);
        }
        if header.is_open
            && let Some(ahead) = self.decide(id, packet, len, flows)?
        {
            return Ok(ahead);
        }
        let Some(header) = self.headers.get_mut(id) else { return Ok(Ahead::Nothing) };
        let at = sequence.wrapping_sub(header.first);
        if flags.rst() {
            if at == 0 && !header.is_there {
                tcp::shift_sequence(packet.buf, packet.ip, (len as i32).wrapping_neg());
            }
            return Ok(Ahead::Nothing);
        }
        let is_empty = at < header.cut && !leave_out(packet, (header.cut - at) as usize)?;
        // What is left of nothing but the client's header has the server acknowledge the director's once more.
        if at != 0 || (header.is_there && !is_empty) {
            return Ok(Ahead::Nothing);
        }
        let is_bare = !flags.fin() && packet.ip.end == tcp::payload_at(packet.frame(), packet.ip);
        if is_bare && header.end == HandshakeEnd::Awaited && flows.splices.get(id).is_none() {
            header.end = HandshakeEnd::Waits;
            let (first, ack) = (header.first, tcp::acknowledged(packet.frame(), packet.ip));
            let window = tcp::window(packet.frame(), packet.ip);
            self.waiting.push_back(Waiting { due: now + PATIENCE, id, first, ack, window });
            return Ok(Ahead::Waits);
        }
        let is_again = std::mem::replace(&mut header.end, HandshakeEnd::Gone) == HandshakeEnd::Gone;
        let longer = packet.ip.total_len() + len as usize + TRANSLATED;
        // What was lost may have been too long for its path with the header, and right for it without.
        let is_doubtful = is_again && longer > SMALL;
        if packet.buf.vnet.gso != Gso::None || longer > usize::from(mtu) || is_doubtful {
            return Ok(Ahead::Header);
        }
        put_in_front(packet, &header.bytes(flows.conns.get(id)))?;
        tcp::shift_sequence(packet.buf, packet.ip, (len as i32).wrapping_neg());
        Ok(Ahead::Nothing)
    }

    /// The header as a segment of its own, ahead of that of the client; written into `piece`.
    pub fn alone(&self, id: ConnId, packet: &Packet, piece: &mut PacketBuf, flows: &Flows) -> Result<Ip, DropReason> {
        let header = self.headers.get(id).ok_or(DropReason::NoConn)?;
        let bytes = header.bytes(flows.conns.get(id));
        let mut ip = *packet.ip;
        piece.set(&packet.frame()[..ip.end]);
        let mut segment = Packet::new(piece, &mut ip);
        tcp::clear_fin(segment.buf, segment.ip);
        without_payload(&mut segment)?;
        put_in_front(&mut segment, &bytes)?;
        tcp::shift_sequence(segment.buf, segment.ip, -(bytes.len() as i32));
        Ok(ip)
    }

    /// A packet of the server, not rewritten yet.
    pub fn reply(&mut self, id: ConnId, packet: &mut Packet, flows: &mut Flows) -> Result<(), DropReason> {
        let Some(header) = self.headers.get_mut(id) else { return Ok(()) };
        let L4::Tcp { flags, .. } = packet.ip.l4 else {
            if flows.settings.proxy_datagrams == Datagrams::UntilAnswered {
                self.end(id, flows);
            }
            return Ok(());
        };
        if !flags.ack() {
            return Ok(());
        }
        if !tcp::checksum_is_right(packet.buf, packet.ip) {
            return Err(DropReason::L4Checksum);
        }
        let first = header.first.wrapping_add(header.cut).wrapping_add(flows.conns.shift(id));
        if (first.wrapping_sub(tcp::acknowledged(packet.frame(), packet.ip)) as i32) > 0 {
            // Nothing of the client's: not even of what is cut.
            let least = first.wrapping_sub(header.cut);
            tcp::shift_acknowledged(packet.buf, packet.ip, |number| {
                let missing = first.wrapping_sub(number) as i32;
                if missing > 0 { least.wrapping_sub(number) as i32 } else { 0 }
            });
            return Ok(());
        }
        header.is_there = true;
        if !header.is_open {
            self.end(id, flows);
        }
        Ok(())
    }

    /// The server knows its client.
    pub(super) fn end(&mut self, id: ConnId, flows: &mut Flows) {
        self.headers.forget(id);
        flows.ends_help(id);
    }
}
