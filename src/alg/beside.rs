//! What a helper keeps beside its conns, with a list of what a later process has not been told yet.
//!
//! Never looks at a packet.

use std::collections::HashMap;

use crate::base::ConnId;
use crate::conn::LifeEvent;

/// One value a conn.
pub(super) struct Beside<T> {
    values: HashMap<ConnId, T>,
    /// Conns of which something new is known, or nothing any more.
    changed: Vec<ConnId>,
}

impl<T> Default for Beside<T> {
    fn default() -> Beside<T> {
        Beside { values: HashMap::new(), changed: Vec::new() }
    }
}

impl<T: Copy> Beside<T> {
    /// A conn has ended: what was known of it is forgotten.
    pub(super) fn on(&mut self, event: LifeEvent) {
        if let LifeEvent::Ended(id) = event
            && !self.values.is_empty()
        {
            self.forget(id);
        }
    }

    /// Those that have changed since they were asked for, each with what is known of it now.
    pub(super) fn take_changed(&mut self) -> Vec<(ConnId, Option<T>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|id| (id, self.get(id).copied())).collect()
    }

    /// Goes on with what an earlier process knew of a conn.
    pub(super) fn recall(&mut self, id: ConnId, value: T) {
        self.values.insert(id, value);
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&T> {
        self.values.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        self.values.get_mut(&id)
    }

    pub(super) fn set(&mut self, id: ConnId, value: T) {
        self.values.insert(id, value);
        self.changed.push(id);
    }

    pub(super) fn forget(&mut self, id: ConnId) {
        self.changed.extend(self.values.remove(&id).map(|_| id));
    }
}
