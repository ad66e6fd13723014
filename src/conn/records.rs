//! The records in their slots, and the addresses that they name by index.
//!
//! Slots are reserved at the start, and used one beside the other, so that conns that are made together lie together.
//! Never knows how a slot is found.

use std::ops::{Index, IndexMut, Range};

use super::addresses::Addresses;
use super::blocks;
use super::flags as flag;
use super::key::Key;
use super::key::Secret;
use super::memory::{Memory, addresses, check_of};
use super::record::{Conn, NIL};
use crate::base::{Array, ConnId, prefetch};

/// Slots for which memory is asked at a time.
const COMMITTED_AT_A_TIME: usize = 16_384;
/// Records of the next page: meanwhile the processor sees where reading goes.
const PREFETCHED: usize = 16;

/// All slots.
pub(super) struct Records {
    conns: Array<Conn>,
    /// A check a slot, and how many slots were used, for a later process.
    checks: Array<u32>,
    shifts: Array<u32>,
    used: Array<u32>,
    secret: Secret,
    generation: u64,
    /// Slots whose memory is there.
    committed: usize,
    /// How many others each controls: asked for seldom, and by no packet of an established conn.
    controlled: Vec<u32>,
    free: u32,
    max: usize,
    pub(super) addresses: Addresses,
}

impl Records {
    /// Over memory that is as a process has left it, or zeroed; of a part of `most` slots.
    pub(super) fn over(memory: Memory, most: usize) -> Records {
        let (max, used, secret) = (memory.records.len(), memory.used(), memory.secret);
        let mut records = Records {
            conns: memory.records,
            checks: memory.checks,
            shifts: memory.shifts,
            used: memory.used,
            secret,
            generation: memory.generation,
            committed: used,
            controlled: vec![0; most],
            free: NIL,
            max,
            addresses: Addresses::new(memory.addresses, secret),
        };
        let count = used as u32;
        records.used.commit(1);
        records.used[0] = count;
        records
    }

    /// True if conns of both are in the same buckets.
    pub(super) fn has_secret_of(&self, other: &Records) -> bool {
        self.secret == other.secret
    }

    /// True if this slot holds a record as it was left by a process of this generation that was through with it.
    pub(super) fn is_of(&self, id: ConnId, generation: u64) -> bool {
        let conn = &self[id];
        conn.is_live() && self.checks[id.index()] == check_of(conn, self.secret, generation)
    }

    /// True if it holds one as a process of the table's own generation has left it.
    pub(super) fn is_sealed(&self, id: ConnId) -> bool {
        self.is_of(id, self.generation)
    }

    /// A sum of all that is in a block of slots. The one before is prefetched: the processor does not do so beyond a page.
    pub(super) fn sum_of_block(&self, block: usize) -> u64 {
        let slots = blocks::slots_of(block);
        let before = blocks::slots_of(block.saturating_sub(1));
        self.conns[before.clone()].iter().take(PREFETCHED).for_each(prefetch);
        self.checks[before].first().into_iter().for_each(prefetch);
        blocks::sum_of(&self.conns[slots.clone()], &self.checks[slots], self.secret)
    }

    /// The generation of this process.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The identity of a record has changed, or is new: a later process may trust it.
    pub(super) fn seal(&mut self, id: ConnId) {
        self.checks[id.index()] = check_of(&self[id], self.secret, self.generation);
    }

    pub(super) fn memory(&self) -> Range<usize> {
        addresses(&self.conns)
    }

    /// The slots that were ever used, for lists that run through them.
    pub(super) fn all(&self) -> &[Conn] {
        &self.conns[..self.used[0] as usize]
    }

    /// What a later process finds, for tests.
    #[cfg(test)]
    pub(super) fn parts(&self) -> (&[Conn], &[u32], &[super::addresses::AddressLine]) {
        let used = self.all().len();
        (self.all(), &self.checks[..used], self.addresses.lines())
    }

    /// How many records are under the control of each, how many hold each address, and the vacant slots in their order, for
    /// tests.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
        let next = |slot: &u32| Some(self.conns[*slot as usize].next_vacant()).filter(|next| *next != NIL);
        let vacant = std::iter::successors(Some(self.free).filter(|free| *free != NIL), next).collect();
        (self.controlled.clone(), self.addresses.holders().to_vec(), vacant)
    }

    /// Puts a record into a slot; `None` if all are taken.
    pub(super) fn add(&mut self, conn: Conn) -> Option<ConnId> {
        let id = self.place(conn)?;
        self.addresses.hold(conn.real());
        if let Some((local, _)) = conn.local() {
            self.addresses.hold(local);
            self.set_shift(id, 0);
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
        let id = ConnId(self.used[0]);
        if id.index() >= self.max || (id.index() >= self.committed && !self.commit_more()) {
            return None;
        }
        self[id] = conn;
        self.used[0] += 1;
        Some(id)
    }

    /// Asks for memory for more slots; false if there is none.
    #[cold]
    fn commit_more(&mut self) -> bool {
        let until = (self.committed + COMMITTED_AT_A_TIME).min(self.max);
        if !self.conns.commit(until) || !self.checks.commit(until) || !self.shifts.commit(until) {
            return false;
        }
        self.committed = until;
        true
    }

    /// By how much the sequence numbers of the client are moved.
    #[inline]
    pub(super) fn shift(&self, id: ConnId) -> u32 {
        self.shifts[id.index()]
    }

    /// Sets that.
    pub(super) fn set_shift(&mut self, id: ConnId, by: u32) {
        self.shifts[id.index()] = by;
    }

    /// Gives a slot back.
    pub(super) fn remove(&mut self, id: ConnId) {
        let conn = self[id];
        self.addresses.release(conn.real());
        if let Some((local, _)) = conn.local() {
            self.addresses.release(local);
        }
        self.vacate(id);
    }

    /// A slot without a conn may be used.
    pub(super) fn vacate(&mut self, id: ConnId) {
        self.checks[id.index()] = 0;
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

    /// True if others are under its control.
    pub(super) fn is_controlling(&self, id: ConnId) -> bool {
        self.controlled[id.index()] > 0
    }

    /// Nobody is under control.
    pub(super) fn forget_controlled(&mut self) {
        for slot in 0..self.all().len() {
            self.controlled[slot] = 0;
            self.conns[slot].set(flag::CONTROLS, false);
        }
    }

    /// Takes what was counted beside the same records elsewhere.
    pub(super) fn inherit_counts(&mut self, from: &mut Records) {
        std::mem::swap(&mut self.controlled, &mut from.controlled);
        self.addresses.inherit_holders(&from.addresses);
    }

    /// True for a record that names no address that is not there.
    pub(super) fn names_known(&self, id: ConnId) -> bool {
        let count = self.addresses.len();
        self[id].named().all(|addr| usize::from(addr.0) < count)
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
