//! When meters are read: every two seconds, and only those that have moved; the others are made up for when asked.
//!
//! A reading of many meters is done in parts, as the kernel's estimator does it (`ip_vs_est.c`), so that no packet waits
//! for it. Never counts anything.

use super::command::ServiceKey;
use super::stats::{Meter, PERIOD, Rates, Stats};
use super::{Dest, Service, Services};
use crate::base::{DestId, Instant, ServiceId};

/// Meters read between two packets.
const READ_A_TURN: usize = 4096;

/// Whose meter it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Metered {
    Service(ServiceId),
    Dest(DestId),
}

/// Which meters have moved, and when they are read.
#[derive(Default)]
pub(super) struct Meters {
    /// Readings that were due so far.
    readings: u64,
    /// When the next one is due.
    due: Instant,
    /// Moved since the last reading.
    moved: Vec<Metered>,
    /// Moved before it, and not read yet.
    unread: Vec<Metered>,
    /// Whether the meter of all services together has moved.
    total_moved: bool,
}

impl Meters {
    /// Makes room for so many meters, so that packets never ask for memory.
    pub(super) fn reserve(&mut self, count: usize) {
        for list in [&mut self.moved, &mut self.unread] {
            list.reserve(count.saturating_sub(list.len()));
        }
    }

    #[inline]
    pub(super) fn note(&mut self, dest: (&mut Dest, DestId), service: (&mut Service, ServiceId)) {
        self.total_moved = true;
        if !(dest.0.moved && service.0.moved) {
            self.note_first(dest, service);
        }
    }

    #[cold]
    fn note_first(&mut self, (dest, dest_id): (&mut Dest, DestId), (service, service_id): (&mut Service, ServiceId)) {
        if !std::mem::replace(&mut dest.moved, true) {
            self.moved.push(Metered::Dest(dest_id));
        }
        if !std::mem::replace(&mut service.moved, true) {
            self.moved.push(Metered::Service(service_id));
        }
    }
}

impl Services {
    /// Reads the meters, where that is due. What was not read while nothing moved is made up for.
    pub fn read_meters(&mut self, now: Instant) {
        self.read_some();
        if now < self.meters.due {
            return;
        }
        let missed = now.since(self.meters.due).as_millis() / PERIOD.as_millis();
        let periods = missed as u32 + 1;
        self.meters.readings += u64::from(periods);
        self.meters.due = self.meters.due + PERIOD * periods;
        // After missed periods nothing had moved in them: what has moved since belongs to the one that runs.
        if missed > 0 || !self.meters.total_moved {
            return;
        }
        self.meters.total_moved = false;
        self.total_meter.read(&self.total, self.meters.readings);
        let Meters { moved, unread, .. } = &mut self.meters;
        if unread.is_empty() {
            std::mem::swap(moved, unread)
        } else {
            unread.append(moved)
        }
        self.read_some();
    }

    fn read_some(&mut self) {
        let readings = self.meters.readings;
        let first = self.meters.unread.len().saturating_sub(READ_A_TURN);
        for which in self.meters.unread.drain(first..) {
            match which {
                Metered::Dest(id) => {
                    let dest = &mut self.dests[id.index()];
                    if std::mem::take(&mut dest.moved) {
                        dest.meter.read(&dest.stats, readings);
                    }
                }
                Metered::Service(id) => {
                    let Some(service) = self.services[id.index()].as_mut() else { continue };
                    if std::mem::take(&mut service.moved) {
                        service.meter.read(&service.stats, readings);
                    }
                }
            }
        }
    }

    /// Counters of an earlier process: of services and dests, and of all together. Nothing has moved yet.
    pub fn restore_counters(
        &mut self,
        services: impl IntoIterator<Item = (ServiceKey, Stats)>,
        dests: impl IntoIterator<Item = (DestId, Stats)>,
        total: Stats,
    ) {
        let readings = self.meters.readings;
        (self.total, self.total_meter) = (total, Meter::starting_at(&total, readings));
        for (key, stats) in services {
            if let Some(service) = self.by_key.get(&key).and_then(|id| self.services[id.index()].as_mut()) {
                (service.stats, service.meter) = (stats, Meter::starting_at(&stats, readings));
            }
        }
        for (id, stats) in dests {
            let dest = &mut self.dests[id.index()];
            (dest.stats, dest.meter) = (stats, Meter::starting_at(&stats, readings));
        }
    }

    /// Per second, of a service's or dest's meter, as of the last reading.
    pub fn rates(&self, meter: &Meter) -> Rates {
        meter.rates(self.meters.readings)
    }

    /// When the meters are due; `None` while nothing moves: rates that sink are worked out when they are listed.
    pub fn meters_due(&self) -> Option<Instant> {
        match self.meters.unread.is_empty() {
            true => self.meters.total_moved.then_some(self.meters.due),
            false => Some(Instant::START),
        }
    }

    /// Counters and rates begin at zero again.
    pub(super) fn forget(stats: &mut Stats, meter: &mut Meter) {
        (*stats, *meter) = (Stats::default(), Meter::default());
    }
}
