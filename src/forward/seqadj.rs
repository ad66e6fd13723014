//! Sequence numbers of a TCP stream whose text became longer or shorter on the way.
//!
//! The kernel's rule: numbers after the last change move by all of it, numbers before it by what came before. Pure.

use serde::{Deserialize, Serialize};

/// How far a sender's sequence numbers have moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SequenceShift {
    /// The sequence number of the text replaced last.
    at: u32,
    before: i32,
    after: i32,
}

impl SequenceShift {
    /// A text at this sequence number became longer by so many bytes.
    pub fn note(&mut self, at: u32, by: i32) {
        if by != 0 && (self.before == self.after || is_after(at, self.at)) {
            *self = SequenceShift { at, before: self.after, after: self.after + by };
        }
    }

    /// For another director.
    pub fn words(&self) -> [u32; 3] {
        [self.at, self.before as u32, self.after as u32]
    }

    /// As another director has told it.
    pub fn of_words([at, before, after]: [u32; 3]) -> SequenceShift {
        SequenceShift { at, before: before as i32, after: after as i32 }
    }

    /// By how much a sequence number of the sender moves.
    pub fn of_sequence(&self, number: u32) -> i32 {
        if is_after(number, self.at) { self.after } else { self.before }
    }

    /// By how much the other end's acknowledgement of one moves back.
    pub fn of_acknowledged(&self, number: u32) -> i32 {
        let original = number.wrapping_sub(self.before as u32);
        if is_after(original, self.at) { -self.after } else { -self.before }
    }
}

/// Sequence numbers wrap.
fn is_after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}
