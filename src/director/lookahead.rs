//! Two frames ahead: while one is handled, memory brings what the next ones will need.
//!
//! With a million conns most packets wait twice for memory: for the place that names their record, and for the record. One
//! system call lies between a frame and the next, time enough for each. Few conns stay near the processor by themselves, and
//! so do the few among many that have most of the packets: their frames are handled at once. Never changes the order of
//! frames, and never looks at more of them than who sends what to whom.

use std::mem::{replace, swap};

use super::Director;
use crate::base::{ConnId, Instant, LinkId};
use crate::conn::{Fetch, Foreseen};
use crate::neigh::Egress;
use crate::wire::{self, PacketBuf, Parsed};

/// How far ahead: one step for each of the two reads of memory that depend on each other.
const STEPS: usize = 2;
/// Conns that are remembered as met lately.
const LATELY: usize = 1024;
/// After this many packets of conns it is judged whether most of them had been met lately ...
const JUDGED: u32 = 256;
/// ... and if so, this many frames are handled at once.
const AT_ONCE: u32 = 8192;

/// Frames that were read and are not handled yet.
pub struct Lookahead {
    waiting: [Waiting; STEPS],
    /// Where the oldest is, if any are there.
    oldest: usize,
    count: usize,
    fetch: Fetch,
    lately: Lately,
    /// Frames that are still to be handled at once.
    at_once: u32,
}

struct Waiting {
    link: LinkId,
    buf: PacketBuf,
    foreseen: Option<Foreseen>,
}

/// The conns of the last packets.
struct Lately {
    met: Box<[ConnId]>,
    packets: u32,
    /// How many of the packets belonged to a conn that had been met.
    again: u32,
}

impl Lately {
    /// A packet of this conn. True, once in a while, if few conns had most packets.
    fn meet(&mut self, id: ConnId) -> bool {
        let place = &mut self.met[id.index() % LATELY];
        self.again += u32::from(replace(place, id) == id);
        self.packets += 1;
        if self.packets < JUDGED {
            return false;
        }
        self.packets = 0;
        replace(&mut self.again, 0) > JUDGED / 4 * 3
    }
}

impl Lookahead {
    /// Nothing waits; `fetch` asks memory for a line.
    pub fn new(fetch: Fetch) -> Lookahead {
        let nothing = |_| Waiting { link: LinkId(0), buf: PacketBuf::new(), foreseen: None };
        let lately = Lately { met: vec![ConnId(u32::MAX); LATELY].into(), packets: 0, again: 0 };
        Lookahead { waiting: std::array::from_fn(nothing), oldest: 0, count: 0, fetch, lately, at_once: 0 }
    }

    /// Takes the frame in `buf`, which came from `link`, and puts the one there that is to be handled now: its link. `None`
    /// if that one has to wait for the next; then what is in `buf` is nobody's.
    #[inline]
    pub fn exchange(&mut self, director: &Director, link: LinkId, buf: &mut PacketBuf) -> Option<LinkId> {
        let looks_ahead = self.at_once == 0 && director.conns.is_far_flung();
        self.at_once = self.at_once.saturating_sub(1);
        if self.count == 0 && !looks_ahead {
            return Some(link);
        }
        let foreseen = looks_ahead.then(|| foresee(director, buf, self.fetch)).flatten();
        self.queue(director, foreseen, link, buf)
    }

    /// Puts a frame behind the others, and the first of them into `buf` if all places are taken.
    fn queue(
        &mut self,
        director: &Director,
        foreseen: Option<Foreseen>,
        mut link: LinkId,
        buf: &mut PacketBuf,
    ) -> Option<LinkId> {
        self.approach_newest(director);
        let is_full = self.count == STEPS;
        let place = &mut self.waiting[(self.oldest + self.count) % STEPS];
        place.foreseen = foreseen;
        swap(&mut place.link, &mut link);
        swap(&mut place.buf, buf);
        if is_full {
            self.oldest = (self.oldest + 1) % STEPS;
            return Some(link);
        }
        self.count += 1;
        None
    }

    /// Puts the oldest of those that wait into `buf`, now that no other has come: its link. `None` if none waits.
    #[inline]
    pub fn take(&mut self, director: &Director, buf: &mut PacketBuf) -> Option<LinkId> {
        self.count.checked_sub(1)?;
        self.approach_newest(director);
        let Waiting { link, buf: first, .. } = &mut self.waiting[self.oldest];
        swap(first, buf);
        self.oldest = (self.oldest + 1) % STEPS;
        self.count -= 1;
        Some(*link)
    }

    /// Handles all that wait.
    pub fn finish(&mut self, director: &mut Director, buf: &mut PacketBuf, now: Instant, out: &mut impl Egress) {
        while let Some(link) = self.take(director, buf) {
            director.ingress(link, buf, now, out);
        }
    }

    /// The line that names the newest one's record has arrived: its record is next.
    fn approach_newest(&mut self, director: &Director) {
        if let Some(before) = self.count.checked_sub(1)
            && let Some(foreseen) = self.waiting[(self.oldest + before) % STEPS].foreseen.take()
            && let Some(conn) = director.conns.approach(&foreseen, self.fetch)
            && self.lately.meet(conn)
        {
            self.at_once = AT_ONCE;
        }
    }
}

/// Where the conn of this frame may be found, which is fetched. A guess: nothing depends on it.
fn foresee(director: &Director, buf: &PacketBuf, fetch: Fetch) -> Option<Foreseen> {
    match wire::parse(buf) {
        Ok(Parsed::Ip(ip)) => Some(director.conns.foresee(&ip.tuple()?, fetch)),
        Ok(Parsed::Arp(_) | Parsed::Ndp(_)) | Err(_) => None,
    }
}
