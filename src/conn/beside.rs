//! What is kept beside a few conns, with a list of what a later process has not been told yet.
//!
//! Never looks at a packet.

use std::collections::HashMap;

use super::life::LifeEvent;
use crate::base::{ConnId, FastHash};

/// One value a conn.
pub struct Beside<T> {
    /// By slots, which nobody can choose.
    values: HashMap<ConnId, T, FastHash>,
    /// Conns of which something new is known, or nothing any more.
    changed: Vec<ConnId>,
}

impl<T> Default for Beside<T> {
    fn default() -> Beside<T> {
        Beside { values: HashMap::default(), changed: Vec::new() }
    }
}

impl<T: Clone> Beside<T> {
    /// A conn has ended: what was known of it is forgotten.
    #[inline]
    pub fn on(&mut self, event: LifeEvent) {
        if let LifeEvent::Ended(id) = event
            && !self.values.is_empty()
        {
            self.forget(id);
        }
    }

    /// Those that have changed since they were asked for, each with what is known of it now.
    pub fn take_changed(&mut self) -> Vec<(ConnId, Option<T>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|id| (id, self.get(id).cloned())).collect()
    }

    /// Goes on with what an earlier process knew of a conn.
    pub fn recall(&mut self, id: ConnId, value: T) {
        self.values.insert(id, value);
    }

    /// What is known of a conn.
    pub fn get(&self, id: ConnId) -> Option<&T> {
        self.values.get(&id)
    }

    /// The same, to be changed; a later process is not told.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        self.values.get_mut(&id)
    }

    /// Something new is known of a conn.
    pub fn set(&mut self, id: ConnId, value: T) {
        self.values.insert(id, value);
        self.changed.push(id);
    }

    /// Another director knows this of a conn.
    pub fn take(&mut self, id: ConnId, told: Option<T>) {
        match told {
            Some(value) => self.set(id, value),
            None => self.forget(id),
        }
    }

    /// What is known of a conn has changed.
    pub fn note_changed(&mut self, id: ConnId) {
        self.changed.push(id);
    }

    /// Nothing is known of a conn any more.
    pub fn forget(&mut self, id: ConnId) {
        self.changed.extend(self.values.remove(&id).map(|_| id));
    }
}
