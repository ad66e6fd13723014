//! What conns and packets change of services and dests: references, the counters, and the load that schedulers look at.
//!
//! A few additions each; nothing is looked up.

use crate::base::{Counted, DestId, ServiceId};
use crate::conn::Bound;

use super::{Services, Stats};

impl Services {
    /// No local port is left towards a dest: it is not chosen until one of its conns ends.
    pub fn exhausted(&mut self, dest: DestId) {
        self.servers[dest.index()].exhausted();
    }

    /// A conn refers to a dest; it counts as inactive until its state says otherwise.
    pub fn bind(&mut self, dest: DestId) {
        self.dests[dest.index()].refs += 1;
        self.servers[dest.index()].bind(Counted::Inactive);
    }

    /// Conns that an earlier process has left refer to a dest.
    pub fn bind_all(&mut self, dest: DestId, bound: &Bound) {
        let Bound { active, inactive, templates } = *bound;
        if *bound != Bound::default() {
            let kept = &mut self.dests[dest.index()];
            kept.refs += active + inactive + templates;
            kept.persistent += templates;
            self.servers[dest.index()].bind_all(active, inactive);
        }
    }

    /// A conn was scheduled: it counts at its dest, its service and in total.
    pub fn count_conn(&mut self, service: ServiceId, dest: DestId) {
        let (id, service_id) = (dest, service);
        let dest = &mut self.dests[id.index()];
        dest.stats.conns += 1;
        self.total.conns += 1;
        if let Some(Some(service)) = self.services.get_mut(service_id.index()) {
            service.stats.conns += 1;
            self.meters.note((dest, id), (service, service_id));
        }
    }

    /// A conn has ended.
    pub fn unbind(&mut self, dest: DestId, counted: Counted) {
        self.dests[dest.index()].refs -= 1;
        self.servers[dest.index()].unbind(counted);
    }

    /// A persistence template was made; it refers to the dest, counts as no conn, and is looked at by the thresholds.
    pub fn bind_template(&mut self, dest: DestId) {
        self.dests[dest.index()].refs += 1;
        self.dests[dest.index()].persistent += 1;
        self.servers[dest.index()].bind_template();
    }

    /// A persistence template has ended.
    pub fn unbind_template(&mut self, dest: DestId) {
        self.dests[dest.index()].refs -= 1;
        self.dests[dest.index()].persistent -= 1;
        self.servers[dest.index()].unbind_template();
    }

    /// A conn has changed what it counts as.
    pub fn recount(&mut self, dest: DestId, from: Counted, to: Counted) {
        self.servers[dest.index()].recount(from, to);
    }

    /// A packet from a client to this dest; not counted where the dest is not in its service.
    #[inline]
    pub fn count_in(&mut self, dest: DestId, bytes: usize) {
        self.count(dest, |stats| stats.count_in(bytes));
    }

    /// A packet from this dest to a client.
    #[inline]
    pub fn count_out(&mut self, dest: DestId, bytes: usize) {
        self.count(dest, |stats| stats.count_out(bytes));
    }

    /// Packets between clients and this dest that the kernel has forwarded, also where the dest has left its service since.
    pub fn count_passed(&mut self, id: DestId, passed: &Stats) {
        let dest = &mut self.dests[id.index()];
        if dest.expected {
            return;
        }
        dest.stats.add(passed);
        self.total.add(passed);
        let slot = dest.slot;
        if let Some(service) = self.services[slot.index()].as_mut().filter(|service| service.key == dest.service) {
            service.stats.add(passed);
            self.meters.note((dest, id), (service, slot));
        }
    }

    #[inline]
    fn count(&mut self, id: DestId, add: impl Fn(&mut Stats)) {
        let dest = &mut self.dests[id.index()];
        if !self.servers[id.index()].available || dest.expected {
            return;
        }
        add(&mut dest.stats);
        add(&mut self.total);
        let slot = dest.slot;
        if let Some(service) = &mut self.services[slot.index()] {
            add(&mut service.stats);
            self.meters.note((dest, id), (service, slot));
        }
    }
}
