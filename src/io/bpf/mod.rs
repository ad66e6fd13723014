//! bpf(2): maps, programs, and a program at the egress of a device.
//!
//! Every function that the room offers is safe: what the kernel reads and writes are slices whose lengths are checked.
#![allow(unsafe_code)]

mod map;
mod program;

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

pub use map::{Done, Map, MapKind};
pub use program::{Attached, Constant, LoadError, Program, Run, Verdict};

/// Commands of bpf(2).
mod command {
    pub const MAP_CREATE: u32 = 0;
    pub const LOOKUP: u32 = 1;
    pub const UPDATE: u32 = 2;
    pub const DELETE: u32 = 3;
    pub const NEXT_KEY: u32 = 4;
    pub const PROG_LOAD: u32 = 5;
    pub const TEST_RUN: u32 = 10;
    pub const LOOKUP_AND_DELETE: u32 = 21;
    pub const LOOKUP_BATCH: u32 = 24;
    pub const UPDATE_BATCH: u32 = 26;
    pub const DELETE_BATCH: u32 = 27;
    pub const LINK_CREATE: u32 = 28;
}

/// The commands that read and change elements of maps, and nothing else.
pub const ELEMENTS: [u32; 8] = [
    command::LOOKUP,
    command::UPDATE,
    command::DELETE,
    command::NEXT_KEY,
    command::LOOKUP_AND_DELETE,
    command::LOOKUP_BATCH,
    command::UPDATE_BATCH,
    command::DELETE_BATCH,
];

/// `union bpf_attr`: zeros, and what a command takes at its place.
struct Attributes([u64; 18]);

impl Attributes {
    fn new() -> Attributes {
        Attributes([0; 18])
    }

    fn bytes(mut self, at: usize, bytes: &[u8]) -> Attributes {
        for (offset, byte) in bytes.iter().enumerate() {
            let mut word = self.0[(at + offset) / 8].to_ne_bytes();
            word[(at + offset) % 8] = *byte;
            self.0[(at + offset) / 8] = u64::from_ne_bytes(word);
        }
        self
    }

    fn word(self, at: usize, value: u32) -> Attributes {
        self.bytes(at, &value.to_ne_bytes())
    }

    fn fd(self, at: usize, fd: &impl AsRawFd) -> Attributes {
        self.word(at, fd.as_raw_fd().cast_unsigned())
    }

    fn long(self, at: usize, value: u64) -> Attributes {
        self.bytes(at, &value.to_ne_bytes())
    }

    fn reads(self, at: usize, from: &[u8]) -> Attributes {
        self.long(at, from.as_ptr() as u64)
    }

    fn writes(self, at: usize, to: &mut [u8]) -> Attributes {
        self.long(at, to.as_mut_ptr() as u64)
    }

    fn word_at(&self, at: usize) -> u32 {
        let word = self.0[at / 8].to_ne_bytes();
        u32::from_ne_bytes([word[at % 8], word[at % 8 + 1], word[at % 8 + 2], word[at % 8 + 3]])
    }

    /// The caller sees to it that every address in the attributes is that of a live slice as long as the command uses.
    fn call(&mut self, command: u32) -> io::Result<i32> {
        let size = size_of_val(&self.0);
        // SAFETY: the attributes are as long as they are said to be, and their addresses are as described above: each
        // caller is in this room and derives them from slices whose lengths it has checked.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), size) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
    }

    fn descriptor(mut self, command: u32) -> io::Result<OwnedFd> {
        let fd = self.call(command)?;
        // SAFETY: the descriptor is new and nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// The kernel does not know this command, or not for this kind of map.
fn is_unknown(error: &io::Error) -> bool {
    /// The kernel's own number, which libc does not have.
    const ENOTSUPP: i32 = 524;
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP))
}
