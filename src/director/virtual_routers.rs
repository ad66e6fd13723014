//! What virtual routers that come and go mean for the director: which addresses it answers for and announces.

use std::net::IpAddr;

use super::Director;
use crate::base::{DropReason, Instant, LinkId};
use crate::router::{Egress, Turn};
use crate::vrrp::{Options, Place};
use crate::wire::Packet;

impl Director {
    /// Other virtual routers, from the next tick on. Addresses of new ones are another director's at once: a frame that
    /// comes before must not be answered.
    pub fn set_vrrp(&mut self, wanted: Vec<Options>) {
        let known = self.vrrp.wanted();
        let new = wanted.iter().filter(|options| !known.iter().any(|other| options.is_of(other)));
        for options in new {
            let put = |addr: &IpAddr| self.router.virtuals.put(*addr, options.link, None, false);
            options.addresses.iter().for_each(put);
        }
        self.vrrp.want(wanted);
    }

    /// The end of the run: whoever stands by takes over, and what waits is dropped by name.
    pub fn shut_down(&mut self, turn: &mut Turn<impl Egress>) {
        self.sync.master.flush(&mut self.router, turn);
        self.vrrp.shut_down(&mut self.router, turn);
        self.router.shut_down(turn);
    }

    pub(super) fn hear_vrrp(
        &mut self,
        link: Option<LinkId>,
        packet: &Packet,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), DropReason> {
        let done = self.vrrp.hear(link, packet, &mut self.router, turn);
        self.move_virtuals(turn.now);
        // Neighbours hear of it in this turn: until then they send to the other one. After a tick they hear anyway.
        self.stack.announcements.send_due(&mut self.router, turn);
        done
    }

    pub(super) fn tick_vrrp(&mut self, turn: &mut Turn<impl Egress>) {
        if self.vrrp.due().is_some_and(|due| due <= turn.now) {
            if self.vrrp.is_leaving() {
                // Whoever takes over knows the conns before it has the addresses.
                self.sync.master.flush(&mut self.router, turn);
            }
            self.vrrp.tick(&mut self.router, turn);
            self.move_virtuals(turn.now);
        }
    }

    /// Addresses have come, gone, or do not move any more.
    fn move_virtuals(&mut self, now: Instant) {
        while let Some(change) = self.vrrp.take_change() {
            for addr in change.addresses {
                match change.now {
                    Place::Here => self.router.virtuals.put(addr, change.link, change.mac, true),
                    Place::Away => self.router.virtuals.put(addr, change.link, change.mac, false),
                    Place::Fixed => self.router.virtuals.forget(addr),
                }
                match change.now {
                    Place::Here => self.announce([addr], now),
                    Place::Away => self.stack.announcements.remove(addr),
                    Place::Fixed if self.owns(addr) => self.announce([addr], now),
                    Place::Fixed => {}
                }
            }
        }
    }
}
