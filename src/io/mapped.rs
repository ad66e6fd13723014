//! A file that is this process's memory too: what is written there stays when the process dies.
//!
//! Never interprets it. Pages are asked of the file system before they are touched: a full one is no crash.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::{FallocateFlags, fallocate};

use super::sys;
use crate::base::{Array, Backing, Plain};

/// Bytes asked for at a time.
const STEP: u64 = 1 << 16;
/// Arrays begin with a page.
const PAGE: usize = 4096;

/// A mapped file, from which arrays are taken one after the other.
pub struct Memory {
    shared: Arc<Shared>,
    taken: usize,
}

/// The mapping, and the bytes of the file that are there.
struct Shared {
    map: sys::Map,
    file: File,
}

/// One array's part of it.
struct Part {
    shared: Arc<Shared>,
    /// Offset in the file up to which memory is there, from the array's beginning.
    committed: Mutex<u64>,
}

impl Memory {
    /// Maps a file for reading and writing; it is lengthened to `len` bytes, which take no room until they are used.
    pub fn map(file: File, len: usize) -> io::Result<Memory> {
        if file.metadata()?.len() < len as u64 {
            file.set_len(len as u64)?;
        }
        let map = sys::Map::shared(file.as_fd(), len)?;
        Ok(Memory { shared: Arc::new(Shared { map, file }), taken: 0 })
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.shared.map.len()
    }

    /// Has pages at hand that are in use; without that each costs a page fault when it is first touched.
    pub fn populate(&self, from: usize, len: usize) -> io::Result<()> {
        sys::populate(&self.shared.map, from / PAGE * PAGE, len)
    }

    /// Bytes that `take` of so many elements uses up.
    pub fn size_of<T>(len: usize) -> usize {
        (len * size_of::<T>()).next_multiple_of(PAGE)
    }

    /// The next `len` elements.
    pub fn take<T: Plain>(&mut self, len: usize) -> io::Result<Array<T>> {
        let (offset, size) = (self.taken, Memory::size_of::<T>(len));
        let backing = Part { shared: self.shared.clone(), committed: Mutex::new(offset as u64) };
        let array = sys::array_over(&self.shared.map, offset, len, Box::new(backing));
        self.taken += size;
        array.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// The first bytes of a file that is as long already and takes no memory as it is used: a map in the kernel.
pub fn map_bytes(file: BorrowedFd, len: usize) -> io::Result<Array<u8>> {
    let map = Arc::new(sys::Map::shared(file, len)?);
    let array = sys::array_over(&map, 0, len, Box::new(Whole { _map: map.clone() }));
    array.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// A mapping of which every byte is there.
struct Whole {
    _map: Arc<sys::Map>,
}

impl Backing for Whole {
    fn commit(&mut self, _end: usize) -> bool {
        true
    }
}

impl Backing for Part {
    fn commit(&mut self, end: usize) -> bool {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        let end = (end - self.shared.map.start()) as u64;
        if end <= *committed {
            return true;
        }
        let until = end.next_multiple_of(STEP).min(self.shared.map.len() as u64);
        // The whole step, or just what is needed.
        for until in [until, end] {
            let (from, len) = (*committed as i64, (until - *committed) as i64);
            if fallocate(self.shared.file.as_fd(), FallocateFlags::empty(), from, len).is_ok() {
                *committed = until;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_mapping_writes_another_reads() {
        let file = File::from(nix::sys::memfd::memfd_create("test", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap());
        let len = Memory::size_of::<u32>(3) + Memory::size_of::<[u64; 8]>(1000);
        for round in 0..3_u32 {
            let mut memory = Memory::map(file.try_clone().unwrap(), len).unwrap();
            let (mut few, mut many) = (memory.take::<u32>(3).unwrap(), memory.take::<[u64; 8]>(1000).unwrap());
            assert!(memory.take::<u8>(1).is_err());
            drop(memory);
            assert!(few.commit(3) && many.commit(1000));
            assert_eq!((few[2], many[999][7]), (round, u64::from(round)));
            (few[2], many[999][7]) = (round + 1, u64::from(round) + 1);
        }
    }
}
