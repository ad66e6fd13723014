//! Neighbours that virtual routers track: each is solicited once an interval, whatever else is sent to it.
//!
//! Only asks the router's cache; answers come there as all others do.

use std::net::IpAddr;
use std::time::Duration;

use super::Vrrp;
use super::track::{Track, Tracked};
use crate::base::{Instant, Medium};
use crate::router::{Egress, Router, Turn};

/// Solicitations without an answer after which a neighbour has failed, as in the cache.
const UNANSWERED: u32 = 3;

/// One that is asked.
pub(super) struct Asked {
    addr: IpAddr,
    interval: Duration,
    /// When it is asked next, and when it was asked last.
    due: Instant,
    asked: Option<Instant>,
    /// How often since it has answered: by this, not by the time, so that a late loop is nobody's failure.
    unanswered: u32,
}

impl Asked {
    /// Why it has failed, if it has.
    fn judge(&mut self, router: &Router, now: Instant) -> Option<&'static str> {
        let Ok(route) = router.route(self.addr) else { return Some("has no route that leads to it") };
        let confirmed = router.neighbours.confirmed(route.link, route.next_hop, now);
        let is_well = router.medium(route.link) == Medium::Ip || confirmed >= self.asked || self.asked.is_none();
        self.unanswered = if is_well { 0 } else { self.unanswered + 1 };
        (self.unanswered >= UNANSWERED).then_some("does not answer")
    }
}

impl Vrrp {
    /// Asks the neighbours among these from now on.
    pub(super) fn ask_for<'a>(&mut self, tracks: impl Iterator<Item = &'a Track>, now: Instant) {
        let mut before = std::mem::take(&mut self.asked);
        for track in tracks {
            let Tracked::Neighbour { addr, interval } = track.what else { continue };
            let is_same = |asked: &Asked| asked.addr == addr && asked.interval == interval;
            if !self.asked.iter().any(is_same) {
                let known = before.iter().position(is_same).map(|place| before.swap_remove(place));
                self.asked.push(known.unwrap_or(Asked { addr, interval, due: now, asked: None, unanswered: 0 }));
            }
        }
    }

    /// Asks those whose time has come, and judges what they have answered so far.
    pub(super) fn ask_neighbours(&mut self, router: &mut Router, turn: &mut Turn<impl Egress>) {
        for place in 0..self.asked.len() {
            let asked = &mut self.asked[place];
            if asked.due > turn.now {
                continue;
            }
            let fault = asked.judge(router, turn.now);
            (asked.due, asked.asked) = (turn.now + asked.interval, Some(turn.now));
            let what = Tracked::Neighbour { addr: asked.addr, interval: asked.interval };
            if let Ok(route) = router.route(asked.addr) {
                router.solicit(route.next_hop, turn);
            }
            self.judge(&what, fault);
        }
    }

    /// When `ask_neighbours` has something to do.
    pub(super) fn asking_due(&self) -> Option<Instant> {
        self.asked.iter().map(|asked| asked.due).min()
    }
}
