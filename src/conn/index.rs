//! How packets find their conns.
//!
//! ```text
//! bucket    of the client's endpoint, which packets of both directions carry. A FULL-NAT conn, whose servers do not know
//!           the client, is also in the bucket of both ends of its replies
//! overflow  a hash table over all that a packet carries: conns whose bucket was full
//! ```
//! Room is reserved at the start and touched as it is used. Of a record it changes only SHADOWED: a newer conn takes the replies.

use std::ops::Range;

use hashbrown::HashTable;

use super::buckets::{Buckets, Placement};
use super::flags as flag;
use super::key::Secret;
use super::key::{Key, Side};
use super::records::Records;
use crate::base::ConnId;

/// Overflowed conns that there is room for from the start.
const OVERFLOW: usize = 1 << 16;

/// Buckets, and the overflow index of conns that found theirs full.
pub(super) struct FlowIndex {
    buckets: Buckets,
    overflow: HashTable<Entry>,
    /// Conns with a local endpoint.
    with_local: usize,
    /// Conns whose replies a newer one takes.
    shadowed: usize,
    secret: Secret,
}

/// The buckets that a packet's conn may be in.
pub struct Prefetched {
    ends: [u64; 2],
    reply: Option<u64>,
}

impl Prefetched {
    fn hashes(&self) -> impl Iterator<Item = u64> {
        self.ends.into_iter().chain(self.reply)
    }
}

/// A conn in the overflow index, by the key of one of its sides: its slot, and the side in the lowest bit.
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

/// Of a conn's client, and of FULL-NAT's replies: the hashes by which it is entered in buckets.
fn hashes(records: &Records, id: ConnId, secret: Secret) -> [Option<u64>; 2] {
    let conn = &records[id];
    let replies = conn.local().map(|_| records.reply_key(id).hash(secret));
    [Some(conn.request_key().source_hash(secret)), replies]
}

impl FlowIndex {
    pub(super) fn new(max: usize, secret: Secret) -> FlowIndex {
        // In the worst case every conn overflows, with two entries each. Beyond so many, which is as good as all conns of one
        // client endpoint, it grows.
        FlowIndex {
            buckets: Buckets::new(max),
            overflow: HashTable::with_capacity(2 * max.min(OVERFLOW)),
            with_local: 0,
            shadowed: 0,
            secret,
        }
    }

    pub(super) fn memory(&self) -> Range<usize> {
        self.buckets.memory()
    }

    /// True if a newer conn takes the replies of some conn.
    pub(super) fn has_shadowed(&self) -> bool {
        self.shadowed > 0
    }

    /// So many entries are about to be made in an empty index.
    pub(super) fn expect(&mut self, entries: usize) {
        self.buckets.expect(entries);
    }

    /// Prefetches the buckets of a conn that is linked soon.
    pub(super) fn prefetch(&self, records: &Records, id: ConnId) {
        hashes(records, id, self.secret).into_iter().flatten().for_each(|hash| self.buckets.prefetch(hash));
    }

    /// The conn that a packet or a template's key belongs to.
    #[inline(always)]
    pub(super) fn find(&self, records: &Records, key: &Key) -> Option<(ConnId, Side)> {
        let source = key.source_hash(self.secret);
        if let Some(id) = self.in_bucket(source, |id| records[id].is_request(key)) {
            return Some((id, Side::Request));
        }
        self.find_other(records, key, source)
    }

    /// Not a request in its bucket: tries replies, then the overflow index.
    #[inline]
    fn find_other(&self, records: &Records, key: &Key, source: u64) -> Option<(ConnId, Side)> {
        if let Some(id) = self.find_reply(records, key) {
            return Some((id, Side::Reply));
        }
        let request = self.buckets.overflowed(source).then(|| self.find_overflow(records, key, Side::Request));
        request.flatten().map(|id| (id, Side::Request))
    }

    /// The conn whose replies have that key.
    #[inline]
    fn find_reply(&self, records: &Records, key: &Key) -> Option<ConnId> {
        let is_it = |id| records.is_reply(id, key);
        let of_client = key.destination_hash(self.secret);
        if let Some(id) = self.in_bucket(of_client, is_it) {
            return Some(id);
        }
        let of_both = (self.with_local > 0).then(|| key.hash(self.secret));
        if let Some(id) = of_both.and_then(|hash| self.in_bucket(hash, is_it)) {
            return Some(id);
        }
        let hashes = [Some(of_client), of_both];
        let overflowed = hashes.into_iter().flatten().any(|hash| self.buckets.overflowed(hash));
        overflowed.then(|| self.find_overflow(records, key, Side::Reply)).flatten()
    }

    /// Prefetches the buckets in which `find` will look.
    pub(super) fn prefetch_buckets(&self, key: &Key) -> Prefetched {
        let ends = [key.source_hash(self.secret), key.destination_hash(self.secret)];
        let reply = (self.with_local > 0).then(|| key.hash(self.secret));
        let prefetched = Prefetched { ends, reply };
        prefetched.hashes().for_each(|hash| self.buckets.prefetch(hash));
        prefetched
    }

