//! The records in their slots, and the addresses that they name by index.
//!
//! Memory is taken from the kernel at the start and touched only where a conn lies. Never knows how a slot is found.

use std::ops::{Index, IndexMut};

use zerocopy::FromZeros;

use super::addresses::Addresses;
use super::key::Key;
use super::record::Conn;
use crate::base::ConnId;

/// All slots.
pub(super) struct Records {
    conns: Vec<Conn>,
    pub(super) addresses: Addresses,
}

impl Records {
    /// Panics if the address space has no room for so many: a director cannot do without its table.
    pub(super) fn new(slots: usize) -> Records {
        let conns = Conn::new_vec_zeroed(slots).expect("room for the flow table");
        Records { conns, addresses: Addresses::default() }
    }

    /// The slots themselves, for lists that run through them.
    pub(super) fn all_mut(&mut self) -> &mut [Conn] {
        &mut self.conns
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
