//! Gratuitous ARP and unsolicited neighbour advertisements: which addresses, and when.
//!
//! Never decides which addresses are the director's own.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::Instant;
use crate::router::{Egress, Router, Turn};

/// An announcement is repeated once, for the first may meet a bridge port that does not forward yet.
const REPEAT_AFTER: Duration = Duration::from_secs(1);
/// Addresses announced between two packets: each is a frame or two for each link.
const ANNOUNCED_A_TURN: usize = 32;

/// Announcements that are due, and addresses that have moved.
#[derive(Default)]
pub struct Announcements {
    /// What is announced now, and what is repeated, each in the order of time.
    first: VecDeque<(Instant, IpAddr)>,
    again: VecDeque<(Instant, IpAddr)>,
    /// Addresses that have come or gone since the hosts of TUNs were told.
    moved: VecDeque<IpAddr>,
}

impl Announcements {
    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        [&self.first, &self.again].into_iter().filter_map(|queue| Some(queue.front()?.0)).min()
    }

    /// Has an address announced, now and once more.
    pub fn add(&mut self, addr: IpAddr, now: Instant) {
        self.first.push_back((now, addr));
        self.again.push_back((now + REPEAT_AFTER, addr));
    }

    /// Nothing is announced any more.
    pub fn clear(&mut self) {
        self.first.clear();
        self.again.clear();
    }

    /// Addresses have come or gone: the hosts of TUNs are to be told.
    pub fn note_moved(&mut self, addresses: impl Iterator<Item = IpAddr>) {
        self.moved.extend(addresses);
    }

    /// The next address that has come or gone.
    pub fn take_moved(&mut self) -> Option<IpAddr> {
        self.moved.pop_front()
    }

    /// True while `take_moved` has something to tell.
    pub fn has_moved(&self) -> bool {
        !self.moved.is_empty()
    }

    /// Sends what is due, a part of it between two packets.
    pub fn send_due(&mut self, router: &mut Router, turn: &mut Turn<impl Egress>) {
        for _ in 0..ANNOUNCED_A_TURN {
            let Some(addr) = self.take_due(turn.now) else { return };
            router.links_toward(addr).into_iter().for_each(|link| router.announce(link, addr, turn));
        }
    }

    fn take_due(&mut self, now: Instant) -> Option<IpAddr> {
        let is_due = |queue: &VecDeque<(Instant, IpAddr)>| queue.front().is_some_and(|(due, _)| *due <= now);
        let queue = if is_due(&self.first) { &mut self.first } else { &mut self.again };
        if is_due(queue) { queue.pop_front().map(|(_, addr)| addr) } else { None }
    }
}
