//! The links as the core's way out: frames are gathered and written together, in their order.
//!
//! Never keeps a frame beyond the turn of the loop that made it: whoever had the core work, flushes.

use std::mem::swap;

use crate::base::{DropReason, LinkId};
use crate::io::Link;
use crate::router::{Egress, Turn};
use crate::wire::PacketBuf;

/// Frames that are gathered at most: a batch, and some that it gave rise to.
const GATHERED: usize = 32;

/// Links, and frames on their way out.
pub(super) struct Wires {
    pub(super) links: Vec<Link>,
    outbox: Outbox,
    /// The kernel refused a frame as invalid; said once.
    told: bool,
}

impl Wires {
    pub(super) fn new(links: Vec<Link>) -> Wires {
        Wires { links, outbox: Outbox::new(), told: false }
    }

    /// Writes what was gathered. The ledger has it as sent already: what the kernel does not take is put right there.
    #[inline]
    pub(super) fn flush(turn: &mut Turn<Wires>) {
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
