//! SIP over TCP: where messages begin and end in a stream (RFC 3261 18.3), and where its bytes stand once messages have become
//! longer or shorter.
//!
//! ```text
//! whole      a message is read, and goes on as one piece; what stands for it is acknowledged as a whole
//! part       it waits, and is not acknowledged, so that its sender sends it again if it is lost here
//! unread     what is not SIP, is too long, or is sent again without its end: it goes on as it is
//! ```
//! Never sees a packet.

use super::sip_message::body_of;
use crate::base::DropReason;

/// Longer messages go on unread: senders that begin slowly must be able to send this much at once.
const LONGEST: usize = 8192;
/// Pieces that may be under way.
const MOST: usize = 64;

/// A piece of the stream that has gone on and is not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// Sequence number of its first byte, as the sender counts.
    pub(super) at: u32,
    pub(super) len: u32,
    /// How much longer it has become; `None` if it went on as it was.
    pub(super) longer: Option<i32>,
}

impl Piece {
    fn end(&self) -> u32 {
        self.at.wrapping_add(self.len)
    }

    fn longer(&self) -> i32 {
        self.longer.unwrap_or(0)
    }
}

/// One direction of a conn.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Stream {
    /// The first byte that has not gone on.
    pub(super) next: Option<u32>,
    /// How much longer all that was acknowledged has become.
    pub(super) longer: i32,
    pub(super) under_way: Vec<Piece>,
    /// The part of a message, from `next` on.
    pub(super) part: Vec<u8>,
    /// So much of what follows belongs to a message that goes on unread.
    pub(super) unread: u32,
}

/// What goes on of a segment.
pub(super) struct Onward {
    /// The number of its first byte, as the sender counts.
    pub(super) at: u32,
    /// The number behind it.
    pub(super) end: u32,
    pub(super) bytes: Vec<u8>,
}

/// Says what stands for a message, if it changes.
pub(super) type Read<'a> = &'a mut dyn FnMut(&[u8]) -> Result<Option<Vec<u8>>, DropReason>;

/// What goes on next: its length, and what stands for it, if anything does. `None` if it waits.
type Next = Option<(usize, Option<Vec<u8>>)>;

/// What a stream begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Begins {
    /// A message of so many bytes.
    Whole(usize),
    /// A message that goes on; of so many bytes, if that is known.
    Part(Option<usize>),
    /// Something else.
    Strange,
}

/// `a` is not before `b`; sequence numbers wrap.
fn reaches(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) >= 0
}

#[inline(never)]
fn begins(bytes: &[u8]) -> Begins {
    let is_pong = bytes.starts_with(b"\r\n");
    if is_pong || bytes == b"\r" {
        return if is_pong { Begins::Whole(2) } else { Begins::Part(None) };
    }
    let Some(line) = bytes.split_inclusive(|byte| *byte == b'\n').next().filter(|line| line.ends_with(b"\n")) else {
        let is_text = bytes.iter().all(|byte| (b' '..=b'~').contains(byte) || *byte == b'\r');
        return if is_text { Begins::Part(None) } else { Begins::Strange };
    };
    if !line.starts_with(b"SIP/2.0 ") && !line.trim_ascii_end().ends_with(b" SIP/2.0") {
        return Begins::Strange;
    }
    match body_of(bytes) {
        None => Begins::Part(None),
        Some((_, None)) => Begins::Strange,
        Some((head, Some(body))) => match head.saturating_add(body) {
            len if len <= bytes.len() => Begins::Whole(len),
            len => Begins::Part(Some(len)),
        },
    }
}

impl Stream {
    /// By how much a number of the sender moves.
    #[inline(never)]
    pub(super) fn of_sequence(&self, number: u32) -> i32 {
        let passed = self.under_way.iter().filter(|piece| reaches(number, piece.end()));
        passed.fold(self.longer, |longer, piece| longer + piece.longer())
    }

    /// The number of a segment without data: what waits has not been sent.
    pub(super) fn bare(&self, number: u32) -> u32 {
        self.next.filter(|next| reaches(number, *next)).unwrap_or(number)
    }

