//! The arrays of a flow table that may outlive the process, and what in them can be trusted afterwards.
//!
//! A record counts only with the check beside it, a keyed hash of all that decides where its packets go: it is written after
//! the record and cleared before it, so a process that dies in between leaves nothing half-made. Never finds a conn.

use std::ops::Range;

use super::addresses::{ADDRESSES, AddressLine};
use super::key::Secret;
use super::record::Conn;
use crate::base::{Array, Plain, siphash13};

/// Addresses that a record names, and one that is about to be.
const A_RECORD: usize = 4;

/// Memory for a flow table, zeroed or as another process has left it.
pub struct Memory {
    /// A record a slot.
    pub records: Array<Conn>,
    /// A check a slot; 0: vacant.
    pub checks: Array<u32>,
    /// By how much the sequence numbers of a conn's client are moved, a slot.
    pub shifts: Array<u32>,
    /// Interned addresses.
    pub addresses: Array<AddressLine>,
    /// Slots that were ever used.
    pub used: Array<u32>,
    /// Key of the checks and of the buckets.
    pub secret: Secret,
    /// Which process this is, of those that used the memory one after the other: slots of dests are of one generation.
    pub generation: u64,
}

impl Memory {
    /// Addresses that a table's memory has room for.
    pub const ADDRESSES: usize = ADDRESSES;

    /// Memory of this process, for `max` conns.
    pub fn new(max: usize, secret: Secret) -> Memory {
        Memory {
            records: Array::zeroed(max),
            checks: Array::zeroed(max),
            shifts: Array::zeroed(max),
            addresses: Array::zeroed(ADDRESSES.min(max.saturating_mul(A_RECORD))),
            used: Array::zeroed(1),
            secret,
            generation: 0,
        }
    }

    /// Slots that may hold something.
    pub(super) fn used(&self) -> usize {
        (self.used[0] as usize).min(self.records.len())
    }
}

/// The addresses of an array.
pub(super) fn addresses<T>(array: &[T]) -> Range<usize> {
    let bounds = array.as_ptr_range();
    bounds.start as usize..bounds.end as usize
}

/// A record's check; never 0. `generation` is the one whose dests it names.
pub(super) fn check_of(conn: &Conn, secret: Secret, generation: u64) -> u32 {
    (siphash13([secret[0] ^ generation, secret[1]], conn.identity()) as u32).max(1)
}

// SAFETY: integers of every value, and addresses, which are numbers.
#[allow(unsafe_code)]
unsafe impl Plain for Conn {}
