//! When conns leave the kernel.
//!
//! Many leave in parts between packets: as long as any of them has an entry, the kernel forwards nothing at all, so that none
//! goes the old way and the director is not held up. Never gives entries.

use super::Fast;
use super::places::neighbour_at;
use crate::base::{ConnId, DestId, Endpoint};
use crate::conn::LifeEvent;
use crate::service::command::{Command, ServiceKey};

/// So many conns leave at a time.
const AT_ONCE: usize = 1024;

impl Fast<'_> {
    /// Something has happened to a conn.
    pub(in crate::director) fn on(&mut self, event: LifeEvent) {
        match event {
            LifeEvent::Left(id) => {
                if let Some(passed) = self.path.take(id) {
                    self.credit(&passed);
                }
            }
            LifeEvent::LeftAtEnd(id) => {
                if let Some(passed) = self.path.take(id) {
                    self.count(&passed);
                }
            }
            LifeEvent::Opened(_) | LifeEvent::Moved(..) | LifeEvent::Ended(_) => {}
        }
    }

    /// The kernel is to forward no more packets of a conn; all that it has forwarded is counted.
    pub(in crate::director) fn leave(&mut self, id: ConnId) {
        if let Some(passed) = self.path.take(id) {
            self.flows.conns.clear_fast(id);
            self.credit(&passed);
        }
    }

    fn leave_dests(&mut self, is_wanted: impl Fn(DestId) -> bool) {
        self.leave_these(self.path.of_dests(is_wanted));
    }

    fn leave_these(&mut self, mut ids: Vec<ConnId>) {
        if ids.len() <= AT_ONCE {
            return ids.into_iter().for_each(|id| self.leave(id));
        }
        self.watch.leaving.append(&mut ids);
        self.station();
    }

    /// True while the kernel forwards nothing because entries are to go.
    pub(super) fn is_leaving(&self) -> bool {
        !self.watch.leaving.is_empty() || self.path.has_remains()
    }

    /// Some of the conns that are to leave do so; after the last one the kernel forwards again.
    pub(super) fn go_on_leaving(&mut self) {
        if !self.is_leaving() {
            return;
        }
        if self.path.has_remains() {
            self.take_remains(AT_ONCE);
        } else {
            let rest = self.watch.leaving.len().saturating_sub(AT_ONCE);
            self.watch.leaving.split_off(rest).into_iter().for_each(|id| self.leave(id));
        }
        if !self.is_leaving() {
            self.station();
        }
    }

    /// The same of all conns.
    pub fn leave_all(&mut self) {
        self.leave_dests(|_| true);
    }

    /// An operator's command is about to be carried out: conns whose packets it may send elsewhere, or whose deadlines it
    /// moves, leave the kernel; what it sets to zero is counted before.
    pub(in crate::director) fn prepare(&mut self, command: &Command) {
        if self.path.len() == 0 {
            return;
        }
        match command {
            Command::AddService(..) | Command::AddDest(..) | Command::AddLocalAddress(..) => {}
            Command::Zero(_) => self.read_all(),
            Command::EditDest(key, real, options) => {
                let Some(dest) = self.dest(key, *real) else { return };
                if self.flows.services.dest(dest).method != options.method {
                    self.leave_dests(|of| of == dest);
                }
            }
            Command::DeleteDest(key, real) => {
                let Some(dest) = self.dest(key, *real) else { return };
                self.leave_dests(|of| of == dest);
            }
            Command::EditService(key, _) | Command::DeleteService(key) | Command::DeleteLocalAddress(key, _) => {
                self.leave_service(key);
            }
            Command::Clear | Command::SetTimeouts { .. } | Command::StartDaemon(..) | Command::StopDaemon(_) => {
                self.leave_all();
            }
        }
    }

    fn dest(&self, key: &ServiceKey, real: Endpoint) -> Option<DestId> {
        let services = &self.flows.services;
        services.find_dest(services.slot_of(key)?, real)
    }

    fn leave_service(&mut self, key: &ServiceKey) {
        let services = &self.flows.services;
        self.leave_these(self.path.of_dests(|dest| services.dest(dest).service == *key));
    }

    /// Heeds what has changed since it was last asked: servers, links, routes, addresses, neighbours.
    pub fn heed(&mut self) {
        if !self.path.is_there() {
            let services = &mut self.flows.services;
            while services.take_upset().is_some() {}
            services.forget_reproxied();
            return;
        }
        while let Some(dest) = self.flows.services.take_upset() {
            self.leave_dests(|of| of == dest);
        }
        let (routes, neighbours, active) = (self.router.changes(), self.router.neighbours.changes(), self.is_active());
        if routes != self.watch.told.0 || active != self.watch.was_active {
            self.watch.was_active = active;
            self.station();
            self.leave_all();
        }
        if neighbours != self.watch.told.1 {
            let (router, devices) = (&*self.router, self.devices());
            self.path.refresh_hops(|link, addr| neighbour_at(router, devices[link.index()], link, addr));
        }
        self.watch.told = (routes, neighbours);
        self.heed_proxied();
    }
}
