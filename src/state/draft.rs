//! A draft of the flow table in a file that another process still works with.
//!
//! Reads a copy, never the memory that the other one writes: what is torn in it is found when the table is taken over.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::State;
use super::header::header_in;
use super::size_before_conns;
use crate::base::{Array, Plain};
use crate::conn::{AddressLine, Conn, Draft, Memory as ConnMemory};
use crate::io::Memory;

impl State {
    /// One of the file's flow table; `None` if it cannot be read, in which case taking the table over takes its time.
    pub fn draft(file: &File) -> Option<Draft> {
        let (header, max) = (header_in(file)?, State::max_of(file)?);
        let copy = copy_of(file, max, [header[3], header[4]]);
        let copy = copy.map_err(|error| log::debug!("the state cannot be read: {error}")).ok()?;
        Some(Draft::of(copy, max, super::now_since(header[5])))
    }
}

fn copy_of(file: &File, max: usize, secret: [u64; 2]) -> io::Result<ConnMemory> {
    let mut at = size_before_conns();
    let addresses = part::<AddressLine>(file, &mut at, ConnMemory::ADDRESSES)?;
    let used = part::<u32>(file, &mut at, 1)?;
    let count = (used[0] as usize).min(max);
    // Their checks and shifts say nothing of how records are found.
    let [checks, shifts] = [Array::zeroed(count), Array::zeroed(count)];
    at += 2 * Memory::size_of::<u32>(max);
    let records = part::<Conn>(file, &mut at, count)?;
    Ok(ConnMemory { records, checks, shifts, addresses, used, secret, generation: 0 })
}

/// An array of the first `count` elements that lie there.
fn part<T: Plain>(file: &File, at: &mut usize, count: usize) -> io::Result<Array<T>> {
    let mut array = Array::zeroed(count);
    array.fill(|bytes| file.read_exact_at(bytes, *at as u64))?;
    *at += Memory::size_of::<T>(count);
    Ok(array)
}
