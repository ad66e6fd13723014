//! Netlink messages as bytes: headers, attributes, and the order in which messages follow each other.
//!
//! Everything is aligned to four bytes and in the machine's own byte order. Whatever the bytes are, nothing here panics.

use nix::errno::Errno;

pub use super::attributes::Attributes;
use super::attributes::{ATTRIBUTE_HEADER, aligned, half, word};

/// A message's flags (`linux/netlink.h`).
pub mod flag {
    /// Every question has it.
    pub const REQUEST: u16 = 0x01;
    /// One of several messages; the last one is DONE.
    pub const MULTI: u16 = 0x02;
    /// The sender wants to hear of success too.
    pub const ACK: u16 = 0x04;
    /// A whole list is asked for (`ROOT | MATCH`).
    pub const DUMP: u16 = 0x300;
    /// What is there already is an error.
    pub const EXCL: u16 = 0x200;
    /// What is not there yet is made.
    pub const CREATE: u16 = 0x400;
    /// An answer repeats only the header of what it answers.
    pub const CAPPED: u16 = 0x100;
}

/// Kinds of message that every family has.
pub mod kind {
    /// An error, or with error 0 an acknowledgement.
    pub const ERROR: u16 = 2;
    /// The end of a list.
    pub const DONE: u16 = 3;
}

/// Length of a netlink header.
pub const HEADER: usize = 16;
/// Where the sender's number stands in it, and the port id behind that.
const SEQ: usize = 8;
/// Length of the header of generic netlink behind it.
pub const GENERIC_HEADER: usize = 4;
/// A message that was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// All of it, header included, without padding behind it.
    pub bytes: &'a [u8],
    /// What it is, or the family it is for.
    pub kind: u16,
    /// `flag`
    pub flags: u16,
    /// The sender's number for it.
    pub seq: u32,
}

impl<'a> Message<'a> {
    /// The first message of these bytes, and how many bytes it takes up; none if they hold no whole one.
    pub fn first(bytes: &'a [u8]) -> Option<(Message<'a>, usize)> {
        let len = word(bytes, 0)? as usize;
        if len < HEADER || len > bytes.len() {
            return None;
        }
        let (kind, flags, seq) = (half(bytes, 4)?, half(bytes, 6)?, word(bytes, 8)?);
        let message = Message { bytes: &bytes[..len], kind, flags, seq };
        Some((message, aligned(len).min(bytes.len())))
    }

    /// All messages of a datagram; what follows the last whole one is ignored, as the kernel does.
    pub fn all(mut bytes: &'a [u8]) -> impl Iterator<Item = Message<'a>> {
        std::iter::from_fn(move || {
            let (message, len) = Message::first(bytes)?;
            bytes = &bytes[len..];
            Some(message)
        })
    }

    /// The command of generic netlink; none if the message is too short for one.
    pub fn command(&self) -> Option<u8> {
        self.bytes.get(HEADER + GENERIC_HEADER - 1).and(self.bytes.get(HEADER)).copied()
    }

    /// The attributes behind the header of generic netlink.
    pub fn attributes(&self) -> Attributes<'a> {
        self.attributes_behind(GENERIC_HEADER)
    }

    /// The attributes behind a family's header of that length.
    pub fn attributes_behind(&self, header: usize) -> Attributes<'a> {
        Attributes::read(self.bytes.get(HEADER + header..).unwrap_or(&[]))
    }

    /// A family's header, or the first so many bytes of it; none if the message is too short.
    pub fn header<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.bytes.get(HEADER..)?.first_chunk()
    }

    /// True for all flags of a mask.
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }
}

/// To whom an answer goes: the sender's number for its question, and the sender's port id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// The question's number.
    pub seq: u32,
    /// Port id of the socket that asked.
    pub port: u32,
}

