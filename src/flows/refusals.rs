//! Passive checks: servers that answer what clients open with resets or ICMP errors, which pass here (NAT, FULL-NAT).
//!
//! Counts only: what follows is for those who check servers. What a client alone can bring about counts for nothing, nor
//! what is not answered: with a forged address anybody can send SYNs.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::{DestId, Instant, Proto};
use crate::conn::{Conn, ConnTable, Event, LifeEvent, TcpState};

/// So many refusals of so many clients, at least half of what was answered within this time.
const LEAST: u32 = 5;
const CLIENTS: usize = 3;
const WINDOW: Duration = Duration::from_secs(10);
/// Servers that are watched at a time; others have their turn when these serve again.
const WATCHED: usize = 64;

/// What servers have answered of late, those that have refused something.
#[derive(Default)]
pub struct Refusals {
    on: bool,
    tallies: Vec<Tally>,
}

struct Tally {
    dest: DestId,
    /// `None` until time is told for the first time.
    since: Option<Instant>,
    refused: u32,
    accepted: u32,
    clients: [Option<IpAddr>; CLIENTS],
}

impl Tally {
    fn new(dest: DestId) -> Tally {
        Tally { dest, since: None, refused: 0, accepted: 0, clients: [None; CLIENTS] }
    }

    fn refuse(&mut self, client: IpAddr) {
        self.refused = self.refused.saturating_add(1);
        if !self.clients.contains(&Some(client))
            && let Some(place) = self.clients.iter_mut().find(|place| place.is_none())
        {
            *place = Some(client);
        }
    }

    fn is_enough(&self) -> bool {
        self.refused >= LEAST && self.refused >= self.accepted && self.clients.iter().all(Option::is_some)
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
                self.count(conn.dest, refused.then(|| conn.client().addr));
            }
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
            self.count(conn.dest, Some(conn.client().addr));
        }
    }

    #[cold]
    fn count(&mut self, dest: DestId, refused: Option<IpAddr>) {
        let known = self.tallies.iter().position(|tally| tally.dest == dest);
        if known.is_none() && refused.is_some() && self.tallies.len() < WATCHED {
            self.tallies.push(Tally::new(dest));
        }
        let place = known.unwrap_or(self.tallies.len().saturating_sub(1));
        let Some(tally) = self.tallies.get_mut(place).filter(|tally| tally.dest == dest) else { return };
        match refused {
            Some(client) => tally.refuse(client),
            None => tally.accepted = tally.accepted.saturating_add(1),
        }
    }

    /// The servers that have refused too much; each is counted anew from then on.
    pub fn take(&mut self, now: Instant) -> Vec<DestId> {
        let mut found = Vec::new();
        for tally in &mut self.tallies {
            if tally.is_enough() {
                found.push(tally.dest);
                *tally = Tally::new(tally.dest);
            }
            tally.since.get_or_insert(now);
        }
        self.tallies.retain(|tally| tally.since.is_none_or(|since| now.since(since) < WINDOW));
        found
    }
}
