//! Conns whose handshake the director has made in place of the server: what the client was told, and what the server says.
//!
//! ```text
//!           client                      director                        server
//!           SYN            ->           cookie, window 0 <-
//!           ACK            ->  first, cookie
//!                                       SYN of the client               ->
//!                                       SYN+ACK                         <-      back = cookie - its number
//!           ACK, its window <-          ACK of the client               ->
//! request   acknowledged - back, echoed clock - server_clock, clock + client_clock, window shifted
//! reply     number + back, clock + server_clock, echoed clock - client_clock, window shifted
//! ```
//! It is the outermost of what changes a conn's numbers: the first to see a request, the last to see a reply, so that headers, FTP
//! and FULL-NAT know nothing of it. What a client sends before its server has answered is lost, and sent again: its window
//! is 0. Never makes a packet's way.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{ConnId, Instant};
use crate::conn::{Beside, LifeEvent};
use crate::wire::{L4, Offer, Packet, tcp};

/// A server that does not answer is asked again after this time, and given up after so many times.
const AGAIN: Duration = Duration::from_secs(1);
const TRIES: u8 = 5;

/// A handshake with a server, in place of its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Handshake {
    /// Sequence number of the client's first byte.
    pub first: u32,
    /// The number that the client takes for the server's.
    pub cookie: u32,
    /// What the client has offered.
    pub offer: Offer,
    /// By how many bits the client takes windows of its server to be shifted.
    pub scale: u8,
    /// The client's window, as it was written last.
    pub window: u16,
    /// Added to the client's clock.
    pub client_clock: u32,
    /// SYNs that the server was sent.
    tries: u8,
    /// When it is sent the next one.
    due: Instant,
}

impl Handshake {
    /// A handshake that begins.
    pub fn new(first: u32, cookie: u32, offer: Offer, scale: u8, window: u16) -> Handshake {
        Handshake { first, cookie, offer, scale, window, client_clock: 0, tries: 0, due: Instant::START }
    }

    /// The server has answered; `clock` is the director's.
    fn joined(&self, answer: &Offer, number: u32, clock: u32) -> Join {
        let scales = self.offer.scale.zip(answer.scale);
        let (mine, theirs) = scales.unwrap_or((0, 0));
        Join {
            back: self.cookie.wrapping_sub(number),
            client_clock: self.client_clock,
            server_clock: answer.timestamps.map_or(0, |(value, _)| clock.wrapping_sub(value)),
            client_window: self.offer.scale.unwrap_or(0) as i8 - mine as i8,
            server_window: theirs as i8 - self.scale as i8,
        }
    }
}

/// What is between the ends of such a conn for the rest of its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Join {
    /// Added to the server's numbers.
    pub back: u32,
    /// Added to the client's clock.
    pub client_clock: u32,
    /// Added to the server's clock.
    pub server_clock: u32,
    /// By how many bits the client's windows are shifted up for the server, which may know no shift.
    pub client_window: i8,
    /// The same of the server's windows for the client.
    pub server_window: i8,
}

impl Join {
    /// A segment of the client.
    fn request(&self, packet: &mut Packet) {
        let L4::Tcp { flags, .. } = packet.ip.l4 else { return };
        if flags.ack() {
            let back = self.back as i32;
            tcp::shift_acknowledged(packet.buf, packet.ip, |_| back.wrapping_neg());
        }
        tcp::shift_timestamps(packet.buf, packet.ip, self.client_clock, self.server_clock.wrapping_neg());
        rescale(packet, if flags.syn() { 0 } else { self.client_window });
    }

    /// A segment of the server.
    fn reply(&self, packet: &mut Packet) {
        let L4::Tcp { flags, .. } = packet.ip.l4 else { return };
        tcp::shift_sequence(packet.buf, packet.ip, self.back as i32);
        tcp::shift_timestamps(packet.buf, packet.ip, self.server_clock, self.client_clock.wrapping_neg());
        rescale(packet, if flags.syn() { 0 } else { self.server_window });
    }

    /// The window of the server's SYN+ACK, which no shift holds for, as that of any other segment to the client.
    pub fn first_window(&self, written: u16, theirs: u8) -> u16 {
        shifted(written, self.server_window - theirs as i8)
    }
}

fn rescale(packet: &mut Packet, by: i8) {
    if by != 0 {
        let window = shifted(tcp::window(packet.frame(), packet.ip), by);
        tcp::set_window(packet.buf, packet.ip, window);
    }
}

/// A window of other units: one that cannot be written is the largest that can.
fn shifted(window: u16, by: i8) -> u16 {
    let window = u32::from(window);
    let there = if by < 0 { window >> by.unsigned_abs() } else { window << by };
    there.min(u32::from(u16::MAX)) as u16
}

/// A conn that the director has begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Splice {
    /// Its server has not answered.
    Waits(Handshake),
    /// Both ends speak.
    Joined(Join),
}

