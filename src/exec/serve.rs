//! The program's netlink sockets, beside its calls: opened, served, delivered to, closed.

use std::time::Instant;

use super::director::Asked;
use super::numbers::Way;
use super::socket::{Much, Socket};
use super::supervisor::Supervisor;

impl Supervisor {
    /// A number that no socket has, and no file of this thread's process. What was closed meanwhile is seen first if there is none.
    pub(super) fn free_number(&mut self, way: Way, thread: u32) -> Option<u32> {
        self.find_number(way, thread).or_else(|| {
            let numbers: Vec<u32> = self.sockets.keys().copied().collect();
            for number in numbers {
                let closed = self.is_closed(number);
                self.take_questions(number, closed);
            }
            self.find_number(way, thread)
        })
    }

    pub(super) fn is_closed(&self, number: u32) -> bool {
        let Some(socket) = self.sockets.get(&number) else { return false };
        let mut ends = [nix::poll::PollFd::new(socket.end(), nix::poll::PollFlags::empty())];
        nix::poll::poll(&mut ends, nix::poll::PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    fn find_number(&mut self, way: Way, thread: u32) -> Option<u32> {
        let Supervisor { numbers, sockets, processes, .. } = self;
        numbers.take(way, |number| !sockets.contains_key(&number) && processes.file(thread, number).is_err())
    }

    /// What the program has sent before its present call is answered.
    pub(super) fn serve_what_was_sent(&mut self, number: u32) {
        if self.look.may_have_sent(number) {
            self.serve(number, Much::All);
        }
    }

    /// What the program has sent is answered.
    pub(super) fn serve(&mut self, number: u32, much: Much) {
        if let Some(socket) = self.sockets.get_mut(&number) {
            socket.read_questions(&mut self.buffer, much);
            self.answer_questions(number);
        }
    }

    pub(super) fn answer_questions(&mut self, number: u32) {
        if !self.sockets.get(&number).is_some_and(Socket::has_questions) {
            return;
        }
        if let Err(errno) = self.give_port(number, 0) {
            log::warn!("a netlink socket of the program has no port id: {errno}");
        }
        if let Some(socket) = self.sockets.get_mut(&number) {
            let may_ask = socket.may_ask;
            let mut asked =
                Asked { director: &mut self.director, program: &mut self.program, clock: &self.clock, may_ask };
            socket.answer_questions(&mut self.server, &mut asked);
        }
    }

    pub(super) fn take_questions(&mut self, number: u32, closed: bool) {
        self.serve(number, if closed { Much::All } else { Much::One });
        self.deliver(number);
        let Some(socket) = self.sockets.get_mut(&number) else { return };
        socket.closed |= closed;
        if socket.is_done() {
            socket.expire(&self.listener, Instant::now());
            self.sockets.remove(&number);
        }
    }

    pub(super) fn take_from_kernel(&mut self, number: u32) {
        if let Some(socket) = self.sockets.get_mut(&number)
            && socket.read_kernel()
        {
            self.deliver(number);
        }
    }

    /// Hands the program what it can take now; what has no room waits until its end is writable.
    pub(super) fn deliver(&mut self, number: u32) {
        if let Some(socket) = self.sockets.get_mut(&number) {
            socket.deliver(&self.listener, &mut self.processes);
        }
    }

    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        self.sockets.values_mut().for_each(|socket| {
            if socket.deadline().is_some_and(|deadline| deadline <= now) {
                socket.expire(&self.listener, now);
            }
        });
    }
}
