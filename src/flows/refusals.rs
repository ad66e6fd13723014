//! Passive checks: servers that answer what clients open with resets or ICMP errors, or not at all, where answers pass here
//! (NAT, FULL-NAT).
//!
//! Counts only: what follows is for those who check servers. What a client alone can bring about counts for nothing: a SYN
//! that is not answered does only if it is sent again after three seconds, and a server that is alive answers forged ones.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::{ConnId, DestId, Instant, Proto};
use crate::conn::{Conn, ConnTable, Event, LifeEvent, TcpState};

/// So many signs from so many clients, at least half of what was answered within this time.
const LEAST: u32 = 5;
const CLIENTS: usize = 3;
const WINDOW: Duration = Duration::from_secs(10);
/// Servers that are watched at a time; others have their turn when these serve again.
const WATCHED: usize = 64;
/// A SYN that is sent again so long after the first one, without an answer to either, counts. Clients send at 0, 1 and 3 s.
const PATIENCE: Duration = Duration::from_millis(2500);
/// SYNs whose answers are awaited; later ones take the places of earlier ones, so that a flood hides signs, and makes none.
const AWAITED: usize = 4096;

/// What speaks against a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// It refuses conns, or an ICMP error says that it is not reached.
    Refuses,
    /// It does not answer SYNs.
    Silent,
}

/// What servers have answered of late, those against which something speaks.
#[derive(Default)]
pub struct Refusals {
    on: bool,
    tallies: Vec<Tally>,
    /// Conns whose SYN is not answered yet, and since when; empty while nothing is watched.
    awaited: Vec<(ConnId, Instant)>,
}

struct Tally {
    dest: DestId,
    /// `None` until time is told for the first time.
    since: Option<Instant>,
    /// Of all signs against it, those that are refusals.
    refused: u32,
    signs: u32,
    accepted: u32,
    clients: [Option<IpAddr>; CLIENTS],
}

impl Tally {
    fn new(dest: DestId) -> Tally {
        Tally { dest, since: None, refused: 0, signs: 0, accepted: 0, clients: [None; CLIENTS] }
    }

    fn add(&mut self, sign: Sign, client: IpAddr) {
        self.signs = self.signs.saturating_add(1);
        self.refused = self.refused.saturating_add(u32::from(sign == Sign::Refuses));
        if !self.clients.contains(&Some(client))
            && let Some(place) = self.clients.iter_mut().find(|place| place.is_none())
        {
            *place = Some(client);
        }
    }

    fn is_enough(&self) -> bool {
        self.signs >= LEAST && self.signs >= self.accepted && self.clients.iter().all(Option::is_some)
    }

    fn sign(&self) -> Sign {
        if 2 * self.refused >= self.signs { Sign::Refuses } else { Sign::Silent }
    }
}

impl Refusals {
    /// Counts from now on, or not.
    pub fn watch(&mut self, on: bool) {
        if std::mem::replace(&mut self.on, on) == on {
            return;
        }
        self.tallies.clear();
        self.tallies.reserve(if on { WATCHED } else { 0 });
        self.awaited = if on { vec![(ConnId(u32::MAX), Instant::START); AWAITED] } else { Vec::new() };
    }

    /// True if anything counts.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// True if there is something to take, or to forget in time.
    pub fn any(&self) -> bool {
        !self.tallies.is_empty()
    }

    /// Something has happened to a conn.
    #[inline]
    pub fn on(&mut self, event: LifeEvent, conns: &ConnTable) {
        if let LifeEvent::Moved(id, before, Some(by)) = event
            && self.on
            && before == TcpState::SynRecv as u8
        {
            let conn = conns.get(id);
            let refused = conn.state() == TcpState::Close as u8 && by == Event::Output;
            let accepted = conn.state() == TcpState::Established as u8;
            if conn.proto() == Proto::TCP && (refused || accepted) {
                self.count(conn.dest, refused.then(|| (Sign::Refuses, conn.client().addr)));
            }
        }
    }

    /// A packet has left a conn half open: a SYN, whose answer is awaited from then on, the answer, or the SYN again.
    #[cold]
    pub fn half_open(&mut self, (id, conn): (ConnId, &Conn), before: u8, by: Event, now: Instant) {
        if conn.proto() != Proto::TCP || self.awaited.is_empty() {
            return;
        }
        let place = id.index() % self.awaited.len();
        let (known, since) = self.awaited[place];
        match by {
            Event::Input if before != TcpState::SynRecv as u8 => self.awaited[place] = (id, now),
            Event::Input if known != id || now.since(since) < PATIENCE => {}
            Event::Input => {
                self.awaited[place].0 = ConnId(u32::MAX);
                self.count(conn.dest, Some((Sign::Silent, conn.client().addr)));
            }
            Event::Output if known == id => self.awaited[place].0 = ConnId(u32::MAX),
            Event::Output | Event::InputOnly => {}
        }
    }

    /// An ICMP error says that what a client sent does not arrive at the server: what opens a TCP conn, or a datagram.
    #[cold]
    pub fn unreachable(&mut self, conn: &Conn) {
        let opens = match conn.proto() {
            Proto::TCP => conn.state() == TcpState::SynRecv as u8,
            proto => proto == Proto::UDP,
        };
        if self.on && opens {
            self.count(conn.dest, Some((Sign::Refuses, conn.client().addr)));
        }
    }

    #[cold]
    fn count(&mut self, dest: DestId, against: Option<(Sign, IpAddr)>) {
        let known = self.tallies.iter().position(|tally| tally.dest == dest);
        if known.is_none() && against.is_some() && self.tallies.len() < WATCHED {
            self.tallies.push(Tally::new(dest));
        }
        let place = known.unwrap_or(self.tallies.len().saturating_sub(1));
        let Some(tally) = self.tallies.get_mut(place).filter(|tally| tally.dest == dest) else { return };
        match against {
            Some((sign, client)) => tally.add(sign, client),
            None => tally.accepted = tally.accepted.saturating_add(1),
        }
    }

    /// The servers against which enough speaks; each is counted anew from then on.
    pub fn take(&mut self, now: Instant) -> Vec<(DestId, Sign)> {
        let mut found = Vec::new();
        for tally in &mut self.tallies {
            if tally.is_enough() {
                found.push((tally.dest, tally.sign()));
                *tally = Tally::new(tally.dest);
            }
            tally.since.get_or_insert(now);
        }
        self.tallies.retain(|tally| tally.since.is_none_or(|since| now.since(since) < WINDOW));
        found
    }
}
