//! The records in their slots, and the addresses that they name by index.
//!
//! Slots are reserved at the start, and used one beside the other, so that conns that are made together lie together.
//! Never knows how a slot is found.

use std::ops::{Index, IndexMut};

use super::addresses::Addresses;
use super::flags as flag;
use super::key::Key;
use super::record::{Conn, NIL};
use crate::base::ConnId;

/// All slots.
pub(super) struct Records {
    conns: Vec<Conn>,
    /// How many others each controls: asked for seldom, and by no packet of an established conn.
    controlled: Vec<u32>,
    free: u32,
    max: usize,
    pub(super) addresses: Addresses,
}

impl Records {
    pub(super) fn new(max: usize) -> Records {
        Records {
            conns: Vec::with_capacity(max),
            controlled: vec![0; max],
            free: NIL,
            max,
            addresses: Addresses::default(),
        }
    }

    /// The slots that were ever used, for lists that run through them.
    pub(super) fn all(&self) -> &[Conn] {
        &self.conns
    }

    /// Puts a record into a slot; `None` if all are taken.
    pub(super) fn add(&mut self, conn: Conn) -> Option<ConnId> {
        let id = self.place(conn)?;
        self.addresses.hold(conn.real());
        if let Some((local, _)) = conn.local() {
            self.addresses.hold(local);
        }
        Some(id)
    }

    fn place(&mut self, conn: Conn) -> Option<ConnId> {
        if self.free != NIL {
            let id = ConnId(self.free);
            self.free = self[id].next_vacant();
            self[id] = conn;
            return Some(id);
        }
        if self.conns.len() >= self.max {
            return None;
        }
        self.conns.push(conn);
        Some(ConnId(self.conns.len() as u32 - 1))
    }

    /// Gives a slot back.
    pub(super) fn remove(&mut self, id: ConnId) {
        let conn = self[id];
        self.addresses.release(conn.real());
        if let Some((local, _)) = conn.local() {
            self.addresses.release(local);
        }
        self[id] = Conn::vacant(self.free);
        self.free = id.0;
    }

    /// Counts one more or less that this one controls.
    pub(super) fn count_controlled(&mut self, id: ConnId, step: i32) {
        let count = &mut self.controlled[id.index()];
        *count = count.saturating_add_signed(step);
        let any = *count > 0;
        self[id].set(flag::CONTROLS, any);
    }

    /// Key of packets from the real server.
    pub(super) fn reply_key(&self, id: ConnId) -> Key {
        self[id].reply_key(&self.addresses)
    }

    /// True if packets with that key are replies of this conn, and no newer one takes them.
    #[inline]
    pub(super) fn is_reply(&self, id: ConnId, key: &Key) -> bool {
        self[id].is_reply(key, &self.addresses)
    }
}

impl Index<ConnId> for Records {
    type Output = Conn;

    #[inline]
    fn index(&self, id: ConnId) -> &Conn {
        &self.conns[id.index()]
    }
}

impl IndexMut<ConnId> for Records {
    #[inline]
    fn index_mut(&mut self, id: ConnId) -> &mut Conn {
        &mut self.conns[id.index()]
    }
}
