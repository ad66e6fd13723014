//! What a socket of the program is sent, and how it gets there.
//!
//! It is written into the memory of a call that receives, and a byte lies in the program's end while there is something to
//! read, for `poll`; or it is sent through the pair, where the program takes datagrams whatever the family of the sender's
//! address is.

use std::os::fd::AsRawFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use super::numbers::Way;
use super::pair::send_all;
use super::processes::Processes;
use super::receive::{Receive, Waiting};
use super::socket::Socket;
use crate::io::seccomp::{Call, Listener, Returns};

/// Datagrams of lists for a program that receives by itself: libnl's buffer, which it enlarges where needed.
const DIRECT_DATAGRAM: usize = 16 * 1024;
/// As many datagrams are sent by one call.
const AT_A_TIME: usize = 8;

impl Socket {
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
    use super::super::socket::LARGEST_DATAGRAM;
    use super::*;
    use crate::genl::{Answer, List};

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
