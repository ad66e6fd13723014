//! Whether a socket of libnl may stay in the program's files when the program closes it, to be its next one.
//!
//! Only what nobody can tell from a new one may: nothing was made of it that a new one would not have, no process has begun
//! since it was opened, which would have it too, and it is empty.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use nix::sys::stat::fstat;

/// A program leaves no more datagrams than this unread.
const UNREAD: usize = 64;

/// What is known of a socket.
#[derive(Default)]
pub struct Stay {
    /// Its file.
    inode: u64,
    /// How it was asked for.
    pub kind: i32,
    /// The newest process of the system when nobody else had it; none if it is to be closed.
    pub newest: Option<u32>,
    /// The program has closed it.
    pub is_closed: bool,
}

impl Stay {
    /// A new socket's, which is to be closed where the newest process is not known.
    pub fn of(file: &OwnedFd, kind: i32, newest: Option<u32>) -> Stay {
        Stay { inode: inode_of(file).unwrap_or(0), kind, newest, is_closed: false }
    }

    /// The program has made something of it that a new one is not.
    pub fn forbid(&mut self) {
        self.newest = None;
    }

    /// True for this socket's file.
    pub fn is_of(&self, file: &OwnedFd) -> bool {
        inode_of(file) == Some(self.inode)
    }
}

/// The number of the newest process or thread: as long as it is the same, none has begun.
#[derive(Default)]
pub struct Newest(Option<File>);

impl Newest {
    /// None where the kernel does not tell.
    pub fn read(&mut self) -> Option<u32> {
        if self.0.is_none() {
            self.0 = File::open("/proc/sys/kernel/ns_last_pid").ok();
        }
        let mut text = [0; 16];
        let len = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        std::str::from_utf8(text.get(..len)?).ok()?.trim().parse().ok()
    }
}

/// Throws away what the program has not read; false if that is too much.
pub fn empty(file: &OwnedFd) -> bool {
    (0..UNREAD).any(|_| is_empty(file))
}

/// Takes a datagram out; true if there was none.
fn is_empty(file: &OwnedFd) -> bool {
    recv(file.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT) == Err(Errno::EAGAIN)
}

fn inode_of(file: &OwnedFd) -> Option<u64> {
    fstat(file).ok().map(|it| it.st_ino)
}
