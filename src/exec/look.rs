//! What the last look at the program's files tells of a call that was taken in behind it.
//!
//! The look goes over the listener first and the sockets after it, so that it sees what the call's maker has done to them
//! before: a question for each, whether anything was sent or closed, is spared. Never holds for a call that came later.

use super::event::{About, Event};

/// The last look, and the call behind it.
#[derive(Default)]
pub struct Look {
    /// Sockets of which there was something to tell.
    sent: Vec<u32>,
    closed: Vec<u32>,
    /// The call that was taken in last.
    call: u64,
    is_before_call: bool,
}

impl Look {
    /// A look has found this.
    pub fn note(&mut self, events: &[Event]) {
        self.sent.clear();
        self.closed.clear();
        for event in events {
            let About::Socket(number) = event.about else { continue };
            self.sent.push(number);
            if event.closed {
                self.closed.push(number);
            }
        }
    }

    /// The first call behind it was taken in. Calls are numbered as they are made: without a gap this is the call that the
    /// look has seen, and no other that was made since, while a signal has interrupted that one.
    pub fn note_call(&mut self, id: u64) {
        self.is_before_call = id == self.call.wrapping_add(1);
        self.call = id;
    }

    /// False if nothing was sent on a socket before the call.
    pub fn may_have_sent(&self, number: u32) -> bool {
        !self.is_before_call || self.sent.contains(&number)
    }

    /// Whether the program has closed its end of a socket before the call; none if that is not known.
    pub fn has_closed(&self, number: u32) -> Option<bool> {
        self.is_before_call.then(|| self.closed.contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u32, closed: bool) -> Event {
        Event { about: About::Socket(number), readable: true, closed }
    }

    #[test]
    fn a_look_holds_for_the_call_that_it_has_seen() {
        let mut look = Look::default();
        look.note_call(7);
        look.note(&[Event { about: About::Calls, readable: true, closed: false }, event(900, false), event(901, true)]);
        look.note_call(8);
        assert_eq!([900, 901, 902].map(|number| look.may_have_sent(number)), [true, true, false]);
        assert_eq!([900, 901, 902].map(|number| look.has_closed(number)), [Some(false), Some(true), Some(false)]);
        look.note(&[]);
        look.note_call(9);
        assert!(!look.may_have_sent(900));
        look.note(&[]);
        look.note_call(11);
        assert!(look.may_have_sent(902) && look.has_closed(902).is_none(), "the call that it has seen has gone");
        look.note_call(12);
        assert!(!look.may_have_sent(902));
    }
}
