//! The memory of a program whose call is being answered.
//!
//! Addresses are the program's own and may be anything: what cannot be read or written is EFAULT, as in the kernel.

use std::io::{IoSlice, IoSliceMut};

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;

/// More buffers than this are an error, as in the kernel.
const MOST_BUFFERS: u64 = 1024;

/// The memory of the process that a thread belongs to.
#[derive(Clone, Copy)]
pub struct Memory(Pid);

impl Memory {
    /// Of this thread.
    pub fn of(thread: u32) -> Memory {
        Memory(Pid::from_raw(thread as i32))
    }

    /// Fills `bytes` from what lies at an address.
    pub fn read(self, at: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        self.read_all([(at, bytes)])
    }

    /// Fills each buffer from what lies at its address.
    pub fn read_all<const N: usize>(self, parts: [(u64, &mut [u8]); N]) -> Result<(), Errno> {
        let places = parts.each_ref().map(|(at, bytes)| RemoteIoVec { base: *at as usize, len: bytes.len() });
        let wanted: usize = places.iter().map(|place| place.len).sum();
        let read = process_vm_readv(self.0, &mut parts.map(|(_, bytes)| IoSliceMut::new(bytes)), &places)?;
        if read == wanted { Ok(()) } else { Err(Errno::EFAULT) }
    }

    /// A number of four bytes.
    pub fn read_word(self, at: u64) -> Result<u32, Errno> {
        let mut bytes = [0; 4];
        self.read(at, &mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    /// So many numbers of eight bytes.
    pub fn read_longs<const N: usize>(self, at: u64) -> Result<[u64; N], Errno> {
        let mut bytes = [[0; 8]; N];
        self.read(at, bytes.as_flattened_mut())?;
        Ok(bytes.map(u64::from_ne_bytes))
    }

    /// An array of `struct iovec`: address and length of each buffer.
    pub fn buffers(self, at: u64, count: u64) -> Result<Vec<(u64, u64)>, Errno> {
        if count > MOST_BUFFERS {
            return Err(Errno::EMSGSIZE);
        }
        // Most programs have one.
        if count == 1 {
            let [base, len] = self.read_longs::<2>(at)?;
            return Ok(vec![(base, len)]);
        }
        let mut bytes = vec![0; 16 * count as usize];
        self.read(at, &mut bytes)?;
        let long = |bytes: &[u8]| bytes.first_chunk().map_or(0, |chunk| u64::from_ne_bytes(*chunk));
        Ok(bytes.chunks_exact(16).map(|pair| (long(pair), long(&pair[8..]))).collect())
    }

    /// Writes what was collected, in one go.
    pub fn write(self, parts: &Parts) -> Result<(), Errno> {
        if parts.bytes.is_empty() {
            return Ok(());
        }
        let written = process_vm_writev(self.0, &[IoSlice::new(&parts.bytes)], &parts.places)?;
        if written == parts.bytes.len() { Ok(()) } else { Err(Errno::EFAULT) }
    }
}

/// Bytes and the addresses that they go to.
#[derive(Default)]
pub struct Parts {
    bytes: Vec<u8>,
    places: Vec<RemoteIoVec>,
}

impl Parts {
    /// These bytes go there.
    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes.extend_from_slice(bytes);
            self.places.push(RemoteIoVec { base: at as usize, len: bytes.len() });
        }
    }
}
