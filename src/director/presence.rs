//! Which addresses are at this director: whether it works, what virtual routers say, and what neighbours are told of it.
//!
//! Never decides which virtual router is active (`vrrp`), and never says when an announcement leaves (`stack`).

use std::net::IpAddr;

use super::Director;
use super::standby::Standby;
use crate::base::{DropReason, Instant, LinkId};
use crate::flows::Flows;
use crate::router::{Egress, Router, Turn, Virtual};
use crate::stack::Announcements;
use crate::sync::{Parting, Sync};
use crate::vrrp::{Options, Place, Tracked, Vrrp};
use crate::wire::Packet;

/// Those parts of a director that say where its addresses are, and those that are told.
pub struct Presence<'a> {
    pub(super) standby: &'a mut Standby,
    pub(super) vrrp: &'a mut Vrrp,
    pub(super) announcements: &'a mut Announcements,
    pub(super) router: &'a mut Router,
    pub(super) sync: &'a mut Sync,
    pub(super) flows: &'a Flows,
}

impl Director {
    /// Where the director's addresses are.
    pub fn presence(&mut self) -> Presence<'_> {
        let Director { standby, vrrp, stack, router, sync, flows, .. } = self;
        Presence { standby, vrrp, announcements: &mut stack.announcements, router, sync, flows }
    }
}

impl Presence<'_> {
    /// An operator has this director stand by, or work.
    pub fn stand_by(&mut self, on: bool, now: Instant) {
        self.standby.tell(on);
        self.judge_standby(now);
    }

    /// Takes the part that is due now. Whoever takes over announces all addresses.
    pub(super) fn judge_standby(&mut self, now: Instant) {
        if !self.standby.judge(self.sync, &self.flows.settings) {
            return;
        }
        self.sync.stands_by = !self.standby.is_active();
        self.vrrp.stand_by(self.standby.is_mute());
        self.announcements.clear();
        let how = self.standby.in_words();
        log::info!("{}", how.map_or("works: announces its addresses".to_owned(), |how| format!("stands by: {how}")));
        if self.standby.has_begun() {
            self.announce_own(now);
        }
        self.announce_services(now);
    }

    /// Probes and announces the addresses of the links; virtual addresses are announced as they come.
    pub fn announce_links(&mut self, now: Instant) {
        self.announcements.note_moved(self.router.own_addresses().chain(self.flows.services.addresses()));
        self.judge_standby(now);
        if !self.standby.is_mute() {
            self.router.own_addresses().for_each(|addr| self.announcements.probe(addr, now));
        }
        self.standby.begin();
    }

    /// Announces all addresses again: a link was without its bridge, whose successor has learned nothing yet.
    pub fn announce_again(&mut self, now: Instant) {
        self.announce_own(now);
        self.announce_services(now);
    }

    fn announce_own(&mut self, now: Instant) {
        if !self.standby.is_mute() {
            self.router.own_addresses().for_each(|addr| self.announcements.add(addr, now));
        }
    }

    fn announce_services(&mut self, now: Instant) {
        for addr in self.flows.services.addresses() {
            if self.speaks_for(addr) {
                self.announcements.add(addr, now);
            }
        }
    }

    /// Has new addresses of services probed and announced, unless another director has them.
    pub(super) fn announce_new(&mut self, addresses: impl IntoIterator<Item = IpAddr>, now: Instant) {
        for addr in addresses {
            self.leave_to_followers(addr, now);
            if self.speaks_for(addr) && !self.router.virtuals.has(addr) {
                self.announcements.probe(addr, now);
            }
        }
    }

    /// A new address of a service is another director's until the virtual router that has those of all services says where
    /// it is.
    fn leave_to_followers(&mut self, addr: IpAddr, now: Instant) {
        let is_fixed = self.router.virtuals.has(addr) || self.router.own_addresses().any(|own| own == addr);
        if let Some(options) = self.vrrp.follower(addr).filter(|_| !is_fixed) {
            self.router.virtuals.put(addr, Virtual { link: options.link, mac: None, accept: true, here: false });
            self.vrrp.note_services(now);
        }
    }

    /// True for an address of a service that no other director has.
    fn speaks_for(&self, addr: IpAddr) -> bool {
        self.standby.speaks_for(addr, &self.router.virtuals)
    }

    /// Other virtual routers, from the next tick on. Addresses of new ones are another director's at once: a frame that
    /// comes before must not be answered.
    pub fn set_vrrp(&mut self, wanted: Vec<Options>) {
        let known = self.vrrp.wanted();
        let new = wanted.iter().filter(|options| !known.iter().any(|other| options.is_of(other)));
        for options in new {
            let away = Virtual { link: options.link, mac: None, accept: true, here: false };
            options.addresses.iter().for_each(|addr| self.router.virtuals.put(*addr, away));
        }
        self.vrrp.want(wanted);
        let services: Vec<IpAddr> = self.flows.services.addresses().collect();
        services.into_iter().for_each(|addr| self.leave_to_followers(addr, Instant::START));
    }

    /// An advertisement of another virtual router, from this link if it was sent to a group.
    pub(super) fn hear_vrrp(
        &mut self,
        link: Option<LinkId>,
        packet: &Packet,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), DropReason> {
        self.vrrp.hold_back(self.sync.is_asking());
        let done = self.vrrp.hear(link, packet, self.router, turn);
        if self.vrrp.has_yielded() {
            // It may not have heard of conns that were made here while neither heard the other.
            self.sync.part(Parting::Own, self.flows, self.router, turn);
        }
        self.move_virtuals(turn.now);
        // Neighbours hear of it in this turn: until then they send to the other one. After a tick they hear anyway.
        self.announcements.send_due(self.router, turn);
        done
    }

    /// Lets the time of virtual routers pass.
    pub(super) fn tick_vrrp(&mut self, turn: &mut Turn<impl Egress>) {
        let tracked: Vec<Tracked> = self.vrrp.tracked().cloned().collect();
        for what in tracked {
            if let Tracked::Service(key) = &what {
                let fault = (!self.flows.services.has_quorum(key)).then_some("has lost its quorum");
                self.vrrp.judge(&what, fault);
            }
        }
        if self.vrrp.due().is_some_and(|due| due <= turn.now) {
            if self.vrrp.is_leaving() {
                // Whoever takes over knows the conns before it has the addresses.
                self.sync.part(Parting::News, self.flows, self.router, turn);
            }
            // Whoever returns has the conns before it takes the addresses.
            self.vrrp.hold_back(self.sync.is_asking());
            self.vrrp.tick(&self.flows.services, self.router, turn);
            self.move_virtuals(turn.now);
        }
    }

    /// Addresses have come, gone, or do not move any more.
    fn move_virtuals(&mut self, now: Instant) {
        while let Some(change) = self.vrrp.take_change() {
            if change.now == Place::Away {
                // From now on conns are made and changed at the other one.
                self.sync.ask();
            }
            for addr in change.addresses {
                let (link, mac, accept, here) = (change.link, change.mac, change.accept, change.now == Place::Here);
                match change.now {
                    Place::Here | Place::Away => self.router.virtuals.put(addr, Virtual { link, mac, accept, here }),
                    Place::Fixed => self.router.virtuals.forget(addr),
                }
                let is_here = self.flows.services.owns(addr) || self.router.owns(addr);
                if change.now == Place::Away {
                    self.announcements.remove(addr);
                } else if is_here && self.speaks_for(addr) {
                    self.announcements.add(addr, now);
                }
            }
            if !self.router.virtuals.any_away() {
                self.sync.stop_asking();
            }
        }
    }
}
