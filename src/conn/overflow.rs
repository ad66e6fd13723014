//! Conns whose bucket was full, by all that a packet carries: a client with many conns from one port pays for a second lookup.
//!
//! Room is reserved at the start and touched as it is used.

use hashbrown::HashTable;

use super::key::{Key, Secret, Side};
use super::records::Records;
use crate::base::ConnId;

/// Conns that there is room for from the start.
const ROOM: usize = 1 << 16;

/// The overflow index.
pub(super) struct Overflow {
    entries: HashTable<Entry>,
    secret: Secret,
}

/// A conn by the key of one of its sides: its slot, and the side in the lowest bit.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry(u32);

impl Entry {
    fn new(id: ConnId, side: Side) -> Entry {
        Entry(id.0 << 1 | side as u32)
    }

    fn id(self) -> ConnId {
        ConnId(self.0 >> 1)
    }

    fn side(self) -> Side {
        if self.0 & 1 == 0 { Side::Request } else { Side::Reply }
    }

    fn key(self, records: &Records) -> Key {
        match self.side() {
            Side::Request => records[self.id()].request_key(),
            Side::Reply => records.reply_key(self.id()),
        }
    }

    fn is_of(self, records: &Records, key: &Key) -> bool {
        match self.side() {
            Side::Request => records[self.id()].is_request(key),
            Side::Reply => records.is_reply(self.id(), key),
        }
    }
}

impl Overflow {
    pub(super) fn new(max: usize, secret: Secret) -> Overflow {
        // In the worst case every conn overflows, with two entries each. Beyond so many, which is as good as all conns of one
        // client endpoint, it grows.
        Overflow { entries: HashTable::with_capacity(2 * max.min(ROOM)), secret }
    }

    /// The conn one of whose sides has that key.
    pub(super) fn find(&self, records: &Records, key: &Key, side: Side) -> Option<ConnId> {
        let is_it = |entry: &Entry| entry.side() == side && entry.is_of(records, key);
        self.entries.find(key.hash(self.secret), is_it).map(|entry| entry.id())
    }

    /// The conns whose replies may have a key of that hash.
    pub(super) fn with_replies(&self, hash: u64) -> impl Iterator<Item = ConnId> {
        self.entries.iter_hash(hash).filter(|entry| entry.side() == Side::Reply).map(|entry| entry.id())
    }

    // Mostly this only rehashes in place when tombstones pile up; that is what needs `hash`.
    pub(super) fn insert(&mut self, records: &Records, id: ConnId, side: Side) {
        let (entry, secret) = (Entry::new(id, side), self.secret);
        let hash = |entry: &Entry| entry.key(records).hash(secret);
        self.entries.insert_unique(hash(&entry), entry, hash);
    }

    pub(super) fn remove(&mut self, records: &Records, id: ConnId, side: Side) {
        let entry = Entry::new(id, side);
        let hash = entry.key(records).hash(self.secret);
        if let Ok(found) = self.entries.find_entry(hash, |other| *other == entry) {
            found.remove();
        }
    }
}
