//! Frames from a link to the director, in batches and with a budget.
//!
//! Never looks into one.

use std::io;

use super::Daemon;
use super::wires::Wires;
use crate::base::{Instant, LinkId};
use crate::io::ReadOutcome;

/// Frames read from one link before the others have their turn.
const BUDGET: usize = 256;

impl Daemon {
    /// Reads and handles frames until there are none (false) or the budget is used up (true).
    pub(super) fn drain(&mut self, link: LinkId, now: Instant) -> io::Result<bool> {
        let mut handled = 0;
        self.turn.now = now;
        while handled < BUDGET {
            // What was read before an error is handled too.
            let more = self.read(link);
            handled += self.batch.handle(&mut self.director, link, &mut self.turn);
            Wires::flush(&mut self.turn);
            if !more? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads a batch of frames; false if there are no more.
    fn read(&mut self, link: LinkId) -> io::Result<bool> {
        let link = &mut self.turn.out.links[link.index()];
        while let Some(buf) = self.batch.room() {
            match link.read(buf)? {
                ReadOutcome::Frame => self.batch.add(),
                ReadOutcome::Empty => return Ok(false),
                ReadOutcome::Gone => {
                    let name = link.name();
                    return Err(io::Error::other(format!("{name} was deleted; start tapvs again to make it anew")));
                }
            }
        }
        Ok(true)
    }
}
