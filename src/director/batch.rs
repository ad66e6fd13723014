//! Frames that were read together are parsed and handled together, before anything of them is written.
//!
//! Handling a whole batch between two system calls keeps code and data in the nearest caches, and lets the cache misses of
//! all its lookups overlap: with many conns first all buckets are prefetched, then all records. Never changes the order of
//! frames, never waits for more of them.

use std::mem::replace;

use super::Director;
use crate::base::{ConnId, DropReason, LinkId};
use crate::router::{Egress, Turn};
use crate::wire::{self, PacketBuf, Parsed};

/// Frames of a batch at most: more gained nothing (docs/performance.md).
const FRAMES: usize = 16;
/// Bytes after which a batch takes no other frame: the copies of larger ones would push each other out of the caches.
const BYTES: usize = 32 * 1024;
/// Conns that are remembered as met recently.
const RECENT: usize = 1024;
/// After this many packets of conns it is judged whether most of them had been met recently ...
const JUDGED: u32 = 256;
/// ... and if so, nothing is prefetched for so many frames.
const PAUSE: usize = 8192;

/// Frames of one link, to be handled together.
pub struct Batch {
    frames: Box<[PacketBuf]>,
    parsed: Box<[Result<Parsed, DropReason>]>,
    count: usize,
    bytes: usize,
    recent: RecentConns,
    /// Frames for which nothing is prefetched yet.
    pause: usize,
}

/// The conns of the last packets.
struct RecentConns {
    met: Box<[ConnId]>,
    packets: u32,
    /// How many of the packets belonged to a conn that had been met.
    again: u32,
}

impl RecentConns {
    /// A packet of this conn. True, once in a while, if few conns had most packets.
    fn meet(&mut self, id: ConnId) -> bool {
        let place = &mut self.met[id.index() % RECENT];
        self.again += u32::from(replace(place, id) == id);
        self.packets += 1;
        if self.packets < JUDGED {
            return false;
        }
        self.packets = 0;
        replace(&mut self.again, 0) > JUDGED / 4 * 3
    }
}

impl Default for Batch {
    /// No frames.
    fn default() -> Batch {
        let frames = (0..FRAMES).map(|_| PacketBuf::new()).collect();
        let parsed = vec![Err(DropReason::Malformed); FRAMES].into();
        let recent = RecentConns { met: vec![ConnId(u32::MAX); RECENT].into(), packets: 0, again: 0 };
        Batch { frames, parsed, count: 0, bytes: 0, recent, pause: 0 }
    }
}

impl Batch {
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
    pub fn handle(&mut self, director: &mut Director, link: LinkId, turn: &mut Turn<impl Egress>) -> usize {
        for (frame, parsed) in self.frames[..self.count].iter().zip(&mut self.parsed) {
            wire::parse_into(frame, parsed);
        }
        if self.count > 1 && director.flows.conns.exceeds_cache() {
            self.prefetch(director);
        }
        for (frame, parsed) in self.frames[..self.count].iter_mut().zip(&mut self.parsed) {
            director.frame(link, frame, parsed, turn);
        }
        self.bytes = 0;
        replace(&mut self.count, 0)
    }

    /// Prefetches what the lookups will read, unless the few conns that have most packets are in the caches anyway.
    fn prefetch(&mut self, director: &Director) {
        if self.pause > 0 {
            self.pause = self.pause.saturating_sub(self.count);
            return;
        }
        let conns = &director.flows.conns;
        let mut places = [const { None }; FRAMES];
        for (place, parsed) in places.iter_mut().zip(&self.parsed[..self.count]) {
            if let Ok(Parsed::Ip(ip)) = parsed {
                *place = ip.tuple().map(|tuple| conns.prefetch_buckets(&tuple));
            }
        }
        // The buckets, which name the records, have arrived: the records are next.
        for prefetched in places.into_iter().flatten() {
            if let Some(conn) = conns.prefetch_records(&prefetched)
                && self.recent.meet(conn)
            {
                self.pause = PAUSE;
            }
        }
    }
}
