//! Packets that wait until their next hop has told its MAC; few, and bounded twice.
//!
//! Copies are made here and nowhere else on the packet's path. Never decides when to give up.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::Route;
use crate::base::{DropReason, LinkId};
use crate::wire::{PacketBuf, Vnet};

/// Packets that may wait for one neighbour.
const PER_NEIGHBOUR: usize = 16;
/// Packets that may wait at all: 128 superframes are 8 MB at the very most.
const ALL: usize = 128;

/// A packet that waits.
pub(super) struct Kept {
    link: LinkId,
    next_hop: IpAddr,
    frame: Vec<u8>,
    vnet: Vnet,
}

impl Kept {
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

/// All packets that wait.
#[derive(Default)]
pub(super) struct Pending {
    queue: VecDeque<Kept>,
}

impl Pending {
    pub(super) fn keep(&mut self, route: &Route, buf: &PacketBuf) -> Result<(), DropReason> {
        let same = self.queue.iter().filter(|kept| kept.link == route.link && kept.next_hop == route.next_hop);
        if self.queue.len() >= ALL || same.count() >= PER_NEIGHBOUR {
            return Err(DropReason::HoldQueueFull);
        }
        let frame = buf.frame().to_vec();
        self.queue.push_back(Kept { link: route.link, next_hop: route.next_hop, frame, vnet: buf.vnet });
        Ok(())
    }

    /// The longest waiting packet for a neighbour.
    pub(super) fn take(&mut self, link: LinkId, next_hop: IpAddr) -> Option<Kept> {
        let place = self.queue.iter().position(|kept| kept.link == link && kept.next_hop == next_hop)?;
        self.queue.remove(place)
    }

    pub(super) fn take_any(&mut self) -> Option<Kept> {
        self.queue.pop_front()
    }
}
