//! Packets that wait until their next hop has shown its MAC: bounded by bytes for each neighbour, as Linux's
//! `unres_qlen_bytes`, and in all. The oldest make room.
//!
//! Copies are made here and nowhere else on the packet's path. Never decides when to give up.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::{Need, Route};
use crate::base::{FastHash, LinkId};
use crate::wire::{PacketBuf, Vnet};

/// Bytes that may wait for one neighbour.
const PER_NEIGHBOUR: usize = 212_992;
/// Bytes that may wait in all: sixteen neighbours may have all theirs.
const ALL: usize = 16 * PER_NEIGHBOUR;
/// What a packet costs besides its bytes; Linux counts as much for its own bookkeeping.
const OVERHEAD: usize = 512;

/// A packet that waits.
pub(super) struct Kept {
    frame: Vec<u8>,
    vnet: Vnet,
}

impl Kept {
    fn cost(&self) -> usize {
        self.frame.len() + OVERHEAD
    }

    /// Puts the packet back into a buffer.
    pub(super) fn restore(&self, buf: &mut PacketBuf) {
        buf.set(&self.frame);
        buf.vnet = self.vnet;
    }

    /// The packet as it was to leave.
    pub(super) fn into_frame(self) -> Vec<u8> {
        self.frame
    }
}

struct Queue {
    packets: VecDeque<Kept>,
    bytes: usize,
    need: Need,
}

impl Queue {
    fn pop(&mut self) -> Option<Kept> {
        let kept = self.packets.pop_front()?;
        self.bytes -= kept.cost();
        Some(kept)
    }
}

/// All packets that wait.
#[derive(Default)]
pub(super) struct Pending {
    queues: HashMap<(LinkId, IpAddr), Queue, FastHash>,
    bytes: usize,
}

impl Pending {
    /// Keeps a packet. How many that waited for longer were dropped for it.
    pub(super) fn keep(&mut self, route: &Route, buf: &PacketBuf) -> u64 {
        let kept = Kept { frame: buf.frame().to_vec(), vnet: buf.vnet };
        let new = || Queue { packets: VecDeque::new(), bytes: 0, need: route.need };
        let queue = self.queues.entry((route.link, route.next_hop)).or_insert_with(new);
        queue.need = queue.need.max(route.need);
        (queue.bytes, self.bytes) = (queue.bytes + kept.cost(), self.bytes + kept.cost());
        queue.packets.push_back(kept);
        let mut dropped = 0;
        while queue.bytes > PER_NEIGHBOUR && queue.packets.len() > 1 {
            self.bytes -= queue.pop().map_or(0, |oldest| oldest.cost());
            dropped += 1;
        }
        while self.bytes > ALL && self.drop_of_largest() {
            dropped += 1;
        }
        dropped
    }

    /// The neighbour that most bytes wait for loses its oldest packet; first of those that no conn needs.
    fn drop_of_largest(&mut self) -> bool {
        let waiting = self.queues.values_mut().filter(|queue| queue.bytes > 0);
        let largest = waiting.max_by_key(|queue| (queue.need == Need::Transit, queue.bytes));
        let Some(oldest) = largest.and_then(Queue::pop) else { return false };
        self.bytes -= oldest.cost();
        true
    }

    /// All that wait for a neighbour, the oldest first.
    pub(super) fn take(&mut self, link: LinkId, next_hop: IpAddr) -> VecDeque<Kept> {
        let Some(queue) = self.queues.remove(&(link, next_hop)) else { return VecDeque::new() };
        self.bytes -= queue.bytes;
        queue.packets
    }

    /// Forgets all. How many they were.
    pub(super) fn clear(&mut self) -> u64 {
        self.bytes = 0;
        self.queues.drain().map(|(_, queue)| queue.packets.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(last: u8) -> Route {
        Route { link: LinkId(0), next_hop: IpAddr::from([10, 0, 0, last]), mtu: 1500, need: Need::Conn }
    }

    fn packet(number: u8, len: usize) -> PacketBuf {
        let mut buf = PacketBuf::new();
        buf.reset(len).fill(number);
        buf
    }

    #[test]
    fn bytes_are_the_bound_and_the_oldest_make_room() {
        let mut pending = Pending::default();
        let dropped: u64 = (0..=255).map(|number| pending.keep(&route(1), &packet(number, 1500))).sum();
        let fits = PER_NEIGHBOUR / (1500 + OVERHEAD);
        assert_eq!(dropped, 256 - fits as u64);
        let kept = pending.take(LinkId(0), route(1).next_hop);
        assert_eq!((kept.len(), kept[0].frame[0]), (fits, 256u16.wrapping_sub(fits as u16) as u8));
        assert_eq!(pending.bytes, 0);
    }

    #[test]
    fn who_keeps_most_pays_when_all_is_full() {
        let mut pending = Pending::default();
        let many = (0..20u8).flat_map(|last| (0..100).map(move |_| last));
        let dropped: u64 = many.map(|last| pending.keep(&route(last), &packet(last, 1500))).sum();
        assert!(dropped > 0);
        assert_eq!(pending.keep(&route(99), &packet(99, 1500)), 1);
        assert_eq!(pending.take(LinkId(0), route(99).next_hop).len(), 1);
        assert!(pending.bytes <= ALL);
        let left: usize = (0..20).map(|last| pending.take(LinkId(0), route(last).next_hop).len()).sum();
        assert_eq!((left as u64 + dropped + 1, pending.bytes), (2000, 0));
    }
}