/// What a segment of a server means for such a conn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It goes on to the client.
    Passes,
    /// The server has accepted; what the handshake was, how both ends are joined, and what the server has said.
    Accepted(Handshake, Join, Offer),
    /// The server has refused.
    Refused(Handshake),
}

/// What is due of a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// The server is sent the SYN again.
    Again,
    /// The server does not answer: the client is told.
    Over,
}

/// All of them.
#[derive(Default)]
pub struct Splices {
    conns: Beside<Splice>,
    /// Handshakes in the order in which they are due; what is not true any more is passed over.
    due: VecDeque<(Instant, ConnId)>,
}

impl Splices {
    /// A conn has ended: what was known of it is forgotten.
    #[inline]
    pub fn on(&mut self, event: LifeEvent) {
        self.conns.on(event);
    }

    /// Those that have changed since they were asked for, each with what is known of it now.
    pub fn take_changed(&mut self) -> Vec<(ConnId, Option<Splice>)> {
        self.conns.take_changed()
    }

    /// Goes on with what an earlier process knew of a conn.
    pub fn recall(&mut self, id: ConnId, splice: Splice) {
        if let Splice::Waits(handshake) = splice {
            self.due.push_front((handshake.due, id));
        }
        self.conns.recall(id, splice);
    }

    /// What is known of a conn.
    pub fn get(&self, id: ConnId) -> Option<&Splice> {
        self.conns.get(id)
    }

    /// The handshake of a conn whose server has not answered.
    pub fn waiting(&self, id: ConnId) -> Option<&Handshake> {
        match self.conns.get(id) {
            Some(Splice::Waits(handshake)) => Some(handshake),
            Some(Splice::Joined(_)) | None => None,
        }
    }

    /// What is between the ends of a conn, if the director has begun it.
    pub fn join(&self, id: ConnId) -> Option<Join> {
        match self.conns.get(id) {
            Some(Splice::Joined(join)) => Some(*join),
            Some(Splice::Waits(_)) | None => None,
        }
    }

    /// Another director has begun a conn.
    pub(super) fn join_as(&mut self, id: ConnId, join: Join) {
        self.conns.set(id, Splice::Joined(join));
    }

    /// By how much the server's numbers of a conn are moved.
    pub fn back(&self, id: ConnId) -> u32 {
        self.join(id).map_or(0, |join| join.back)
    }

    /// A SYN is sent to the server of a conn.
    pub fn begin(&mut self, id: ConnId, mut handshake: Handshake, now: Instant) {
        handshake.tries += 1;
        handshake.due = now + AGAIN;
        self.due.push_back((handshake.due, id));
        self.conns.set(id, Splice::Waits(handshake));
    }

    /// The director does nothing more for a conn.
    pub fn forget(&mut self, id: ConnId) {
        self.conns.forget(id);
    }

    /// A client whose server has not answered says more: its window counts, and its clock.
    pub fn heard(&mut self, id: ConnId, packet: &mut Packet) {
        let said = Offer::read(packet.buf, packet.ip);
        let window = tcp::window(packet.frame(), packet.ip);
        if let Some(Splice::Waits(handshake)) = self.conns.get_mut(id) {
            handshake.window = window;
            if let (Some(known), Some((value, _))) = (&mut handshake.offer.timestamps, said.timestamps) {
                known.0 = value;
            }
        }
    }

    /// A segment of the client, before anybody else has changed it.
    pub fn request(&self, id: ConnId, packet: &mut Packet) {
        if let Some(Splice::Joined(join)) = self.conns.get(id) {
            join.request(packet);
        }
    }

    /// A segment of the server, after all others have changed it; `clock` is the director's.
    pub fn reply(&mut self, id: ConnId, packet: &mut Packet, clock: u32) -> Answer {
        let L4::Tcp { flags, .. } = packet.ip.l4 else { return Answer::Passes };
        match self.conns.get(id).copied() {
            Some(Splice::Joined(join)) => {
                join.reply(packet);
                Answer::Passes
            }
            Some(Splice::Waits(handshake)) if flags.rst() => {
                self.forget(id);
                Answer::Refused(handshake)
            }
            Some(Splice::Waits(handshake)) => {
                let offer = Offer::read(packet.buf, packet.ip);
                let join = handshake.joined(&offer, tcp::sequence(packet.frame(), packet.ip), clock);
                self.conns.set(id, Splice::Joined(join));
                Answer::Accepted(handshake, join, offer)
            }
            None => Answer::Passes,
        }
    }

    /// When `next_due` has something.
    pub fn deadline(&self) -> Option<Instant> {
        self.due.front().map(|(due, _)| *due)
    }

    /// The next handshake that waits for too long.
    pub fn next_due(&mut self, now: Instant) -> Option<(ConnId, Handshake, Due)> {
        while let Some((due, id)) = self.due.front().copied().filter(|(due, _)| *due <= now) {
            self.due.pop_front();
            let Some(handshake) = self.waiting(id).filter(|handshake| handshake.due == due) else { continue };
            let what = if handshake.tries < TRIES { Due::Again } else { Due::Over };
            return Some((id, *handshake, what));
        }
        None
    }
}
