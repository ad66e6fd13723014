//! Next hops of entries, each in its place, so that one write moves all conns behind it.
//!
//! Never asks for a neighbour.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::abi::Neighbour;
use super::kernel::Kernel;
use crate::base::{FastHash, LinkId};

/// Places that the map of neighbours has; the first stands for none.
pub const PLACES: u32 = 16_384;

struct Hop {
    link: LinkId,
    addr: IpAddr,
    /// Entries that name it.
    users: u32,
    /// Packets have passed by it since it was looked at.
    used: bool,
    /// What the kernel has.
    known: Neighbour,
}

/// All of them.
#[derive(Default)]
pub struct Hops {
    /// Of place 1 and those behind it.
    list: Vec<Hop>,
    places: HashMap<(LinkId, IpAddr), u32, FastHash>,
    /// Used again as late as possible: a packet on its way may still read them.
    free: VecDeque<u32>,
}

impl Hops {
    /// The place of a next hop, which is `neighbour` now; an entry names it from now on. `None` if there are too many.
    pub fn hold(
        &mut self,
        (link, addr): (LinkId, IpAddr),
        neighbour: Neighbour,
        kernel: &mut dyn Kernel,
    ) -> Option<u32> {
        if let Some(place) = self.places.get(&(link, addr)) {
            let place = *place;
            self.at(place).users += 1;
            self.write(place, neighbour, kernel);
            return Some(place);
        }
        let hop = Hop { link, addr, users: 1, used: false, known: neighbour };
        let place = match self.free.pop_front() {
            Some(place) => {
                *self.at(place) = hop;
                place
            }
            None if self.list.len() + 1 < PLACES as usize => {
                self.list.push(hop);
                self.list.len() as u32
            }
            None => return None,
        };
        self.places.insert((link, addr), place);
        kernel.set_neighbour(place, &neighbour);
        Some(place)
    }

    /// An entry that named a place is gone; 0 was none.
    pub fn release(&mut self, place: u32) {
        if place == 0 {
            return;
        }
        let hop = self.at(place);
        hop.users -= 1;
        if hop.users == 0 {
            let key = (hop.link, hop.addr);
            self.places.remove(&key);
            self.free.push_back(place);
        }
    }

    /// Packets have passed by it.
    pub fn note_used(&mut self, place: u32) {
        if place != 0 {
            self.at(place).used = true;
        }
    }

    /// The kernel is told where a next hop is now, if that is news.
    pub fn refresh(&mut self, now: impl Fn(LinkId, IpAddr) -> Neighbour, kernel: &mut dyn Kernel) {
        for place in 1..=self.list.len() as u32 {
            let Hop { link, addr, users, .. } = *self.at(place);
            if users > 0 {
                self.write(place, now(link, addr), kernel);
            }
        }
    }

    fn write(&mut self, place: u32, neighbour: Neighbour, kernel: &mut dyn Kernel) {
        if self.at(place).known != neighbour {
            self.at(place).known = neighbour;
            kernel.set_neighbour(place, &neighbour);
        }
    }

    /// The next hops by which packets have passed since this was last asked.
    pub fn take_used(&mut self) -> Vec<(LinkId, IpAddr)> {
        let take = |hop: &mut Hop| (std::mem::take(&mut hop.used) && hop.users > 0).then_some((hop.link, hop.addr));
        self.list.iter_mut().filter_map(take).collect()
    }

    fn at(&mut self, place: u32) -> &mut Hop {
        &mut self.list[place as usize - 1]
    }
}
