//! Packets whose next hop has not shown its MAC: they wait, leave when it answers, and are given up when it does not.
//!
//! Never chooses a next hop.

use std::net::IpAddr;
use std::time::Duration;

use super::neighbours::{Due, Resolved};
use super::{Egress, Need, Route, Router, Turn};
use crate::base::{DropReason, Family, Instant, LinkId, Mac};
use crate::wire::{self, PacketBuf};

/// Between two lines about neighbours that are at another MAC.
const BETWEEN_MOVES: Duration = Duration::from_secs(10);

impl Router {
    /// Writes a packet to a next hop whose MAC is not known or may be another one by now, or keeps it.
    #[cold]
    pub(super) fn send_in_doubt(
        &mut self,
        buf: &mut PacketBuf,
        route: &Route,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), DropReason> {
        let source = || wire::ip_packet(buf.frame()).map_or(route.next_hop, |ip| ip.src);
        match self.neighbours.resolve(route, turn.now, source) {
            Resolved::At(mac) => self.write(buf, route.link, mac, turn),
            Resolved::AtPerhaps(mac, ask) => {
                self.ask(ask, turn);
                self.write(buf, route.link, mac, turn)
            }
            Resolved::Unknown(ask) => {
                if let Some(ask) = ask {
                    self.ask(ask, turn);
                }
                turn.hold();
                let dropped = self.pending.keep(route, buf);
                drop_held(dropped, DropReason::HoldQueueFull, turn);
                Ok(())
            }
            Resolved::Failed => Err(DropReason::NeighbourUnreachable),
            Resolved::Refused => Err(DropReason::NeighbourLimit),
        }
    }

    /// A neighbour has shown its MAC: packets that waited for it leave.
    pub fn learned(&mut self, link: LinkId, addr: IpAddr, mac: Mac, turn: &mut Turn<impl Egress>) {
        if let Some(before) = self.neighbours.mac_of(link, addr).filter(|before| *before != mac)
            && turn.now >= self.moves_told
        {
            self.moves_told = turn.now + BETWEEN_MOVES;
            log::warn!(
                "{}: {addr} was at {before} and is at {mac}; if it comes back, two hosts have it",
                self.link(link).name
            );
        }
        if self.neighbours.confirm(link, addr, mac, turn.now) {
            log::info!("{}: {addr} answers again", self.link(link).name);
        }
        for kept in self.pending.take(link, addr) {
            turn.release(1);
            turn.lend(|turn, buf| {
                kept.restore(buf);
                if let Err(reason) = self.write(buf, link, mac, turn) {
                    turn.drop(reason);
                }
            });
        }
    }

    /// Repeats solicitations that were not answered, gives up on neighbours that stay silent.
    pub fn tick(&mut self, turn: &mut Turn<impl Egress>) {
        while let Some(due) = self.neighbours.due(turn.now) {
            match due {
                Due::Ask(ask) => self.ask(ask, turn),
                Due::GaveUp(link, addr, need) => {
                    // Anybody can send packets to an address that nobody has.
                    let level = if need == Need::Configured { log::Level::Warn } else { log::Level::Debug };
                    log::log!(level, "{}: {addr} does not answer {}", self.link(link).name, question_to(addr));
                    self.give_up(link, addr, turn);
                }
                Due::Displaced(link, addr) => {
                    let waited = self.pending.take(link, addr).len() as u64;
                    drop_held(waited, DropReason::NeighbourLimit, turn);
                }
            }
        }
    }

    fn give_up<E>(&mut self, link: LinkId, addr: IpAddr, turn: &mut Turn<E>) {
        for kept in self.pending.take(link, addr) {
            drop_held(1, DropReason::NeighbourUnreachable, turn);
            self.undelivered.push(kept.into_frame());
        }
    }

    /// A packet that was given up since the last tick.
    pub fn take_undelivered(&mut self) -> Option<Vec<u8>> {
        self.undelivered.pop()
    }

    /// The end of the run: what still waits is dropped by name.
    pub fn shut_down<E>(&mut self, turn: &mut Turn<E>) {
        let waited = self.pending.clear();
        drop_held(waited, DropReason::Shutdown, turn);
    }

    /// When `tick` has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.neighbours.next_due()
    }
}

fn drop_held<E>(count: u64, reason: DropReason, turn: &mut Turn<E>) {
    turn.release(count);
    (0..count).for_each(|_| turn.drop(reason));
}

fn question_to(addr: IpAddr) -> &'static str {
    match Family::of(addr) {
        Family::V4 => "ARP",
        Family::V6 => "neighbour solicitations",
    }
}