    /// By how much the other end's acknowledgement moves: of a piece that was changed, nothing or all is acknowledged.
    #[inline(never)]
    pub(super) fn of_acknowledged(&self, number: u32) -> i32 {
        let mut longer = self.longer;
        for piece in &self.under_way {
            let begin = piece.at.wrapping_add_signed(longer);
            let end = piece.end().wrapping_add_signed(longer + piece.longer());
            if reaches(number, end) {
                longer += piece.longer();
                continue;
            }
            let is_inside = reaches(number, begin) && piece.longer.is_some();
            return if is_inside { piece.at.wrapping_sub(number) as i32 } else { -longer };
        }
        -longer
    }

    /// The sender is told that the other end has all before this.
    pub(super) fn acknowledged(&mut self, number: u32) {
        while let Some(piece) = self.under_way.first().copied().filter(|piece| reaches(number, piece.end())) {
            self.longer += piece.longer();
            self.under_way.remove(0);
        }
        if let Some(piece) =
            self.under_way.first_mut().filter(|piece| piece.longer.is_none() && is_inside(piece, number))
        {
            (piece.at, piece.len) = (number, piece.end().wrapping_sub(number));
        }
    }

    /// Data of the sender; `is_end` if nothing follows.
    #[inline(never)]
    pub(super) fn take(&mut self, sequence: u32, data: &[u8], is_end: bool, read: Read) -> Result<Onward, DropReason> {
        let next = *self.next.get_or_insert(sequence);
        let ahead = sequence.wrapping_sub(next) as i32;
        let mut at = if ahead > 0 { next } else { sequence };
        let is_joined = ahead > 0 && ahead as usize <= self.part.len();
        if (ahead > 0 && !is_joined) || (ahead < 0 && !self.is_known(sequence, data.len())) {
            return Err(DropReason::SipOrder);
        }
        // Its end does not come before it is acknowledged.
        let is_all = is_end || (ahead == 0 && !self.part.is_empty() && data.len() <= self.part.len());
        let bytes = if is_joined { [&self.part[..ahead as usize], data].concat() } else { data.to_vec() };
        let mut onward = Onward { at, end: at, bytes: Vec::with_capacity(bytes.len() + 128) };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Some((len, text)) = self.one(at, rest, is_all, read)? else { break };
            let longer = text.as_ref().map(|text| text.len() as i32 - len as i32);
            self.note(Piece { at, len: len as u32, longer })?;
            onward.bytes.extend_from_slice(text.as_deref().unwrap_or(&rest[..len]));
            (at, rest) = (at.wrapping_add(len as u32), &rest[len..]);
            onward.end = at;
        }
        Ok(onward)
    }

    /// True for a place from which its sender may send again.
    fn is_known(&self, at: u32, len: usize) -> bool {
        let is_over = self.under_way.first().map_or(self.next, |piece| Some(piece.at));
        let is_begun = |piece: &Piece| piece.at == at || (piece.longer.is_none() && is_inside(piece, at));
        is_over.is_some_and(|over| reaches(over, at.wrapping_add(len as u32))) || self.under_way.iter().any(is_begun)
    }

    /// What goes on next, from this place on.
    #[inline(never)]
    fn one(&mut self, at: u32, rest: &[u8], is_all: bool, read: Read) -> Result<Next, DropReason> {
        let next = self.next.unwrap_or(at);
        if !reaches(at, next) {
            return self.again(at, rest, read);
        }
        self.part.clear();
        if self.unread > 0 {
            let len = rest.len().min(self.unread as usize);
            self.unread -= len as u32;
            return Ok(Some((len, None)));
        }
        match begins(rest) {
            Begins::Whole(len) if len <= LONGEST => Ok(Some((len, read(&rest[..len])?))),
            Begins::Whole(len) => Ok(Some((len, None))),
            Begins::Part(len) if is_all || rest.len() > LONGEST || len.is_some_and(|len| len > LONGEST) => {
                self.unread = len.map_or(0, |len| (len - rest.len()) as u32);
                Ok(Some((rest.len(), None)))
            }
            Begins::Part(_) => {
                self.part = rest.to_vec();
                Ok(None)
            }
            Begins::Strange => Ok(Some((rest.len(), None))),
        }
    }

    /// The same of what has gone on already: as it went then.
    #[inline(never)]
    fn again(&mut self, at: u32, rest: &[u8], read: Read) -> Result<Next, DropReason> {
        let is_its = |piece: &&Piece| is_inside(piece, at);
        let Some(piece) = self.under_way.iter().find(is_its).copied() else {
            // It was acknowledged: nobody needs it.
            return Ok(None);
        };
        let len = piece.end().wrapping_sub(at) as usize;
        match piece.longer {
            None => Ok(Some((len.min(rest.len()), None))),
            Some(_) if piece.at != at || len > rest.len() => Ok(None),
            Some(longer) => {
                let text = read(&rest[..len])?.unwrap_or_else(|| rest[..len].to_vec());
                let is_same = text.len() as i32 == len as i32 + longer;
                if is_same { Ok(Some((len, Some(text)))) } else { Err(DropReason::SipOrder) }
            }
        }
    }

    /// A piece goes on.
    #[inline(never)]
    fn note(&mut self, piece: Piece) -> Result<(), DropReason> {
        if self.next.is_some_and(|next| !reaches(piece.at, next)) {
            return Ok(());
        }
        let is_full = self.under_way.len() == MOST;
        match self.under_way.last_mut() {
            Some(last) if last.longer.is_none() && piece.longer.is_none() && last.end() == piece.at => {
                last.len += piece.len;
            }
            _ if is_full => return Err(DropReason::SipOrder),
            _ => self.under_way.push(piece),
        }
        self.next = Some(piece.end());
        Ok(())
    }
}

