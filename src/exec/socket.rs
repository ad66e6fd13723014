//! One netlink socket of the program: what it has sent, what waits to be read, who waits for something to read.
//!
//! The program's file is one end of a pair of sockets. What it sends arrives at the other end by itself. What it
//! receives is written into its memory, and a byte lies in its end while there is something to read, for `poll`; or
//! it is sent through the pair, where the program takes datagrams whatever the family of the sender's address is.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, recv, send};

use super::event::{About, Files};
use super::kernel::Kernel;
use super::numbers::Way;
use super::pair::send_all;
use super::processes::Processes;
use super::receive::Receive;
use super::stay::Stay;
use crate::genl::{Absent, Answer, Director, Inbox, Message, Outcome, Sender, Server};
use crate::io::seccomp::{Call, Listener, Returns};

/// Larger than any datagram that the program can send: the largest buffer of a socket, unless an administrator has
/// raised it.
pub const LARGEST_DATAGRAM: usize = 256 * 1024;
/// Datagrams of lists for a program that receives by itself: libnl's buffer, which it enlarges where needed.
const DIRECT_DATAGRAM: usize = 16 * 1024;
/// As many datagrams are sent by one call.
const AT_A_TIME: usize = 8;

/// A socket.
pub struct Socket {
    /// The other end of the program's file.
    end: OwnedFd,
    number: u32,
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
    inbox: Inbox,
    /// Datagrams that go through the pair next.
    outbox: Vec<Vec<u8>>,
    /// The byte for `poll` lies in the program's end.
    announced: bool,
    waiting: VecDeque<Waiting>,
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

/// A call that waits for something to read.
struct Waiting {
    call: Call,
    receive: Receive,
    until: Option<Instant>,
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

    /// Hands datagrams to the program.
    pub fn deliver(&mut self, listener: &Listener, processes: &mut Processes) {
        match self.way {
            Way::Answered => self.deliver_to_calls(listener, processes),
            Way::Direct => self.deliver_through_pair(),
        }
    }

    /// Several datagrams at a time: the program wakes up for all of them.
    fn deliver_through_pair(&mut self) {
        self.has_room = true;
        loop {
            while self.outbox.len() < AT_A_TIME
                && let Some(datagram) = self.inbox.pull(DIRECT_DATAGRAM)
            {
                self.outbox.push(datagram);
            }
            if self.outbox.is_empty() {
                return;
            }
            match send_all(&self.end, &self.outbox) {
                Ok(sent) => drop(self.outbox.drain(..sent)),
                Err(Errno::EAGAIN) => {
                    self.has_room = false;
                    return;
                }
                // Its end is closed: nobody reads them.
                Err(_) => self.outbox.clear(),
            }
        }
    }

    /// To the calls that wait for them.
    fn deliver_to_calls(&mut self, listener: &Listener, processes: &mut Processes) {
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
        self.way == Way::Answered && !self.announced && !self.inbox.is_empty()
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

#[cfg(test)]
mod tests {
    use nix::sys::socket::{UnixAddr, recvfrom};

    use super::super::pair::Names;
    use super::*;
    use crate::genl::List;

    /// So many messages of 1,000 bytes, each with its number.
    fn list(messages: u32) -> Vec<u8> {
        let one = |seq: u32| {
            let header = [1000_u32.to_ne_bytes(), [0xff, 3, 2, 0], seq.to_ne_bytes(), [0; 4]];
            let mut message = header.as_flattened().to_vec();
            message.resize(1000, 7);
            message
        };
        (0..messages).flat_map(one).collect()
    }

    #[test]
    fn a_program_that_receives_by_itself_gets_everything_from_an_address_like_the_kernels() {
        let (end, file) = Names::drawn().unwrap().pair(Way::Direct, libc::SOCK_RAW).unwrap();
        let mut socket = Socket::new(900, Way::Direct, 1, libc::SOCK_RAW, end);
        let (whole, mut read, mut buffer) = (list(3000), Vec::new(), vec![0; LARGEST_DATAGRAM]);
        socket.inbox.push([Answer::List(List::new(whole.clone())), Answer::Whole(list(1))]);
        socket.deliver_through_pair();
        assert!(!socket.has_room, "the program's end takes 3 MB at once");
        assert!(!socket.is_unannounced(), "a byte that nobody takes out again");
        while read.len() < whole.len() + 1000 {
            match recvfrom::<UnixAddr>(file.as_raw_fd(), &mut buffer) {
                Ok((len, from)) => {
                    assert!(len <= DIRECT_DATAGRAM && len % 1000 == 0, "a datagram of {len} bytes");
                    let name = from.unwrap().as_abstract().unwrap().to_vec();
                    assert_eq!((name.len(), &name[1..5]), (9, &[0; 4][..]), "12 bytes with the family, port id 0");
                    read.extend_from_slice(&buffer[..len]);
                }
                Err(errno) => panic!("{errno}"),
            }
            socket.deliver_through_pair();
        }
        assert!(socket.has_room && socket.outbox.is_empty() && !socket.has_answers());
        assert!(read == [whole, list(1)].concat(), "in order, each once");

        drop(file);
        socket.inbox.push([Answer::Whole(list(1))]);
        socket.deliver_through_pair();
        assert!(socket.outbox.is_empty() && !socket.has_answers(), "what nobody reads does not stay");
    }
}