/// Messages that are written one behind the other.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// A message of generic netlink; `fill` writes its attributes.
    pub fn message(
        &mut self,
        (kind, flags, to): (u16, u16, Address),
        (command, version): (u8, u8),
        fill: impl FnOnce(&mut Writer),
    ) {
        self.message_of((kind, flags, to), &[command, version, 0, 0], fill);
    }

    /// A message of any family; `fill` writes its attributes behind the family's header.
    pub fn message_of(
        &mut self,
        (kind, flags, to): (u16, u16, Address),
        header: &[u8],
        fill: impl FnOnce(&mut Writer),
    ) {
        self.raw(kind, flags, to, |writer| {
            writer.bytes.extend(header);
            writer.pad();
            fill(writer);
        });
    }

    /// Messages that were written before, now to this address.
    pub fn forward(&mut self, messages: &[u8], to: Address) {
        let mut at = self.bytes.len();
        self.bytes.extend_from_slice(messages);
        while let Some((_, len)) = Message::first(&self.bytes[at..]) {
            let address = [to.seq.to_ne_bytes(), to.port.to_ne_bytes()];
            self.bytes[at + SEQ..at + HEADER].copy_from_slice(address.as_flattened());
            at += len;
        }
    }

    /// The end of a list.
    pub fn done(&mut self, to: Address) {
        self.raw(kind::DONE, flag::MULTI, to, |writer| writer.bytes.extend([0; 4]));
    }

    /// What became of a question: an error repeats it, an acknowledgement only its header.
    pub fn verdict(&mut self, question: &Message, error: Option<Errno>, port: u32, capped: bool) {
        let to = Address { seq: question.seq, port };
        let code = error.map_or(0, |errno| -(errno as i32));
        let whole = error.is_some() && !capped;
        let (repeated, flags) = if whole { (question.bytes, 0) } else { (&question.bytes[..HEADER], flag::CAPPED) };
        self.raw(kind::ERROR, flags, to, |writer| {
            writer.bytes.extend(code.to_ne_bytes());
            writer.bytes.extend(repeated);
        });
    }

    fn raw(&mut self, kind: u16, flags: u16, to: Address, fill: impl FnOnce(&mut Writer)) {
        let start = self.bytes.len();
        let [k, f] = [kind.to_ne_bytes(), flags.to_ne_bytes()];
        let kind_and_flags = [k[0], k[1], f[0], f[1]];
        let header = [[0; 4], kind_and_flags, to.seq.to_ne_bytes(), to.port.to_ne_bytes()];
        self.bytes.extend_from_slice(header.as_flattened());
        fill(self);
        let len = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
        self.pad();
    }

    /// An attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let len = (ATTRIBUTE_HEADER + value.len()) as u16;
        self.bytes.extend_from_slice([len.to_ne_bytes(), kind.to_ne_bytes()].as_flattened());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// An attribute of one byte.
    pub fn put_byte(&mut self, kind: u16, value: u8) {
        self.put(kind, &[value]);
    }

    /// An attribute of two bytes.
    pub fn put_half(&mut self, kind: u16, value: u16) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// An attribute of four bytes.
    pub fn put_word(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// A port, in network order.
    pub fn put_port(&mut self, kind: u16, value: u16) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Text with a zero behind it.
    pub fn put_text(&mut self, kind: u16, text: &str) {
        self.nest(kind, |writer| {
            writer.bytes.extend_from_slice(text.as_bytes());
            writer.bytes.push(0);
        });
    }

    /// An attribute made of attributes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Writer)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice([[0; 2], kind.to_ne_bytes()].as_flattened());
        fill(self);
        let len = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::attributes::ATTRIBUTES;
    use super::*;

    const TO: Address = Address { seq: 7, port: 42 };

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::default();
        writer.message((1023, flag::REQUEST, TO), (5, 1), |writer| {
            writer.nest(1, |writer| {
                writer.put_text(6, "wrr");
                writer.put_port(4, 0x1234);
            });
            writer.put_byte(2, 9);
        });
        writer.done(TO);
        let bytes = writer.into_bytes();
        let messages: Vec<Message> = Message::all(&bytes).collect();

        assert_eq!(messages.iter().map(|it| (it.kind, it.seq)).collect::<Vec<_>>(), [(1023, 7), (kind::DONE, 7)]);
        assert_eq!(messages[0].command(), Some(5));
        let service = messages[0].attributes().nested(1).unwrap();
        assert_eq!(service.text(6, 15), Ok(Some("wrr".into())));
        assert_eq!(service.port(4), Ok(Some(0x1234)));
        assert_eq!(messages[0].attributes().byte(2), Ok(Some(9)));
        assert_eq!(messages[0].attributes().byte(3), Ok(None));
    }

    #[test]
    fn what_is_too_short_too_long_or_without_an_end_is_refused() {
        let mut writer = Writer::default();
        writer.put(1, &[1]);
        writer.put(2, b"no end");
        writer.put(3, &[1; 17]);
        let bytes = writer.into_bytes();
        let all = Attributes::read(&bytes);
        assert_eq!(all.half(1), Err(Errno::ERANGE));
        assert_eq!(all.text(2, 15), Err(Errno::EINVAL));
        assert_eq!(all.padded::<16>(3), Err(Errno::ERANGE));
        assert_eq!(all.padded::<16>(1).unwrap().unwrap()[..2], [1, 0]);
    }

    #[test]
    fn lengths_that_lie_end_the_list_and_nothing_else() {
        let mut rng = crate::base::Rng::seeded(17);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..rng.below(64)).map(|_| (rng.below(40)) as u8).collect();
            let seen: usize = Message::all(&bytes).map(|message| message.bytes.len()).sum();
            assert!(seen <= bytes.len());
            (0..ATTRIBUTES as u16).filter_map(|kind| Attributes::read(&bytes).get(kind)).for_each(|value| {
                assert!(value.len() < bytes.len());
            });
        }
    }
}
