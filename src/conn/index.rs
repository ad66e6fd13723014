//! How packets find their conns.
//!
//! ```text
//! bucket    of the client's endpoint, which packets of both directions carry. A FULL-NAT conn, whose servers do not know
//!           the client, is also in the bucket of both ends of its replies
//! overflow  a hash table over all that a packet carries: conns whose bucket was full
//! ```
//! Room is reserved at the start and touched as it is used. Of a record it changes only SHADOWED: a newer conn takes the replies.

use std::ops::Range;

use super::buckets::{Buckets, Placement};
use super::flags as flag;
use super::key::{Key, Secret, Side};
use super::overflow::Overflow;
use super::records::Records;
use crate::base::ConnId;

/// Buckets, and the overflow index of conns that found theirs full.
pub(super) struct FlowIndex {
    buckets: Buckets,
    overflow: Overflow,
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

/// The hashes by which a conn is entered in buckets.
#[derive(Clone, Copy)]
struct Hashes {
    client: u64,
    /// Of FULL-NAT's replies.
    replies: Option<u64>,
}

impl Hashes {
    fn of(records: &Records, id: ConnId, secret: Secret) -> Hashes {
        let conn = &records[id];
        let replies = conn.local().map(|_| records.reply_key(id).hash(secret));
        Hashes { client: conn.request_key().source_hash(secret), replies }
    }

    fn all(self) -> [Option<u64>; 2] {
        [Some(self.client), self.replies]
    }

    /// The sides whose packets look in the client's bucket, if the conn's replies are looked for at all.
    fn sides_at_client(self, has_reply_key: bool) -> &'static [Side] {
        match has_reply_key && self.replies.is_none() {
            true => &[Side::Request, Side::Reply],
            false => &[Side::Request],
        }
    }
}

impl FlowIndex {
    pub(super) fn new(max: usize, secret: Secret) -> FlowIndex {
        FlowIndex {
            buckets: Buckets::new(max),
            overflow: Overflow::new(max, secret),
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
        let hashes = Hashes::of(records, id, self.secret);
        hashes.all().into_iter().flatten().for_each(|hash| self.buckets.prefetch(hash));
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
        let receiver = key.destination_hash(self.secret);
        if let Some(id) = self.find_reply_by(records, key, receiver, None) {
            return Some((id, Side::Reply));
        }
        if !self.buckets.overflowed(source) {
            return None;
        }
        self.overflow.find(records, key, Side::Request).map(|id| (id, Side::Request))
    }

    /// False if no conn has replies to a receiver of this hash.
    #[inline(always)]
    fn may_have_replies(&self, receiver: u64) -> bool {
        self.with_local > 0 || self.buckets.may_have(receiver)
    }

    /// The conn whose replies have that key.
    #[inline]
    fn find_reply(&self, records: &Records, key: &Key) -> Option<ConnId> {
        self.find_reply_by(records, key, key.destination_hash(self.secret), None)
    }

    /// The same, where the hash of the receiver is known, and perhaps that of both ends.
    #[inline(always)]
    fn find_reply_by(&self, records: &Records, key: &Key, of_client: u64, of_both: Option<u64>) -> Option<ConnId> {
        let is_it = |id| records.is_reply(id, key);
        if let Some(id) = self.in_bucket(of_client, is_it) {
            return Some(id);
        }
        let overflowed = self.buckets.overflowed(of_client);
        if self.with_local == 0 && !overflowed {
            return None;
        }
        self.find_reply_elsewhere(records, key, overflowed, of_both)
    }

    #[inline(never)]
    fn find_reply_elsewhere(
        &self,
        records: &Records,
        key: &Key,
        mut overflowed: bool,
        of_both: Option<u64>,
    ) -> Option<ConnId> {
        if self.with_local > 0 {
            let of_both = of_both.unwrap_or_else(|| key.hash(self.secret));
            if let Some(id) = self.in_bucket(of_both, |id| records.is_reply(id, key)) {
                return Some(id);
            }
            overflowed |= self.buckets.overflowed(of_both);
        }
        if overflowed { self.overflow.find(records, key, Side::Reply) } else { None }
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
        self.overflow.find(records, key, Side::Request)
    }

    #[inline(always)]
    fn in_bucket(&self, hash: u64, is_it: impl Fn(ConnId) -> bool) -> Option<ConnId> {
        self.buckets.candidates(hash).find(|id| is_it(*id))
    }

    /// Makes a conn findable. Where an older one has the same reply key, replies are the newer one's: that older one.
    pub(super) fn link(&mut self, records: &mut Records, id: ConnId) -> Option<ConnId> {
        let hashes = Hashes::of(records, id, self.secret);
        let has_key = records[id].has_reply_key();
        let older = if has_key { self.older(records, id, hashes) } else { None };
        if let Some(older) = older {
            records[older].set(flag::SHADOWED, true);
            self.shadowed += 1;
        }
        self.with_local += usize::from(hashes.replies.is_some());
        self.enter(records, id, hashes.client, hashes.sides_at_client(has_key));
        if let Some(replies) = hashes.replies {
            self.enter(records, id, replies, &[Side::Reply]);
        }
        older
    }

    /// The conn that has the replies of a conn that is not entered yet.
    #[inline]
    fn older(&self, records: &Records, id: ConnId, hashes: Hashes) -> Option<ConnId> {
        // Where servers know the client, replies go to where requests come from.
        if hashes.replies.is_none() && !self.may_have_replies(hashes.client) {
            return None;
        }
        let key = records.reply_key(id);
        let receiver = if hashes.replies.is_none() { hashes.client } else { key.destination_hash(self.secret) };
        self.find_reply_by(records, &key, receiver, hashes.replies)
    }

    fn enter(&mut self, records: &Records, id: ConnId, hash: u64, sides: &[Side]) {
        if self.buckets.are_crowded() {
            let secret = self.secret;
            self.buckets.split(|other| Hashes::of(records, other, secret).all());
        }
        if self.buckets.insert(id, hash) == Placement::Overflow {
            sides.iter().for_each(|side| self.overflow.insert(records, id, *side));
        }
    }

    /// The opposite of `link`; an older conn that this one hid answers for the reply key again.
    pub(super) fn unlink(&mut self, records: &mut Records, id: ConnId) {
        let hashes = Hashes::of(records, id, self.secret);
        let has_key = records[id].has_reply_key();
        self.leave(records, id, hashes.client, hashes.sides_at_client(has_key));
        if let Some(replies) = hashes.replies {
            self.leave(records, id, replies, &[Side::Reply]);
        }
        if self.shadowed > 0 && has_key {
            self.shadowed -= usize::from(records[id].flags & flag::SHADOWED != 0);
            records[id].set(flag::SHADOWED, false);
            self.restore_hidden(records, &records.reply_key(id));
        }
        self.with_local -= usize::from(hashes.replies.is_some());
    }

    /// The opposite of `enter`.
    fn leave(&mut self, records: &Records, id: ConnId, hash: u64, sides: &[Side]) {
        if self.buckets.remove(id, hash) == Placement::Overflow {
            sides.iter().for_each(|side| self.overflow.remove(records, id, *side));
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
        if let Some(id) = in_bucket.chain(self.overflow.with_replies(both)).find(is_hidden)
            && self.find_reply(records, key).is_none()
        {
            records[id].set(flag::SHADOWED, false);
            self.shadowed -= 1;
        }
    }
}
