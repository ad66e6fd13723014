//! The links as the core's way out: frames are gathered and written together, in their order.
//!
//! What the loop has the director do with frames is called here, not in `daemon`: the compiler makes generic functions at the
//! level of the crate that calls them, and the packet path is to be made for speed. Never keeps a frame beyond the turn of
//! the loop that made it: whoever had the core work, flushes.

use std::io;
use std::mem::swap;

use crate::base::{DropReason, Instant, LinkId};
use crate::director::{Batch, Director, OwnProbe};
use crate::io::{Link, ReadOutcome, since_1970};
use crate::router::{Egress, Turn};
use crate::wire::PacketBuf;
#[cfg(any(test, feature = "testing"))]
use crate::wire::{Framing, header_end};

/// Frames read from one link before the others have their turn.
const BUDGET: usize = 256;
/// Frames that are gathered at most: a batch, and some that it gave rise to.
const GATHERED: usize = 32;

/// Links, and frames on their way out.
pub struct Wires {
    /// The links, by their numbers.
    pub links: Vec<Link>,
    outbox: Outbox,
    /// The kernel refused a frame as invalid; said once.
    told: bool,
}

impl Wires {
    /// Nothing gathered.
    pub fn new(links: Vec<Link>) -> Wires {
        Wires { links, outbox: Outbox::new(), told: false }
    }

    /// Writes what was gathered. The ledger has it as sent already: what the kernel does not take is put right there.
    #[inline]
    pub fn flush(turn: &mut Turn<Wires>) {
        turn.out.write();
        while let Some(reason) = turn.out.outbox.lost.pop() {
            turn.unsent(reason);
        }
    }

    fn write(&mut self) {
        let Wires { links, outbox, told } = self;
        outbox.empty(|link, frame| write(&mut links[link.index()], frame, told));
    }
}

impl Egress for Wires {
    #[inline]
    fn transmit(&mut self, link: LinkId, frame: &mut PacketBuf) -> Result<(), DropReason> {
        if self.outbox.is_full() {
            self.write();
        }
        // Here, where all is near, not between two writes.
        self.links[link.index()].enclose(frame);
        self.outbox.put(link, frame);
        Ok(())
    }
}

fn write(link: &mut Link, frame: &PacketBuf, told: &mut bool) -> Result<(), DropReason> {
    let written = link.write(frame);
    if let Err(error) = written
        && error.drop_reason() == DropReason::DeviceRefused
        && !*told
    {
        *told = true;
        log::error!("{}: {error}; this is a defect of tapvs, please report it", link.name());
    }
    written.map_err(DropReason::from)
}

/// The time of what comes next; where other directors are told it, by the host's clock too.
pub fn begin(director: &Director, now: Instant, turn: &mut Turn<Wires>) {
    turn.now = now;
    if director.sync.has_key() {
        turn.clock = since_1970();
    }
}

