//! What travels with every packet: the time, the way out, the ledger, and buffers for what is made on the way.
//!
//! The only place that writes to the ledger: a frame is counted by the call that takes, makes, sends or ends it. Never
//! decides what becomes of a frame.

use std::time::Duration;

use crate::base::{Consumed, DropReason, Instant, Ledger, LinkId};
use crate::wire::PacketBuf;

/// Buffers made at the start: a superframe inside a superframe, its error, and what asks for a neighbour.
const SPARE: usize = 4;

/// Where frames leave the core.
pub trait Egress {
    /// Takes a frame to be written, after all that were taken before; an error is the reason for which it is lost. The
    /// buffer's contents are unspecified afterwards.
    fn transmit(&mut self, link: LinkId, frame: &mut PacketBuf) -> Result<(), DropReason>;
}

/// One value through all rooms; it lives as long as the loop that owns it.
pub struct Turn<E> {
    /// The time of this turn.
    pub now: Instant,
    /// The time since 1970, by the host's clock, which may be set: for what directors tell each other.
    pub clock: Duration,
    /// The link that the frame at hand came by.
    pub link: LinkId,
    /// Where frames leave.
    pub out: E,
    ledger: Ledger,
    spare: Vec<PacketBuf>,
}

impl<E> Turn<E> {
    /// The first turn, with an empty ledger.
    pub fn new(out: E) -> Turn<E> {
        let spare = (0..SPARE).map(|_| PacketBuf::new()).collect();
        Turn { now: Instant::START, clock: Duration::ZERO, link: LinkId(0), out, ledger: Ledger::default(), spare }
    }

    /// What became of every frame so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A frame was read.
    #[inline]
    pub fn received(&mut self) {
        self.ledger.receive();
    }

    /// A frame was made here.
    #[inline]
    pub fn generated(&mut self) {
        self.ledger.generate();
    }

    /// A frame ended without being sent on, as it should.
    pub fn consume(&mut self, how: Consumed) {
        self.ledger.consume(how);
    }

    /// A frame is lost.
    pub fn drop(&mut self, why: DropReason) {
        log::trace!("dropped: {}", why.name());
        self.ledger.drop(why);
    }

    /// Frames were forwarded by the kernel.
    pub fn passed(&mut self, count: u64) {
        self.ledger.pass(count);
    }

    /// SYNs were answered by the kernel, each with a frame.
    pub fn answered(&mut self, count: u64) {
        self.ledger.answer(count);
    }

    /// A frame waits from now on.
    pub fn hold(&mut self) {
        self.ledger.hold();
    }

    /// So many frames do not wait any more; what becomes of them is counted next.
    pub fn release(&mut self, count: u64) {
        self.ledger.release(count);
    }

    /// A frame that was counted as written was not, after all.
    pub fn unsent(&mut self, why: DropReason) {
        self.ledger.unsent(why);
    }

    /// Lends a spare buffer, whose contents are unspecified. A borrower may borrow again.
    pub fn lend<R>(&mut self, borrower: impl FnOnce(&mut Turn<E>, &mut PacketBuf) -> R) -> R {
        let mut buf = self.spare.pop().unwrap_or_default();
        let result = borrower(self, &mut buf);
        self.spare.push(buf);
        result
    }
}

impl<E: Egress> Turn<E> {
    /// Writes a finished frame to a link; an error is for the caller to count.
    #[inline]
    pub fn write(&mut self, link: LinkId, frame: &mut PacketBuf) -> Result<(), DropReason> {
        self.out.transmit(link, frame)?;
        self.ledger.send();
        Ok(())
    }

    /// The same of a frame that was made here: counted, whether it is written or lost.
    pub fn write_own(&mut self, link: LinkId, frame: &mut PacketBuf) {
        self.generated();
        if let Err(reason) = self.write(link, frame) {
            self.drop(reason);
        }
    }
}
