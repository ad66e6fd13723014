//! Waiting for whatever comes next: the program's calls, its sockets, its signals, the director.
//!
//! By `poll`, not by an epoll: a notified call, and its answer, wake their receiver on the processor that they come from
//! (`SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`), and an epoll in between would lose that.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What an event is about. A socket is known by its number.
#[derive(Clone, Copy)]
pub enum About {
    /// A call of the program.
    Calls,
    /// A signal.
    Signals,
    /// The director has gone.
    Director,
    /// The program has sent something, or has room again.
    Socket(u32),
    /// The kernel has answered for a family of its own.
    Kernel(u32),
}

/// Something has happened.
pub struct Event {
    pub about: About,
    /// There is something to read; otherwise the other end is closed.
    pub readable: bool,
    pub closed: bool,
}

/// Files to wait for.
pub struct Files<'a> {
    about: Vec<About>,
    files: Vec<PollFd<'a>>,
}

impl<'a> Files<'a> {
    /// So many, at most, or so.
    pub fn of(count: usize) -> Files<'a> {
        Files { about: Vec::with_capacity(count), files: Vec::with_capacity(count) }
    }

    /// One more.
    pub fn add(&mut self, about: About, file: BorrowedFd<'a>, wanted: PollFlags) {
        self.about.push(about);
        self.files.push(PollFd::new(file, wanted));
    }

    /// What has happened until then.
    pub fn wait(&mut self, timeout: PollTimeout) -> io::Result<Vec<Event>> {
        match poll(&mut self.files, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
            Ok(_) => {}
        }
        let told = self.files.iter().map(|file| file.revents().unwrap_or(PollFlags::empty()));
        let happened = self.about.iter().zip(told).filter(|(_, flags)| !flags.is_empty());
        let event = |(about, flags): (&About, PollFlags)| Event {
            about: *about,
            readable: flags.contains(PollFlags::POLLIN),
            closed: flags.contains(PollFlags::POLLHUP),
        };
        Ok(happened.map(event).collect())
    }
}
