//! Frames that were read together are handled together, before anything of them is written.
//!
//! A system call sweeps the director's code and data out of the nearest caches: the first frame of a batch brings them back,
//! and the others find them there. With a million conns most packets wait for memory besides: for the place that names their
//! record, and for the record; those of a whole batch come at once. Never changes the order of frames, never waits for more
//! of them, and never looks at more of one than who sends what to whom.

use std::mem::replace;

use super::Director;
use crate::base::{ConnId, Instant, LinkId};
use crate::conn::{Fetch, Prefetched};
use crate::router::Egress;
use crate::wire::{self, PacketBuf, Parsed};

/// Frames of a batch at most: more gained nothing (docs/performance.md).
const FRAMES: usize = 16;
/// Bytes after which a batch takes no other frame: the copies of larger ones would push each other out of the caches.
const BYTES: usize = 32 * 1024;
/// Conns that are remembered as met lately.
const LATELY: usize = 1024;
/// After this many packets of conns it is judged whether most of them had been met lately ...
const JUDGED: u32 = 256;
/// ... and if so, nothing is fetched for so many frames.
const UNFETCHED: usize = 8192;

/// Frames of one link, to be handled together.
pub struct Batch {
    frames: Box<[PacketBuf]>,
    count: usize,
    bytes: usize,
    fetch: Fetch,
    lately: Lately,
    /// Frames for which nothing is fetched yet.
    unfetched: usize,
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

impl Batch {
    /// No frames; `fetch` asks memory for a line.
    pub fn new(fetch: Fetch) -> Batch {
        let frames = (0..FRAMES).map(|_| PacketBuf::new()).collect();
        let lately = Lately { met: vec![ConnId(u32::MAX); LATELY].into(), packets: 0, again: 0 };
        Batch { frames, count: 0, bytes: 0, fetch, lately, unfetched: 0 }
    }

    /// Where the next frame may be put; `None` if no other is taken.
    #[inline]
    pub fn room(&mut self) -> Option<&mut PacketBuf> {
        self.frames.get_mut(self.count).filter(|_| self.bytes < BYTES)
    }

    /// The frame that was put into the room is one of the batch.
    #[inline]
    pub fn add(&mut self) {
        self.bytes += self.frames[self.count].len();
        self.count += 1;
    }

    /// Handles all frames, which came from `link`, in their order; how many. None are left.
    #[inline]
    pub fn handle(&mut self, director: &mut Director, link: LinkId, now: Instant, out: &mut impl Egress) -> usize {
        if self.count > 1 && director.conns.exceeds_cache() {
            self.fetch_ahead(director);
        }
        for frame in &mut self.frames[..self.count] {
            director.ingress(link, frame, now, out);
        }
        self.bytes = 0;
        replace(&mut self.count, 0)
    }

    /// Has memory bring what the frames will need, unless the few conns that have most packets are near anyway.
    fn fetch_ahead(&mut self, director: &Director) {
        if self.unfetched > 0 {
            self.unfetched = self.unfetched.saturating_sub(self.count);
            return;
        }
        let mut places = [const { None }; FRAMES];
        for (place, frame) in places.iter_mut().zip(&self.frames[..self.count]) {
            *place = foresee(director, frame, self.fetch);
        }
        // The lines that name the records have arrived: the records are next.
        for prefetched in places.into_iter().flatten() {
            if let Some(conn) = director.conns.prefetch_records(&prefetched, self.fetch)
                && self.lately.meet(conn)
            {
                self.unfetched = UNFETCHED;
            }
        }
    }
}

/// Where the conn of this frame may be found, which is fetched. A guess: nothing depends on it.
fn foresee(director: &Director, buf: &PacketBuf, fetch: Fetch) -> Option<Prefetched> {
    match wire::parse(buf) {
        Ok(Parsed::Ip(ip)) => Some(director.conns.prefetch_buckets(&ip.tuple()?, fetch)),
        Ok(Parsed::Arp(_) | Parsed::Ndp(_)) | Err(_) => None,
    }
}
