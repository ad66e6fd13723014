//! Sequence numbers of conns: what each end expects next, and by how much those of a client in FULL-NAT are moved.
//!
//! Never reads or edits a packet.

use super::key::Side;
use super::table::ConnTable;
use crate::base::{ConnId, Instant, Packed, siphash13};

/// The clock of initial sequence numbers: a tick is 64 ns, so that one turn takes 275 s, more than a server keeps a port in
/// TIME_WAIT twice over, and numbers outrun a conn of less than 125 Mbit/s.
fn clock_of(now: Instant) -> u32 {
    const TICKS_A_MILLISECOND: u64 = 15_625;
    now.0.wrapping_mul(TICKS_A_MILLISECOND) as u32
}

impl ConnTable {
    /// Remembers what the sender of a segment has acknowledged: the sequence number it expects next.
    #[inline]
    pub fn note_expected(&mut self, id: ConnId, sender: Side, number: u32) {
        if self.expected.is_empty() {
            self.expected = vec![[0; 2]; self.max];
        }
        self.expected[id.index()][sender as usize] = number;
    }

    /// The sequence number that an end of a conn expects next; 0 if no segment has told it, or it is not kept.
    pub fn expected(&self, id: ConnId, end: Side) -> u32 {
        self.expected.get(id.index()).map_or(0, |numbers| numbers[end as usize])
    }

    /// By how much the sequence numbers of a client in FULL-NAT are moved on the way to its server; 0 of any other conn.
    #[inline]
    pub fn shift(&self, id: ConnId) -> u32 {
        self.records.shift(id)
    }

    /// Another director has moved them by so much.
    pub fn set_shift(&mut self, id: ConnId, by: u32) {
        self.records.set_shift(id, by);
    }

    /// A secret for SYN cookies, the same for all processes that use the table one after the other.
    pub fn cookie_key(&self) -> [u64; 2] {
        [6, 7].map(|which| siphash13(self.sequence_key, [8 << 56, which]))
    }

    /// The key of the places in which clients are counted (`conn/clients.rs`): its multipliers are odd.
    pub fn client_key(&self) -> [u64; 2] {
        [9, 10].map(|which| siphash13(self.sequence_key, [8 << 56, which]) | 1)
    }

    /// Has a client in FULL-NAT whose SYN says `said` begin with a sequence number of ours: towards a server the numbers of
    /// one local endpoint rise from conn to conn, whoever the clients are (RFC 6528 section 3).
    pub fn begin_sequence(&mut self, id: ConnId, said: u32, now: Instant) {
        let conn = self.records[id];
        let Some(local) = self.local(&conn) else { return };
        let real = self.real(&conn);
        let ports = u64::from(local.port) << 16 | u64::from(real.port);
        let [[a, b], [c, d]] = [local.addr, real.addr].map(|addr| Packed::from(addr).halves());
        let hash = siphash13(self.sequence_key, [a, b, c, d, ports, 5 << 59]) as u32;
        self.records.set_shift(id, hash.wrapping_add(clock_of(now)).wrapping_sub(said));
    }

    /// The stream of a client in FULL-NAT stands so many bytes further on at its server.
    pub fn move_sequence(&mut self, id: ConnId, by: u32) {
        self.records.set_shift(id, self.records.shift(id).wrapping_add(by));
    }
}