/// Reads and handles frames of a link until there are none (false) or the budget is used up (true). What is to outlive this
/// process is written down by `keep` before anybody is sent what follows from it.
#[inline(never)]
pub fn drain(
    director: &mut Director,
    batch: &mut Batch,
    link: LinkId,
    turn: &mut Turn<Wires>,
    keep: &mut dyn FnMut(&mut Director),
) -> io::Result<bool> {
    let mut handled = 0;
    while handled < BUDGET {
        // What was read before an error is handled too.
        let more = read(&mut turn.out.links[link.index()], batch);
        handled += batch.handle(director, link, turn);
        keep(director);
        Wires::flush(turn);
        if !more? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Handles a batch like `drain`, for benches: what they measure is made at the level of what runs.
#[cfg(any(test, feature = "testing"))]
#[inline(never)]
pub fn handle(director: &mut Director, batch: &mut Batch, link: LinkId, turn: &mut Turn<Sink>) -> usize {
    batch.handle(director, link, turn)
}

/// The TAP's other direction, for benches: headers are encoded, bytes go nowhere. Asks for no memory.
#[cfg(any(test, feature = "testing"))]
pub struct Sink {
    /// How the frames of the only link begin.
    pub framing: Framing,
    /// How many frames left so far.
    pub frames: u64,
}

#[cfg(any(test, feature = "testing"))]
impl Egress for Sink {
    fn transmit(&mut self, _: LinkId, frame: &mut PacketBuf) -> Result<(), DropReason> {
        frame.enclose(self.framing, header_end(frame));
        std::hint::black_box(frame.frame());
        self.frames += 1;
        Ok(())
    }
}

/// Reads a batch of frames; false if there are no more.
fn read(link: &mut Link, batch: &mut Batch) -> io::Result<bool> {
    while let Some(buf) = batch.room() {
        match link.read(buf)? {
            ReadOutcome::Frame => batch.add(),
            ReadOutcome::Empty => return Ok(false),
            ReadOutcome::Gone => {
                let name = link.name();
                return Err(io::Error::other(format!("{name} was deleted; start tapvs again to make it anew")));
            }
        }
    }
    Ok(true)
}

/// Does what is due by now.
#[inline(never)]
pub fn pass_time(director: &mut Director, now: Instant, turn: &mut Turn<Wires>) {
    begin(director, now, turn);
    director.tick(turn);
    Wires::flush(turn);
}

/// Sends a health check's own packet, see `Director::probe`.
#[inline(never)]
pub fn probe(
    director: &mut Director,
    who: (u64, u64),
    what: OwnProbe,
    turn: &mut Turn<Wires>,
) -> Result<(), &'static str> {
    director.probe(who, what, turn)
}

/// The last frames of a run, see `Director::shut_down`.
#[inline(never)]
pub fn shut_down(director: &mut Director, turn: &mut Turn<Wires>) {
    director.shut_down(turn);
}

/// Frames in the order in which they were made.
struct Outbox {
    frames: Box<[(LinkId, PacketBuf)]>,
    count: usize,
    /// Why frames were not written.
    lost: Vec<DropReason>,
}

impl Outbox {
    fn new() -> Outbox {
        let frames = (0..GATHERED).map(|_| (LinkId(0), PacketBuf::new())).collect();
        Outbox { frames, count: 0, lost: Vec::with_capacity(GATHERED) }
    }

    fn is_full(&self) -> bool {
        self.count == self.frames.len()
    }

    /// Takes a frame, and leaves another one's buffer in its place.
    fn put(&mut self, link: LinkId, frame: &mut PacketBuf) {
        let place = &mut self.frames[self.count];
        place.0 = link;
        swap(&mut place.1, frame);
        self.count += 1;
    }

    fn empty(&mut self, mut write: impl FnMut(LinkId, &PacketBuf) -> Result<(), DropReason>) {
        for (link, frame) in &self.frames[..self.count] {
            if let Err(reason) = write(*link, frame) {
                self.lost.push(reason);
            }
        }
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_leave_in_their_order_and_losses_are_told() {
        let (mut outbox, mut buf) = (Outbox::new(), PacketBuf::new());
        for round in 0..3 {
            for number in 0..GATHERED as u8 {
                assert!(!outbox.is_full());
                buf.set(&[round, number]);
                outbox.put(LinkId(number % 2), &mut buf);
            }
            assert!(outbox.is_full());
            let mut written = Vec::new();
            outbox.empty(|link, frame| {
                written.push((link, frame.frame().to_vec()));
                if frame.frame()[1] == 7 { Err(DropReason::DeviceDown) } else { Ok(()) }
            });
            let expected = (0..GATHERED as u8).map(|number| (LinkId(number % 2), vec![round, number]));
            assert!(written.into_iter().eq(expected));
            assert_eq!(outbox.lost.drain(..).collect::<Vec<_>>(), [DropReason::DeviceDown]);
        }
    }
}
