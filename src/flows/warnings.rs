//! Warnings from the data path, each kind at most once in ten seconds.
//!
//! Never decides about a packet.

use std::time::Duration;

use crate::base::{Endpoint, Instant};

/// Between two warnings of one kind.
const QUIET: Duration = Duration::from_secs(10);

/// One throttle a kind.
#[derive(Default)]
pub(super) struct Warnings {
    table_full: LogThrottle,
    no_port: LogThrottle,
    addresses: LogThrottle,
    no_room_for_toa: LogThrottle,
}

#[derive(Default)]
struct LogThrottle {
    until: Instant,
    silenced: u64,
}

impl LogThrottle {
    /// How many were silenced since the last one that was allowed, if this one is.
    fn allows(&mut self, now: Instant) -> Option<u64> {
        if now < self.until {
            self.silenced += 1;
            return None;
        }
        self.until = now + QUIET;
        Some(std::mem::take(&mut self.silenced))
    }
}

impl Warnings {
    pub(super) fn flow_table_full(&mut self, now: Instant, max: usize) {
        if let Some(before) = self.table_full.allows(now) {
            log::warn!(
                "flow table full ({max} conns): new conns are refused ({before} more since the last warning); raise --max-flows"
            );
        }
    }

    pub(super) fn addresses_used_up(&mut self, now: Instant) {
        if let Some(before) = self.addresses.allows(now) {
            log::warn!(
                "conns name 65536 different servers and local addresses, and no table names more: conns of least worth end \
                 ({before} more since the last warning); serve some of them by another director"
            );
        }
    }

    pub(super) fn no_room_for_toa(&mut self, now: Instant, client: Endpoint, real: Endpoint) {
        if let Some(before) = self.no_room_for_toa.allows(now) {
            log::warn!(
                "{real} may not learn of its client {client}: a segment had no room for the TOA option ({before} more conns since the \
                 last warning); raise the MTU towards the servers"
            );
        }
    }

    pub(super) fn no_local_port(&mut self, now: Instant, real: Endpoint) {
        if let Some(before) = self.no_port.allows(now) {
            log::warn!("no local port left towards {real} ({before} more since the last warning); add --local-address");
        }
    }
}
