//! Where a service probably is, by the last bits of its key: every new conn asks.
//!
//! A hint: whoever asks compares the key, and looks it up where another service has the place.

use super::command::ServiceKey;
use crate::base::{Packed, ServiceId};

const PLACES: usize = 64;

/// For each ending of keys, the service that was added last.
pub(super) struct Near([ServiceId; PLACES]);

impl Default for Near {
    fn default() -> Near {
        Near([ServiceId(0); PLACES])
    }
}

impl Near {
    pub(super) fn put(&mut self, key: &ServiceKey, id: ServiceId) {
        self.0[place(key)] = id;
    }

    #[inline]
    pub(super) fn get(&self, key: &ServiceKey) -> ServiceId {
        self.0[place(key)]
    }
}

#[inline(always)]
fn place(key: &ServiceKey) -> usize {
    let end = match *key {
        ServiceKey::Address(_, vip) => Packed::from(vip.addr).halves()[1] as usize ^ usize::from(vip.port),
        ServiceKey::Mark(_, mark) => mark as usize,
    };
    end % PLACES
}
