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
    /// The first time, and the next one.
    since: Instant,
    due: Instant,
}

impl Asked {
    /// Why it has failed, if it has.
    fn fault(&self, router: &Router, now: Instant) -> Option<&'static str> {
        let Ok(route) = router.route(self.addr) else { return Some("has no route that leads to it") };
        let patience = self.interval * UNANSWERED;
        let answered = router.neighbours.confirmed(route.link, route.next_hop, now).unwrap_or(self.since);
        let is_well = router.medium(route.link) == Medium::Ip || now.since(answered.max(self.since)) < patience;
        (!is_well).then_some("does not answer")
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
                self.asked.push(known.unwrap_or(Asked { addr, interval, since: now, due: now }));
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
            asked.due = turn.now + asked.interval;
            let (what, fault) =
                (Tracked::Neighbour { addr: asked.addr, interval: asked.interval }, asked.fault(router, turn.now));
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
