//! One netlink socket of the program: what it has sent, what waits to be read, who waits for something to read.
//!
//! The program's file is one end of a pair of sockets. What it sends arrives at the other end by itself; what it
//! receives is written into its memory. A byte lies in its end while there is something to read, for `poll`.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, recv, send};

use super::kernel::Kernel;
use super::processes::Processes;
use super::receive::Receive;
use crate::base;
use crate::genl::{Absent, Answer, Director, Inbox, Message, Outcome, Sender, Server};
use crate::io::seccomp::{Call, Listener, Returns};

/// Larger than any datagram that the program can send: the largest buffer of a socket, unless an administrator has
/// raised it.
pub const LARGEST_DATAGRAM: usize = 256 * 1024;

/// A socket.
pub struct Socket {
    /// The other end of the program's file.
    end: OwnedFd,
    number: u32,
    /// The process that made it.
    pub process: u32,
    /// `SOCK_RAW` or `SOCK_DGRAM`.
    pub kind: i32,
    /// Its port id; 0 until it has one.
    pub port: u32,
    /// `NETLINK_CAP_ACK`
    pub capped: bool,
    /// `SO_RCVTIMEO`
    pub patience: Option<Duration>,
    /// For other families; opened when it is needed.
    pub kernel: Option<Kernel>,
    /// Messages that have not been answered yet.
    questions: VecDeque<Vec<u8>>,
    inbox: Inbox,
    /// The byte for `poll` lies in the program's end.
    announced: bool,
    waiting: VecDeque<Waiting>,
    /// The program has closed it.
    pub closed: bool,
}

/// A call that waits for something to read.
struct Waiting {
    call: Call,
    receive: Receive,
    until: Option<Instant>,
}

impl Socket {
    /// A socket that the program will have under this number, and the file that it is to be given.
    pub fn new(number: u32, process: u32, kind: i32) -> Result<(Socket, OwnedFd), Errno> {
        let (end, file) = socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        if kind & libc::SOCK_NONBLOCK != 0 {
            nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        }
        let socket = Socket {
            end,
            number,
            process,
            kind: kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC),
            port: 0,
            capped: false,
            patience: None,
            kernel: None,
            questions: VecDeque::new(),
            inbox: Inbox::default(),
            announced: false,
            waiting: VecDeque::new(),
            closed: false,
        };
        Ok((socket, file))
    }

    /// The end to wait on.
    pub fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// Takes in what the program has sent.
    pub fn read_questions(&mut self, buffer: &mut [u8]) {
        // A datagram of no bytes holds no message, and the end of the file reads the same; its flag tells them apart.
        while let Ok(len @ 1..) = recv(self.end.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            self.questions.extend(Message::all(&buffer[..len]).map(|message| message.bytes.to_vec()));
        }
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

    /// True if nothing is left to be done for a program that has closed it.
    pub fn is_done(&self) -> bool {
        self.closed && self.questions.is_empty()
    }

    /// Answers what can be answered now.
    pub fn answer_questions(&mut self, server: &mut Server, director: &mut impl Director, now: base::Instant) {
        while let Some(question) = self.questions.front() {
            let Some((message, _)) = Message::first(question) else { break };
            let from = Sender { port: self.port, process: self.process, capped: self.capped };
            match server.answer(&message, from, director, now) {
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

    /// Receives for a call, now or later.
    pub fn receive(
        &mut self,
        call: Call,
        receive: Receive,
        now: Instant,
        never_waits: impl FnOnce() -> bool,
    ) -> Option<Returns> {
        if self.inbox.is_empty() && (receive.is_impatient() || never_waits()) {
            return Some(Returns::Error(Errno::EAGAIN));
        }
        let until = self.patience.map(|patience| now + patience);
        self.waiting.push_back(Waiting { call, receive, until });
        None
    }

    /// Hands datagrams to the calls that wait for them.
    pub fn deliver(&mut self, listener: &Listener, processes: &mut Processes) {
        while !self.inbox.is_empty()
            && let Some(Waiting { call, receive, .. }) = self.waiting.pop_front()
        {
            if !listener.still_waits(&call) {
                continue;
            }
            let Some(datagram) = self.inbox.peek(receive.room()) else { return };
            let returns = receive.deliver(datagram).map_or_else(Returns::Error, Returns::Value);
            let takes = !receive.only_looks() && matches!(returns, Returns::Value(_));
            // Before the program goes on, and may `poll`.
            if takes && self.inbox.holds_one() {
                self.withdraw(call.thread, processes);
            }
            // A call that a signal has interrupted meanwhile is made again: the datagram stays.
            if listener.answer(&call, returns) && takes {
                self.inbox.take();
            }
        }
    }

    /// Ends calls that have waited long enough, and those of a socket that was closed meanwhile.
    pub fn expire(&mut self, listener: &Listener, now: Instant) {
        let (closed, errno) = (self.closed, if self.closed { Errno::EBADF } else { Errno::EAGAIN });
        self.waiting.retain(|waiting| {
            let over = closed || waiting.until.is_some_and(|until| until <= now);
            if over {
                listener.answer(&waiting.call, Returns::Error(errno));
            }
            !over
        });
    }

    /// When the first call has waited long enough.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|waiting| waiting.until).min()
    }

    /// True if there is something to read that `poll` does not tell of.
    pub fn is_unannounced(&self) -> bool {
        !self.announced && !self.inbox.is_empty()
    }

    /// Makes the program's end readable.
    pub fn announce(&mut self) {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        self.announced = send(self.end.as_raw_fd(), &[0], flags).is_ok();
    }

    /// Makes it unreadable: the byte is taken out of it.
    fn withdraw(&mut self, thread: u32, processes: &mut Processes) {
        if std::mem::take(&mut self.announced)
            && let Ok(file) = processes.file(thread, self.number)
        {
            _ = recv(file.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT);
        }
    }
}
