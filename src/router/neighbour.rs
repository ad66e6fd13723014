//! What is known of one neighbour, and for how long; the states are those of `neighbours`.
//!
//! Decides alone whether it may be forgotten.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use super::routes::Need;
use crate::base::{Instant, LinkId, Mac, Packed};

/// An entry that conns used within this time is not evicted.
pub(super) const IN_USE: Duration = Duration::from_secs(60);

/// Whose MAC it is, in numbers: every packet asks for one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Station {
    pub link: LinkId,
    addr: Packed,
}

impl Station {
    #[inline]
    pub(super) fn new(link: LinkId, addr: IpAddr) -> Station {
        Station { link, addr: addr.into() }
    }

    pub(super) fn addr(&self) -> IpAddr {
        self.addr.into()
    }
}

impl Hash for Station {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [upper, lower] = self.addr.halves();
        state.write_u64(upper ^ u64::from(self.link.0) << 56);
        state.write_u64(lower);
    }
}

/// How far it is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Incomplete {
        left: u8,
        next: Instant,
    },
    Reachable {
        until: Instant,
    },
    Probe {
        left: u8,
        next: Instant,
    },
    Failed {
        until: Instant,
    },
    #[cfg_attr(not(any(test, feature = "testing")), allow(dead_code))]
    Permanent,
}

/// What is known of one neighbour.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub mac: Mac,
    pub state: State,
    pub used: Instant,
    pub need: Need,
}

impl Entry {
    /// True while packets are sent to its MAC.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.state, State::Reachable { .. } | State::Probe { .. } | State::Permanent)
    }

    /// When a timer of this entry ends; another one is void.
    pub(super) fn timer(&self) -> Option<Instant> {
        match self.state {
            State::Incomplete { next, .. } | State::Probe { next, .. } => Some(next),
            State::Failed { until } => Some(until),
            State::Reachable { .. } | State::Permanent => None,
        }
    }

    /// True unless it may be evicted: not used by conns of late, nor by anybody within `unused_for`.
    pub(super) fn stays(&self, unused_for: Duration, now: Instant) -> bool {
        let unused_for = if self.need == Need::Transit { unused_for } else { IN_USE };
        match self.state {
            State::Permanent | State::Incomplete { .. } | State::Probe { .. } => true,
            State::Failed { .. } => self.need == Need::Configured,
            State::Reachable { .. } => now.since(self.used) < unused_for,
        }
    }
}
