//! What happens to conns, as one stream: for those who keep something beside a conn or mirror it.
//!
//! Each kind comes from one place of the table: `insert`, `set_state`, the end of a record, `disturb`. Never decides anything.

use super::event::Event;
use crate::base::ConnId;

/// Events that wait at most without asking for memory: those of one packet, many times over.
const RESERVED: usize = 64;

/// An event in the life of a conn or template.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LifeEvent {
    /// It was made.
    Opened(ConnId),
    /// Its state is another one now; this was the one before, and a packet of this kind moved it, if any did.
    Moved(ConnId, u8, Option<Event>),
    /// It is out of the table, and its slot may be used again.
    Ended(ConnId),
    /// The kernel is not to forward its packets any more, for something about it has changed.
    Left(ConnId),
    /// The same, for it is about to end: by the time this is told, its slot may be another conn's.
    LeftAtEnd(ConnId),
}

/// Events in the order in which they came.
pub(super) struct Life {
    events: Vec<LifeEvent>,
    /// How many of them were told.
    told: usize,
}

impl Life {
    pub(super) fn new() -> Life {
        Life { events: Vec::with_capacity(RESERVED), told: 0 }
    }

    #[inline]
    pub(super) fn add(&mut self, event: LifeEvent) {
        self.events.push(event);
    }

    #[inline(always)]
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next one; after the last one there is room for all again.
    #[inline]
    pub(super) fn next(&mut self) -> Option<LifeEvent> {
        let event = self.events.get(self.told).copied();
        self.told += 1;
        if event.is_none() {
            self.events.clear();
            self.told = 0;
        }
        event
    }
}