fn is_inside(piece: &Piece, at: u32) -> bool {
    reaches(at, piece.at) && !reaches(at, piece.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn message(rng: &mut Rng, number: usize) -> Vec<u8> {
        let body = "x".repeat(rng.below(300) as usize);
        match rng.below(6) {
            0 => b"\r\n".to_vec(),
            1 => format!("SIP/2.0 200 OK\r\nCSeq: {number} A\r\nl: {}\r\n\r\n{body}", body.len()).into_bytes(),
            kind => {
                format!("M{kind} sip:{number} SIP/2.0\r\nContent-Length:  {}\r\n\r\n{body}", body.len()).into_bytes()
            }
        }
    }

    /// Messages of one kind become longer, of others shorter, or stay.
    fn reads(message: &[u8]) -> Option<Vec<u8>> {
        match message[..2] {
            [b'M', b'2'] => Some([&message[..message.len() - 1], b"and much longer than before"].concat()),
            [b'M', b'3'] => Some([b"M", &message[message.len() / 2..]].concat()),
            [b'M', b'4'] => Some(message.to_ascii_uppercase()),
            _ => None,
        }
    }

    fn onward(stream: &mut Stream, at: u32, data: &[u8]) -> Vec<u8> {
        stream.take(at, data, false, &mut |message| Ok(reads(message))).unwrap().bytes
    }

    #[test]
    fn a_stream_begins_with_a_message_or_a_part_or_something_else() {
        let whole = b"INVITE sip:a SIP/2.0\r\nl: 3\r\n\r\nabc";
        assert_eq!(begins(whole), Begins::Whole(whole.len()));
        assert_eq!(begins(&[whole, &b"SIP"[..]].concat()), Begins::Whole(whole.len()));
        assert_eq!(begins(&whole[..whole.len() - 1]), Begins::Part(Some(whole.len())));
        for len in 1..whole.len() - 3 {
            assert_eq!(begins(&whole[..len]), Begins::Part(None), "{len}");
        }
        assert_eq!((begins(b"\r\nX"), begins(b"\r")), (Begins::Whole(2), Begins::Part(None)));
        assert_eq!(begins(b"A sip:a SIP/2.0\r\nTo: b\r\n\r\n"), Begins::Strange, "no length");
        for strange in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01", b"\n"] {
            assert_eq!(begins(strange), Begins::Strange);
        }
        assert_eq!(begins(b"A SIP/2.0\r\nl: 99999999999999999999\r\n\r\n"), Begins::Strange);
    }

    #[test]
    fn any_segmentation_without_loss_has_every_message_read() {
        for seed in 0..500 {
            let mut rng = Rng::seeded(seed);
            let messages: Vec<Vec<u8>> = (0..30).map(|number| message(&mut rng, number)).collect();
            let (sent, first) = (messages.concat(), rng.below(1 << 32) as u32);
            let wanted: Vec<u8> = messages.iter().flat_map(|one| reads(one).unwrap_or_else(|| one.clone())).collect();
            let (mut stream, mut at, mut got) = (Stream::default(), 0, Vec::new());
            while at < sent.len() {
                let len = (1 + rng.below(900) as usize).min(sent.len() - at);
                let place = first.wrapping_add(at as u32);
                let went = stream.take(place, &sent[at..at + len], false, &mut |one| Ok(reads(one))).unwrap();
                let moved = went.at.wrapping_add_signed(stream.of_sequence(went.at));
                assert_eq!(moved.wrapping_sub(first) as usize, got.len(), "seed {seed}");
                got.extend_from_slice(&went.bytes);
                at += len;
                // All that is there is acknowledged.
                let number = first.wrapping_add(got.len() as u32);
                let told = number.wrapping_add_signed(stream.of_acknowledged(number));
                assert_eq!(told, went.end);
                stream.acknowledged(told);
            }
            assert_eq!(got, wanted, "seed {seed}");
            assert!(stream.under_way.is_empty());
        }
    }

    /// A receiver: what it has, by place, and how much of it in order.
    #[derive(Default)]
    struct Received(Vec<Option<u8>>);

    impl Received {
        fn take(&mut self, at: usize, bytes: &[u8]) {
            self.0.resize(self.0.len().max(at + bytes.len()), None);
            for (byte, place) in bytes.iter().zip(&mut self.0[at..]) {
                assert!(place.is_none_or(|known| known == *byte), "another byte at a place that was filled");
                *place = Some(*byte);
            }
        }

        fn in_order(&self) -> usize {
            self.0.iter().position(Option::is_none).unwrap_or(self.0.len())
        }
    }

    #[test]
    fn a_stream_arrives_whatever_is_lost_and_sent_again() {
        for seed in 0..500 {
            let mut rng = Rng::seeded(seed);
            let messages: Vec<Vec<u8>> = (0..20).map(|number| message(&mut rng, number)).collect();
            let (sent, first) = (messages.concat(), rng.below(1 << 32) as u32);
            let (mut stream, mut received) = (Stream::default(), Received::default());
            stream.next = Some(first);
            let (mut known, mut next, mut rounds) = (0, 0, 0);
            while known < sent.len() {
                rounds += 1;
                assert!(rounds < 20_000, "seed {seed}: nothing moves any more, {known} of {}", sent.len());
                // What is not acknowledged is sent again, now and then.
                let at = if rng.below(4) == 0 || next >= sent.len() { known } else { next };
                let len = (1 + rng.below(900) as usize).min(sent.len() - at);
                next = next.max(at + len);
                let (place, is_end) = (first.wrapping_add(at as u32), at + len == sent.len());
                let lost = rng.below(5) == 0;
                if !lost && let Ok(went) = stream.take(place, &sent[at..at + len], is_end, &mut |one| Ok(reads(one))) {
                    let moved = went.at.wrapping_add_signed(stream.of_sequence(went.at));
                    let mut at = moved.wrapping_sub(first) as usize;
                    // It is cut behind, and parts are lost.
                    for part in went.bytes.chunks(1 + rng.below(600) as usize) {
                        if rng.below(6) != 0 {
                            received.take(at, part);
                        }
                        at += part.len();
                    }
                }
                if rng.below(3) != 0 {
                    let number = first.wrapping_add(received.in_order() as u32);
                    let told = number.wrapping_add_signed(stream.of_acknowledged(number));
                    stream.acknowledged(told);
                    let told = told.wrapping_sub(first) as usize;
                    assert!(
                        (known..=next).contains(&told),
                        "seed {seed}: {told} after {known}, of {next} that were sent"
                    );
                    known = told;
                }
            }
            // Each message as it was read, or as it was sent where its sender has waited in vain.
            let got: Vec<u8> = received.0.into_iter().flatten().collect();
            let mut rest = &got[..];
            for one in &messages {
                let read = reads(one).unwrap_or_else(|| one.clone());
                rest = rest.strip_prefix(&read[..]).or_else(|| rest.strip_prefix(&one[..])).expect("a message");
            }
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn what_is_not_sip_or_too_long_goes_on_as_it_is() {
        let mut stream = Stream::default();
        let tls = vec![0x16; 100_000];
        assert_eq!(onward(&mut stream, 1, &tls), tls);
        assert_eq!(onward(&mut stream, 100_001, &tls), tls);
        assert_eq!(stream.under_way.len(), 1, "one piece");
        assert_eq!(stream.of_acknowledged(77_777), 0, "any part of it may be acknowledged");
        stream.acknowledged(77_777);
        assert_eq!(onward(&mut stream, 77_777, &tls[..9]), tls[..9]);
        // A body without an end that anybody waits for; what follows is read again.
        let mut stream = Stream::default();
        let head = b"M2 sip:a SIP/2.0\r\nl: 10000\r\n\r\nabc";
        assert_eq!(onward(&mut stream, 1, head), head);
        let rest = [&[b'x'; 9997][..], b"\r\n", b"M4 a SIP/2.0\r\nl:0\r\n\r\n"].concat();
        let went = onward(&mut stream, 1 + head.len() as u32, &rest);
        assert!(went.ends_with(b"x\r\nM4 A SIP/2.0\r\nL:0\r\n\r\n"), "{}", went.len());
    }

    #[test]
    fn a_part_waits_until_its_sender_repeats_it() {
        let (whole, mut stream) = (b"M4 a SIP/2.0\r\nl:0\r\n\r\n", Stream::default());
        assert_eq!(onward(&mut stream, 1, &whole[..9]), b"");
        assert_eq!((stream.bare(10), stream.of_sequence(1), stream.of_acknowledged(1)), (1, 0, 0));
        assert!(stream.take(15, b"x", false, &mut |_| Ok(None)).is_err(), "it has overtaken another");
        assert_eq!(onward(&mut stream, 10, &whole[9..]), whole.to_ascii_uppercase());
        let next = 1 + whole.len() as u32;
        assert_eq!(onward(&mut stream, next, &whole[..9]), b"");
        assert_eq!(onward(&mut stream, next, &whole[..9]), whole[..9], "nothing comes, so nothing is awaited");
    }

    #[test]
    fn any_bytes_in_any_order_are_taken_or_refused() {
        let words: [&[u8]; 8] = [b"A SIP/2.0\r\n", b"l: 4", b"\r\n", b"\r\n\r\n", b"abcd", b"\0", b"SIP/2.0 ", b"M2"];
        for seed in 0..2000 {
            let (mut rng, mut stream) = (Rng::seeded(seed), Stream::default());
            for _ in 0..60 {
                let text: Vec<u8> = (0..rng.below(9)).flat_map(|_| words[rng.below(8) as usize].to_vec()).collect();
                let at = (rng.below(80) as u32).wrapping_sub(40);
                let is_end = rng.below(9) == 0;
                if !text.is_empty() {
                    let _ = stream.take(at, &text, is_end, &mut |one| Ok(reads(one)));
                }
                let number = (rng.below(300) as u32).wrapping_sub(100);
                let told = number.wrapping_add_signed(stream.of_acknowledged(number));
                stream.acknowledged(told);
            }
        }
    }
}
