//! Gratuitous ARP and unsolicited neighbour advertisements: which addresses, and when; probes for duplicates before them.
//!
//! Never decides which addresses are the director's own. Who answers a probe is found by `claims`.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::Instant;
use crate::router::{Egress, Router, Turn};

/// An announcement is repeated once, for the first may meet a bridge port that does not forward yet.
const REPEAT_AFTER: Duration = Duration::from_secs(1);
/// A host that has an address answers a probe within this time (RFC 5227 section 2.1.1 and RFC 4862 section 5.1 leave a
/// second; more than a part of it no service can wait).
const PROBED_FOR: Duration = Duration::from_millis(250);
/// Addresses probed or announced between two packets: each is a frame or two for each link.
const ANNOUNCED_A_TURN: usize = 32;

/// Announcements that are due, and addresses that have moved.
#[derive(Default)]
pub struct Announcements {
    /// What is probed, what is announced for the first time, and what is repeated, each in the order of time.
    probes: VecDeque<(Instant, IpAddr)>,
    first: VecDeque<(Instant, IpAddr)>,
    again: VecDeque<(Instant, IpAddr)>,
    /// Addresses that have come or gone since the hosts of TUNs were told.
    moved: VecDeque<IpAddr>,
}

impl Announcements {
    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        [&self.probes, &self.first, &self.again].into_iter().filter_map(|queue| Some(queue.front()?.0)).min()
    }

    /// Has a new address probed for another host that has it, then announced.
    pub fn probe(&mut self, addr: IpAddr, now: Instant) {
        self.probes.push_back((now, addr));
        self.add(addr, now + PROBED_FOR);
    }

    /// Has an address announced, now and once more.
    pub fn add(&mut self, addr: IpAddr, now: Instant) {
        insert(&mut self.first, now, addr);
        insert(&mut self.again, now + REPEAT_AFTER, addr);
    }

    /// An address is not announced any more.
    pub fn remove(&mut self, addr: IpAddr) {
        self.probes.retain(|(_, other)| *other != addr);
        self.first.retain(|(_, other)| *other != addr);
        self.again.retain(|(_, other)| *other != addr);
    }

    /// Nothing is announced any more.
    pub fn clear(&mut self) {
        self.probes.clear();
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
            let due = [&mut self.probes, &mut self.first, &mut self.again].map(|queue| {
                let is_due = queue.front().is_some_and(|(due, _)| *due <= turn.now);
                is_due.then(|| queue.pop_front()).flatten().map(|(_, addr)| addr)
            });
            if due == [None; 3] {
                return;
            }
            let [probed, first, again] = due;
            if let Some(addr) = probed {
                router.links_toward(addr).into_iter().for_each(|link| router.probe(link, addr, turn));
            }
            for addr in [first, again].into_iter().flatten() {
                router.links_toward(addr).into_iter().for_each(|link| router.announce(link, addr, turn));
            }
        }
    }
}
/// Puts an address in its place in the order of time: most are due after all that wait.
fn insert(queue: &mut VecDeque<(Instant, IpAddr)>, due: Instant, addr: IpAddr) {
    let place = queue.partition_point(|(other, _)| *other <= due);
    queue.insert(place, (due, addr));
}
