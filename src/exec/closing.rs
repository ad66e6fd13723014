//! `close` of a socket of libnl, and the next `socket` of its process.
//!
//! To put a file among those of a process wakes a processor that sleeps; ipvsadm opens a socket for each service, and this was
//! most of what a list cost. So such a socket is not closed, and its number is that of the next one, if it may stay (see `stay`)
//! and the number is still this file's: other calls can put others there.

use std::os::fd::OwnedFd;

use super::numbers::Way;
use super::stay::{Stay, empty};
use super::supervisor::Supervisor;
use crate::io::seccomp::{Call, Returns};

impl Supervisor {
    /// What is known of a new socket.
    pub(super) fn may_stay(&mut self, way: Way, process: u32, kind: i32, file: &OwnedFd) -> Stay {
        // It goes when the process becomes another program.
        let may = way == Way::Direct && kind & libc::SOCK_CLOEXEC != 0 && self.processes.opens_many(process);
        let newest = if may { self.newest.read() } else { None };
        Stay::of(file, kind, newest)
    }

    /// `close` of a socket of libnl. A number that its process has closed already is the kernel's.
    pub(super) fn close(&mut self, call: &Call, number: u32) -> Returns {
        let process = self.processes.of(call.thread);
        let has_one = self.sockets.values().any(|it| it.process == process && it.stay.is_closed);
        if has_one || !self.is_as_new(call, process, number) {
            return Returns::Kernel;
        }
        let Some(socket) = self.sockets.get_mut(&number) else { return Returns::Kernel };
        (socket.port, socket.stay.is_closed) = (0, true);
        Returns::Value(0)
    }

    fn is_as_new(&mut self, call: &Call, process: u32, number: u32) -> bool {
        if self.sockets.get(&number).is_none_or(|it| it.process != process) || !self.is_only_its_own(number) {
            return false;
        }
        // What it has sent by other calls than `sendmsg`.
        self.serve_what_was_sent(number);
        let Some(socket) = self.sockets.get(&number).filter(|it| it.is_idle()) else { return false };
        if self.look.has_closed(number) == Some(false) && !socket.is_unread() {
            return true;
        }
        self.file_if_same(call, number).is_some_and(|file| empty(&file))
    }

    /// True if no process has begun since the socket was opened, which would have it too, and its own has no second
    /// descriptor for it: then its pair tells if the number is not its own any more.
    fn is_only_its_own(&mut self, number: u32) -> bool {
        let newest = self.sockets.get(&number).and_then(|it| it.stay.newest);
        newest.is_some() && newest == self.newest.read()
    }

    /// The socket that this process has closed, if it has one like the one that it asks for.
    pub(super) fn closed_one(&mut self, call: &Call, process: u32) -> Option<u32> {
        let kind = call.args[1] as i32;
        let is_such = |stay: &Stay| stay.is_closed && stay.kind == kind;
        let number = self.sockets.values().find(|it| it.process == process && is_such(&it.stay))?.number();
        let is_there = self.is_only_its_own(number) && self.look.has_closed(number) == Some(false);
        (is_there || self.file_if_same(call, number).is_some()).then_some(number)
    }

    /// The file that the process has under a socket's number, if it is the socket's.
    fn file_if_same(&mut self, call: &Call, number: u32) -> Option<OwnedFd> {
        let socket = self.sockets.get(&number)?;
        let file = self.processes.file(call.thread, number).ok()?;
        socket.stay.is_of(&file).then_some(file)
    }
}
