//! A draft of the flow table in a file that another process still works with.
//!
//! Reads a copy, never the memory that the other one writes: what is torn in it is found when the table is taken over.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::State;
use super::header::header_in;
use super::{GENERATION_AT, size_before_conns, size_of_all};
use crate::base::{Array, Plain};
use crate::conn::{AddressLine, Conn, Memory as ConnMemory};
use crate::director::Director;
use crate::flows;
use crate::io::Memory;

/// What is made of a file before it is taken over.
pub struct Draft {
    /// The flow table, and what belongs to its conns.
    flows: flows::Draft,
    /// The file in this process's memory, its pages at hand.
    memory: Memory,
}

impl Draft {
    /// What is made, and the file in memory.
    pub fn into_parts(self) -> (flows::Draft, Memory) {
        (self.flows, self.memory)
    }
}

impl State {
    /// One of the file's flow table, for this director; `None` if it cannot be read, in which case taking the table over takes
    /// its time.
    pub fn draft(file: &File, director: &Director) -> Option<Draft> {
        let (header, max) = (header_in(file)?, State::max_of(file)?);
        let made = || -> io::Result<Draft> {
            let copy = || copy_of(file, max, [header[3], header[4]]);
            let first = copy()?;
            let memory = Memory::map(file.try_clone()?, size_of_all(max))?;
            // Where the kernel cannot do that it only takes longer.
            at_hand(&memory, max, first.records.len()).unwrap_or_else(|error| log::debug!("no pages at hand: {error}"));
            let now = || super::now_since(header[5]);
            let flows = flows::Draft::of(first, max, now(), &director.flows.ports);
            // It took a while, in which much has changed where there is much to do.
            let flows = flows.again(copy()?, now());
            Ok(Draft { flows, memory })
        };
        made().map_err(|error| log::debug!("the state cannot be read: {error}")).ok()
    }
}

fn copy_of(file: &File, max: usize, secret: [u64; 2]) -> io::Result<ConnMemory> {
    let mut at = size_before_conns();
    let addresses = part::<AddressLine>(file, &mut at, ConnMemory::ADDRESSES)?;
    let used = part::<u32>(file, &mut at, 1)?;
    let count = (used[0] as usize).min(max);
    let mut records_at = at + 2 * Memory::size_of::<u32>(max);
    let checks = part::<u32>(file, &mut at, count)?;
    // They say nothing of how records are found.
    let shifts = Array::zeroed(count);
    let records = part::<Conn>(file, &mut records_at, count)?;
    let generation = part::<u64>(file, &mut (GENERATION_AT * size_of::<u64>()), 1)?[0];
    Ok(ConnMemory { records, checks, shifts, addresses, used, secret, generation })
}

/// An array of the first `count` elements that lie there.
fn part<T: Plain>(file: &File, at: &mut usize, count: usize) -> io::Result<Array<T>> {
    let mut array = Array::zeroed(count);
    array.fill(|bytes| file.read_exact_at(bytes, *at as u64))?;
    *at += Memory::size_of::<T>(count);
    Ok(array)
}

/// Has the pages at hand in which the first `count` slots have their checks and records.
fn at_hand(memory: &Memory, max: usize, count: usize) -> io::Result<()> {
    let checks =
        size_before_conns() + Memory::size_of::<AddressLine>(ConnMemory::ADDRESSES) + Memory::size_of::<u32>(1);
    memory.populate(checks, Memory::size_of::<u32>(count))?;
    memory.populate(checks + 2 * Memory::size_of::<u32>(max), Memory::size_of::<Conn>(count))
}
