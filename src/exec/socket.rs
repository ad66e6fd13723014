//! One netlink socket of the program: what it has sent, what answers it, who waits for something to read.
//!
//! The program's file is one end of a pair of sockets. What it sends arrives at the other end by itself, or by its calls.
//! How it receives is in `deliver`.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, recv};

use super::event::{About, Files};
use super::kernel::Kernel;
use super::numbers::Way;
use super::receive::Waiting;
use super::stay::Stay;
use crate::genl::{Absent, Answer, Director, Inbox, Message, Outcome, Sender, Server};
use crate::io::seccomp::unread;

/// Larger than any datagram that the program can send: the largest buffer of a socket, unless an administrator has
/// raised it.
pub const LARGEST_DATAGRAM: usize = 256 * 1024;

/// A socket.
pub struct Socket {
    /// The other end of the program's file.
    pub(super) end: OwnedFd,
    pub(super) number: u32,
    /// How the program receives.
    pub way: Way,
    /// False while the program's end is full.
    pub has_room: bool,
    /// The process that made it.
    pub process: u32,
    /// `SOCK_RAW` or `SOCK_DGRAM`.
    pub kind: i32,
    /// Its port id; 0 until it has one.
    pub port: u32,
    /// False for who may not administer a network: a kernel would answer EPERM.
    pub may_ask: bool,
    /// `NETLINK_CAP_ACK`
    pub capped: bool,
    /// `SO_RCVTIMEO`
    pub patience: Option<Duration>,
    /// For other families; opened when it is needed.
    pub kernel: Option<Kernel>,
    /// What a call has sent whose maker was interrupted before it was told.
    pub interrupted: Option<Vec<u8>>,
    /// Messages that have not been answered yet.
    questions: VecDeque<Vec<u8>>,
    pub(super) inbox: Inbox,
    /// Datagrams that go through the pair next.
    pub(super) outbox: Vec<Vec<u8>>,
    /// The byte for `poll` lies in the program's end.
    pub(super) announced: bool,
    pub(super) waiting: VecDeque<Waiting>,
    /// Nobody has it any more.
    pub closed: bool,
    /// Whether it may stay where it was closed.
    pub stay: Stay,
}

/// How much of what the program has sent is taken in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Much {
    /// One datagram; the others are told of again.
    One,
    /// All of it.
    All,
}

impl Socket {
    /// A socket that the program has under this number; `end` is this process's end of its pair.
    pub fn new(number: u32, way: Way, process: u32, kind: i32, end: OwnedFd) -> Socket {
        Socket {
            end,
            number,
            way,
            has_room: true,
            process,
            kind: kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC),
            port: 0,
            may_ask: true,
            capped: false,
            patience: None,
            kernel: None,
            interrupted: None,
            questions: VecDeque::new(),
            inbox: Inbox::default(),
            outbox: Vec::new(),
            announced: false,
            waiting: VecDeque::new(),
            closed: false,
            stay: Stay::default(),
        }
    }

    /// The same, with what says whether it may stay.
    pub fn with(self, stay: Stay) -> Socket {
        Socket { stay, ..self }
    }

    /// The end to wait on.
    pub fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// What is waited for of it.
    pub fn add_to<'a>(&'a self, files: &mut Files<'a>) {
        if !self.closed {
            let room = if self.has_room { PollFlags::empty() } else { PollFlags::POLLOUT };
            files.add(About::Socket(self.number), self.end.as_fd(), PollFlags::POLLIN | room);
        }
        if let Some(kernel) = &self.kernel {
            files.add(About::Kernel(self.number), kernel.as_fd(), PollFlags::POLLIN);
        }
    }

    /// Takes in what the program has sent.
    pub fn read_questions(&mut self, buffer: &mut [u8], much: Much) {
        // A datagram of no bytes holds no message, and the end of the file reads the same; its flag tells them apart.
        while let Ok(len @ 1..) = recv(self.end.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            self.ask(&buffer[..len]);
            if much == Much::One {
                break;
            }
        }
    }

    /// Messages that the program has sent.
    pub fn ask(&mut self, datagram: &[u8]) {
        self.questions.extend(Message::all(datagram).map(|message| message.bytes.to_vec()));
    }

    /// Its number among the program's files.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// True if the program has asked what was not answered yet.
    pub fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    /// True if there is something to read.
    pub fn has_answers(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// True if nothing that was asked is left to be answered, and nothing of another family was.
    pub fn is_idle(&self) -> bool {
        let answered = self.questions.is_empty() && self.inbox.is_empty() && self.outbox.is_empty();
        answered && self.kernel.is_none() && self.interrupted.is_none()
    }

    /// True if the program has not read all that was sent to it.
    pub fn is_unread(&self) -> bool {
        unread(&self.end) != Ok(0)
    }

    /// True if nothing is left to be done for a program that has closed it.
    pub fn is_done(&self) -> bool {
        self.closed && self.questions.is_empty()
    }

    /// Answers what can be answered now.
    pub fn answer_questions(&mut self, server: &mut Server, director: &mut impl Director) {
        while let Some(question) = self.questions.front() {
            let Some((message, _)) = Message::first(question) else { break };
            let from = Sender { port: self.port, process: self.process, capped: self.capped };
            match server.answer(&message, from, director) {
                Err(Absent::Away) => return,
                Err(Absent::Gone | Absent::Forbidden) => {}
                Ok(Outcome::Answers(answers)) => self.inbox.push(answers),
                Ok(Outcome::Elsewhere(first)) => {
                    self.inbox.push(first);
                    if let Err(errno) = self.pass_on() {
                        log::warn!("generic netlink of the kernel: {errno}");
                    }
                }
            }
            self.questions.pop_front();
        }
    }

    /// What the program asks of the kernel's own families.
    fn pass_on(&mut self) -> Result<(), Errno> {
        let Some(question) = self.questions.front() else { return Ok(()) };
        let kernel = match &self.kernel {
            Some(kernel) => kernel,
            None => self.kernel.insert(Kernel::open()?),
        };
        kernel.send(question)?;
        self.read_kernel();
        Ok(())
    }

    /// Takes in what the kernel has sent. True if there was anything.
    pub fn read_kernel(&mut self) -> bool {
        let mut any = false;
        while let Some(bytes) = self.kernel.as_ref().and_then(|kernel| kernel.receive(self.port)) {
            self.inbox.push([Answer::Whole(bytes)]);
            any = true;
        }
        any
    }
}