    /// The conns that `find` will look at, if they are in their buckets.
    pub(super) fn candidates(&self, prefetched: &Prefetched) -> impl Iterator<Item = ConnId> {
        prefetched.hashes().flat_map(|hash| self.buckets.candidates(hash))
    }

    /// As `find`, of those whose client is the sender.
    pub(super) fn find_request(&self, records: &Records, key: &Key) -> Option<ConnId> {
        let source = key.source_hash(self.secret);
        let found = self.in_bucket(source, |id| records[id].is_request(key));
        if found.is_some() || !self.buckets.overflowed(source) {
            return found;
        }
        self.find_overflow(records, key, Side::Request)
    }

    #[inline(always)]
    fn in_bucket(&self, hash: u64, is_it: impl Fn(ConnId) -> bool) -> Option<ConnId> {
        self.buckets.candidates(hash).find(|id| is_it(*id))
    }

    fn find_overflow(&self, records: &Records, key: &Key, side: Side) -> Option<ConnId> {
        let is_it = |entry: &Entry| entry.side() == side && entry.is_of(records, key);
        self.overflow.find(key.hash(self.secret), is_it).map(|entry| entry.id())
    }

    /// Makes a conn findable. Where an older one has the same reply key, replies are the newer one's: that older one.
    pub(super) fn link(&mut self, records: &mut Records, id: ConnId) -> Option<ConnId> {
        let has_key = records[id].has_reply_key();
        let older = if has_key { self.find_reply(records, &records.reply_key(id)) } else { None };
        if let Some(older) = older {
            records[older].set(flag::SHADOWED, true);
            self.shadowed += 1;
        }
        self.with_local += usize::from(records[id].local().is_some());
        let secret = self.secret;
        for (sides, hash) in self.buckets_of(records, id) {
            self.buckets.grow(|other| hashes(records, other, secret));
            if self.buckets.insert(id, hash) == Placement::Overflow {
                sides.iter().for_each(|side| self.insert_overflow(records, Entry::new(id, *side)));
            }
        }
        older
    }

    /// The opposite of `link`; an older conn that this one hid answers for the reply key again.
    pub(super) fn unlink(&mut self, records: &mut Records, id: ConnId) {
        for (sides, hash) in self.buckets_of(records, id) {
            if self.buckets.remove(id, hash) == Placement::Overflow {
                sides.iter().for_each(|side| self.remove_overflow(records, Entry::new(id, *side)));
            }
        }
        if self.shadowed > 0 && records[id].has_reply_key() {
            self.shadowed -= usize::from(records[id].flags & flag::SHADOWED != 0);
            records[id].set(flag::SHADOWED, false);
            self.restore_hidden(records, &records.reply_key(id));
        }
        self.with_local -= usize::from(records[id].local().is_some());
    }

    /// The hashes of the buckets that a conn is entered in, and the sides whose packets look there.
    fn buckets_of(&self, records: &Records, id: ConnId) -> impl Iterator<Item = (&'static [Side], u64)> + use<> {
        let [client, replies] = hashes(records, id, self.secret);
        let sides: &[Side] = match records[id].has_reply_key() && replies.is_none() {
            true => &[Side::Request, Side::Reply],
            false => &[Side::Request],
        };
        client.map(|hash| (sides, hash)).into_iter().chain(replies.map(|hash| (&[Side::Reply][..], hash)))
    }

    // Mostly this only rehashes in place when tombstones pile up; that is what needs `hash`.
    fn insert_overflow(&mut self, records: &Records, entry: Entry) {
        let secret = self.secret;
        let hash = |entry: &Entry| entry.key(records).hash(secret);
        self.overflow.insert_unique(hash(&entry), entry, hash);
    }

    fn remove_overflow(&mut self, records: &Records, entry: Entry) {
        let hash = entry.key(records).hash(self.secret);
        if let Ok(found) = self.overflow.find_entry(hash, |other| *other == entry) {
            found.remove();
        }
    }

    /// Gives the replies with that key back to an older conn that the removed one hid.
    fn restore_hidden(&mut self, records: &mut Records, key: &Key) {
        let both = key.hash(self.secret);
        let is_hidden = |id: &ConnId| {
            let conn = &records[*id];
            conn.flags & flag::SHADOWED != 0 && conn.has_reply_key() && records.reply_key(*id) == *key
        };
        let in_bucket =
            [key.destination_hash(self.secret), both].into_iter().flat_map(|hash| self.buckets.candidates(hash));
        let overflowed =
            self.overflow.iter_hash(both).filter(|entry| entry.side() == Side::Reply).map(|entry| entry.id());
        if let Some(id) = in_bucket.chain(overflowed).find(is_hidden)
            && self.find_reply(records, key).is_none()
        {
            records[id].set(flag::SHADOWED, false);
            self.shadowed -= 1;
        }
    }
}
