//! How packets find their conns.
//!
//! ```text
//! at home   in the set that the client's endpoint names: packets of both directions know it. Of FULL-NAT, whose servers do
//!           not know the client, also in the set that both ends of a reply name
//! indexed   by all that a packet carries: guests, for whom there was no room at home
//! ```
//! Everything is reserved at the start. Never changes a record but for the mark of one whose replies a newer one takes.

use hashbrown::HashTable;

use super::homes::{Homes, Stay};
use super::key::{Key, Secret};
use super::record::flag;
use super::records::Records;
use super::table::Side;
use crate::base::ConnId;

/// Tags, and the index of those that tags do not find.
pub(super) struct Directory {
    homes: Homes,
    index: HashTable<Entry>,
    /// Conns with a local endpoint.
    with_local: usize,
    /// Conns whose replies a newer one takes.
    shadowed: usize,
    secret: Secret,
}

/// Asks memory for the line behind an address, which may be any: a wish, and nothing depends on it.
pub type Fetch = fn(*const ());

/// Where a packet's conn may be found.
pub struct Foreseen {
    ends: [u64; 2],
    both: Option<u64>,
}

impl Foreseen {
    fn homes(&self) -> impl Iterator<Item = u64> {
        self.ends.into_iter().chain(self.both)
    }
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
        Directory {
            homes: Homes::new(max),
            index: HashTable::with_capacity(max * 2),
            with_local: 0,
            shadowed: 0,
            secret,
        }
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

    /// No request of one at home: replies, and guests.
    #[inline]
    fn find_other(&self, records: &Records, key: &Key, source: u64) -> Option<(ConnId, Side)> {
        if let Some(id) = self.find_reply(records, key) {
            return Some((id, Side::Reply));
        }
        let guest = self.homes.some_are_away(source).then(|| self.find_guest(records, key, Side::Request));
        guest.flatten().map(|id| (id, Side::Request))
    }

    /// The conn whose replies have that key.
    #[inline]
    fn find_reply(&self, records: &Records, key: &Key) -> Option<ConnId> {
        let is_it = |id| records.is_reply(id, key);
        let of_client = key.home_of_destination(self.secret);
        if let Some(id) = self.at_home(of_client, is_it) {
            return Some(id);
        }
        let of_both = (self.with_local > 0).then(|| key.hash(self.secret));
        if let Some(id) = of_both.and_then(|home| self.at_home(home, is_it)) {
            return Some(id);
        }
        let homes = [Some(of_client), of_both];
        let some_are_away = homes.into_iter().flatten().any(|home| self.homes.some_are_away(home));
        some_are_away.then(|| self.find_guest(records, key, Side::Reply)).flatten()
    }

    /// The homes in which `find` will look, which are fetched.
    pub(super) fn foresee(&self, key: &Key, fetch: Fetch) -> Foreseen {
        let ends = [key.home_of_source(self.secret), key.home_of_destination(self.secret)];
        let both = (self.with_local > 0).then(|| key.hash(self.secret));
        let foreseen = Foreseen { ends, both };
        foreseen.homes().for_each(|home| fetch(self.homes.line(home)));
        foreseen
    }

    /// The conns that `find` will look at, if they are at home.
    pub(super) fn candidates(&self, foreseen: &Foreseen) -> impl Iterator<Item = ConnId> {
        foreseen.homes().flat_map(|home| self.homes.candidates(home))
    }

    /// As `find`, of those whose client is the sender.
    pub(super) fn find_request(&self, records: &Records, key: &Key) -> Option<ConnId> {
        let source = key.home_of_source(self.secret);
        let found = self.at_home(source, |id| records[id].is_request(key));
        if found.is_some() || !self.homes.some_are_away(source) {
            return found;
        }
        self.find_guest(records, key, Side::Request)
    }

    #[inline(always)]
    fn at_home(&self, hash: u64, is_it: impl Fn(ConnId) -> bool) -> Option<ConnId> {
        self.homes.candidates(hash).find(|id| is_it(*id))
    }

    fn find_guest(&self, records: &Records, key: &Key, side: Side) -> Option<ConnId> {
        let is_it = |entry: &Entry| entry.side() == side && entry.is_of(records, key);
        self.index.find(key.hash(self.secret), is_it).map(|entry| entry.id())
    }

    /// Lets a conn be found. Where an older one has the same reply key, replies are the newer one's.
    pub(super) fn file(&mut self, records: &mut Records, id: ConnId) {
        if records[id].has_reply_key()
            && let Some(older) = self.find_reply(records, &records.reply_key(id))
        {
            records[older].set(flag::SHADOWED, true);
            self.shadowed += 1;
        }
        self.with_local += usize::from(records[id].local().is_some());
        for (sides, home) in self.homes_of(records, id) {
            if self.homes.move_in(id, home) == Stay::Guest {
                sides.iter().for_each(|side| self.index_entry(records, Entry::new(id, *side)));
            }
        }
    }

    /// The opposite of `file`; an older conn that this one hid answers for the reply key again.
    pub(super) fn unfile(&mut self, records: &mut Records, id: ConnId) {
        for (sides, home) in self.homes_of(records, id) {
            if self.homes.move_out(id, home) == Stay::Guest {
                sides.iter().for_each(|side| self.unindex(records, Entry::new(id, *side)));
            }
        }
        if self.shadowed > 0 && records[id].has_reply_key() {
            self.shadowed -= usize::from(records[id].flags & flag::SHADOWED != 0);
            records[id].set(flag::SHADOWED, false);
            self.uncover(records, &records.reply_key(id));
        }
        self.with_local -= usize::from(records[id].local().is_some());
    }

    /// Where a conn is looked for, and by packets of which sides.
    fn homes_of(&self, records: &Records, id: ConnId) -> impl Iterator<Item = (&'static [Side], u64)> + use<> {
        let conn = &records[id];
        let client = conn.request_key().home_of_source(self.secret);
        let replies = conn.local().map(|_| (&[Side::Reply][..], records.reply_key(id).hash(self.secret)));
        let sides: &[Side] = match conn.has_reply_key() && replies.is_none() {
            true => &[Side::Request, Side::Reply],
            false => &[Side::Request],
        };
        std::iter::once((sides, client)).chain(replies)
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

    /// Nobody takes the replies with that key, unless a conn that was hidden does.
    fn uncover(&mut self, records: &mut Records, key: &Key) {
        let both = key.hash(self.secret);
        let is_hidden = |id: &ConnId| {
            let conn = &records[*id];
            conn.flags & flag::SHADOWED != 0 && conn.has_reply_key() && records.reply_key(*id) == *key
        };
        let at_home =
            [key.home_of_destination(self.secret), both].into_iter().flat_map(|home| self.homes.candidates(home));
        let guests = self.index.iter_hash(both).filter(|entry| entry.side() == Side::Reply).map(|entry| entry.id());
        if let Some(id) = at_home.chain(guests).find(is_hidden)
            && self.find_reply(records, key).is_none()
        {
            records[id].set(flag::SHADOWED, false);
            self.shadowed -= 1;
        }
    }
}
