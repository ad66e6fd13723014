//! What a socket has been sent: datagrams, and lists that are cut to the buffer of whoever reads them.
//!
//! Never asks anybody; what is in it stays until it is taken.

use std::collections::VecDeque;

use crate::wire::netlink::Message;

/// Messages for a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// One datagram.
    Whole(Vec<u8>),
    /// A list, to be cut into datagrams.
    List(List),
}

/// A list: messages one behind the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List {
    bytes: Vec<u8>,
    sent: usize,
}

impl List {
    /// Of these messages.
    pub fn new(bytes: Vec<u8>) -> List {
        List { bytes, sent: 0 }
    }

    /// The next datagram: as many messages as there is room for, and one at least. None at the end.
    pub fn next(&mut self, room: usize) -> Option<Vec<u8>> {
        let rest = self.bytes.get(self.sent..)?;
        let mut len = 0;
        while let Some((_, one)) = Message::first(&rest[len..]) {
            if len > 0 && len + one > room {
                break;
            }
            len += one;
        }
        self.sent += len;
        (len > 0).then(|| rest[..len].to_vec())
    }
}

/// What a socket has been sent and not yet read.
#[derive(Default)]
pub struct Inbox {
    answers: VecDeque<Answer>,
    /// The datagram that is next, cut off the list that is first.
    next: Option<Vec<u8>>,
    /// The largest buffer that the program has offered so far.
    offered: usize,
}

impl Inbox {
    /// The kernel's bounds for a datagram of a list, whatever buffer is offered.
    const LEAST: usize = 3776;
    const MOST: usize = 32 * 1024;

    /// Appends what answers a question.
    pub fn push(&mut self, answers: impl IntoIterator<Item = Answer>) {
        self.answers.extend(answers);
    }

    /// True if there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.next.is_none() && self.answers.is_empty()
    }

    /// True if the datagram that was seen is the last one.
    pub fn holds_one(&self) -> bool {
        match self.answers.front() {
            None => true,
            Some(Answer::List(list)) => list.sent == list.bytes.len() && self.answers.len() == 1,
            Some(Answer::Whole(_)) => false,
        }
    }

    /// The next datagram, for a buffer of this size; it stays until it is taken.
    pub fn peek(&mut self, offered: usize) -> Option<&[u8]> {
        self.offered = self.offered.max(offered);
        let room = self.offered.clamp(Inbox::LEAST, Inbox::MOST);
        while self.next.is_none() {
            self.next = match self.answers.front_mut()? {
                Answer::Whole(bytes) => Some(std::mem::take(bytes)),
                Answer::List(list) => list.next(room),
            };
            // A list stays for its other datagrams.
            if self.next.is_none() || matches!(self.answers.front(), Some(Answer::Whole(_))) {
                self.answers.pop_front();
            }
        }
        self.next.as_deref()
    }

    /// Takes the next datagram, for a buffer of this size.
    pub fn pull(&mut self, offered: usize) -> Option<Vec<u8>> {
        self.peek(offered)?;
        let datagram = self.next.take();
        self.take();
        datagram
    }

    /// Takes the datagram that was seen.
    pub fn take(&mut self) {
        self.next = None;
        if let Some(Answer::List(list)) = self.answers.front()
            && list.sent == list.bytes.len()
        {
            self.answers.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::netlink::{Address, Writer};

    fn list(messages: u32) -> Answer {
        let mut writer = Writer::default();
        let to = Address { seq: 1, port: 1 };
        (0..messages)
            .for_each(|number| writer.message((1023, 2, to), (1, 1), |writer| writer.put(1, &[number as u8; 80])));
        writer.done(to);
        Answer::List(List::new(writer.into_bytes()))
    }

    /// The lengths of the datagrams that a reader with this buffer takes, and how many messages they hold.
    fn read(inbox: &mut Inbox, buffer: usize) -> (Vec<usize>, usize) {
        let (mut lengths, mut messages) = (Vec::new(), 0);
        while let Some(datagram) = inbox.peek(buffer).map(<[u8]>::to_vec) {
            assert_eq!(inbox.peek(0), Some(datagram.as_slice()), "a look takes nothing");
            let held: usize = Message::all(&datagram).map(|message| message.bytes.len()).sum();
            assert_eq!(held, datagram.len(), "only whole messages");
            messages += Message::all(&datagram).count();
            lengths.push(datagram.len());
            let is_last = inbox.holds_one();
            inbox.take();
            assert_eq!(is_last, inbox.is_empty());
        }
        assert!(inbox.is_empty());
        (lengths, messages)
    }

    #[test]
    fn a_list_is_cut_between_messages_to_what_the_reader_has_room_for() {
        for (buffer, longest) in [(0, 3776), (4096, 4096), (16_384, 16_384), (1 << 20, 32_768)] {
            let mut inbox = Inbox::default();
            inbox.push([list(1000), Answer::Whole(vec![20, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])]);
            let (lengths, messages) = read(&mut inbox, buffer);
            assert_eq!(messages, 1002, "buffer {buffer}");
            assert!(lengths.iter().all(|len| *len <= longest), "buffer {buffer}: {lengths:?}");
            assert!(lengths[0] > longest - 104, "buffer {buffer}: {lengths:?}");
        }
    }

    #[test]
    fn a_message_larger_than_the_buffer_comes_whole() {
        let mut writer = Writer::default();
        writer.message((1023, 2, Address { seq: 1, port: 1 }), (1, 1), |writer| writer.put(1, &[0; 60_000]));
        let mut inbox = Inbox::default();
        inbox.push([Answer::List(List::new(writer.into_bytes()))]);
        assert_eq!(read(&mut inbox, 100).1, 1);
    }
}
