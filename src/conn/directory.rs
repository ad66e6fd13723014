//! How packets find their conns.
//!
//! ```text
//! at home   in the set that the client's endpoint names: packets of both directions know it
//! indexed   by all that a packet carries: guests, for whom there was no room at home, and what servers send to the
//!           local endpoints of FULL-NAT, who do not know the client
//! ```
//! Everything is reserved at the start. Never changes a record but for the mark of one whose replies a newer one takes.

use hashbrown::HashTable;

use super::homes::{Homes, Stay};
use super::key::{Key, Secret};
use super::record::{Conn, Forwarding, flag};
use super::records::Records;
use super::table::Side;
use crate::base::ConnId;

/// Tags, and the index of those that tags do not find.
pub(super) struct Directory {
    homes: Homes,
    index: HashTable<Entry>,
    /// Conns with a local endpoint.
    with_local: usize,
    secret: Secret,
}

/// A conn in the index, by the key of one of its sides: its slot, and the side in the lowest bit.
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

impl Directory {
    pub(super) fn new(max: usize, secret: Secret) -> Directory {
        // As if all were guests: then each has two entries.
        Directory { homes: Homes::new(max), index: HashTable::with_capacity(max * 2), with_local: 0, secret }
    }

    /// The conn that a packet or a template's key belongs to.
    #[inline(always)]
    pub(super) fn find(&self, records: &Records, key: &Key) -> Option<(ConnId, Side)> {
        let source = key.home_of_source(self.secret);
        if let Some(id) = self.at_home(source, |id| records[id].is_request(key)) {
            return Some((id, Side::Request));
        }
        self.find_other(records, key, source)
    }

    /// No request of one at home: replies, and what is indexed.
    #[inline]
    fn find_other(&self, records: &Records, key: &Key, source: u64) -> Option<(ConnId, Side)> {
        let destination = key.home_of_destination(self.secret);
        if let Some(id) = self.at_home(destination, |id| records.is_reply(id, key)) {
            return Some((id, Side::Reply));
        }
        if !self.replies_are_indexed(destination) && !self.homes.some_are_away(source) {
            return None;
        }
        self.find_indexed(records, key, |_| true).map(|entry| (entry.id(), entry.side()))
    }

    /// As `find`, of those whose client is the sender.
    pub(super) fn find_request(&self, records: &Records, key: &Key) -> Option<ConnId> {
        let source = key.home_of_source(self.secret);
        let found = self.at_home(source, |id| records[id].is_request(key));
        if found.is_some() || !self.homes.some_are_away(source) {
            return found;
        }
        self.find_indexed(records, key, |side| side == Side::Request).map(Entry::id)
    }

    #[inline(always)]
    fn at_home(&self, hash: u64, is_it: impl Fn(ConnId) -> bool) -> Option<ConnId> {
        self.homes.candidates(hash).find(|id| is_it(*id))
    }

    /// True if the index may hold replies to a client of this home, or to a local endpoint that hashes to it.
    fn replies_are_indexed(&self, home: u64) -> bool {
        self.with_local > 0 || self.homes.some_are_away(home)
    }

    fn find_indexed(&self, records: &Records, key: &Key, wanted: impl Fn(Side) -> bool) -> Option<Entry> {
        let matches = |entry: &Entry| wanted(entry.side()) && entry.is_of(records, key);
        self.index.find(key.hash(self.secret), matches).copied()
    }

    /// Lets a conn be found. Where an older one has the same reply key, replies are the newer one's.
    pub(super) fn file(&mut self, records: &mut Records, id: ConnId) {
        let home = records[id].request_key().home_of_source(self.secret);
        if records[id].has_reply_key()
            && let Some(older) = self.find_reply(records, &records.reply_key(id), home)
        {
            records[older].set(flag::SHADOWED, true);
        }
        self.with_local += usize::from(records[id].local().is_some());
        let stay = self.homes.move_in(id, home);
        for side in indexed_sides(&records[id], stay) {
            self.index_entry(records, Entry::new(id, side));
        }
    }

    /// The conn whose replies have that key; `home` is its client's.
    fn find_reply(&self, records: &Records, key: &Key, home: u64) -> Option<ConnId> {
        let found = self.at_home(home, |id| records.is_reply(id, key));
        if found.is_some() || !self.replies_are_indexed(home) {
            return found;
        }
        self.find_indexed(records, key, |side| side == Side::Reply).map(Entry::id)
    }

    /// The opposite of `file`; an older conn that this one hid answers for the reply key again.
    pub(super) fn unfile(&mut self, records: &mut Records, id: ConnId) {
        let home = records[id].request_key().home_of_source(self.secret);
        self.with_local -= usize::from(records[id].local().is_some());
        let stay = self.homes.move_out(id, home);
        for side in indexed_sides(&records[id], stay) {
            self.unindex(records, Entry::new(id, side));
        }
        if records[id].has_reply_key() {
            self.uncover(records, &records.reply_key(id), home);
        }
    }

    // Never grows while there is room, and there is: the hasher is for a rehash that tombstones may force.
    fn index_entry(&mut self, records: &Records, entry: Entry) {
        let secret = self.secret;
        let hash = |entry: &Entry| entry.key(records).hash(secret);
        self.index.insert_unique(hash(&entry), entry, hash);
    }

    fn unindex(&mut self, records: &Records, entry: Entry) {
        let hash = entry.key(records).hash(self.secret);
        if let Ok(found) = self.index.find_entry(hash, |other| *other == entry) {
            found.remove();
        }
    }

    fn uncover(&self, records: &mut Records, key: &Key, home: u64) {
        let is_hidden = |id: &ConnId| {
            let conn = &records[*id];
            conn.flags & flag::SHADOWED != 0 && conn.has_reply_key() && records.reply_key(*id) == *key
        };
        let indexed =
            self.replies_are_indexed(home).then(|| self.index.iter_hash(key.hash(self.secret))).into_iter().flatten();
        let replies = indexed.filter(|entry| entry.side() == Side::Reply).map(|entry| entry.id());
        let hidden = self.homes.candidates(home).chain(replies).find(is_hidden);
        if let Some(id) = hidden
            && self.find_reply(records, key, home).is_none()
        {
            records[id].set(flag::SHADOWED, false);
        }
    }
}

/// The sides by which a conn stands in the index.
fn indexed_sides(conn: &Conn, stay: Stay) -> impl Iterator<Item = Side> + use<> {
    let request = (stay == Stay::Guest).then_some(Side::Request);
    let reply = conn.has_reply_key() && (stay == Stay::Guest || conn.forwarding() == Forwarding::FullNat);
    request.into_iter().chain(reply.then_some(Side::Reply))
}
