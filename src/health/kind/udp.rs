//! One datagram and its answer; silence is success only where that was asked for.

use super::super::check::Udp as Request;
use super::super::outcome::Outcome;
use super::{Step, contains, wrong};

/// A datagram, and what is wanted of its answer.
#[derive(Debug)]
pub struct Udp(Request);

impl Udp {
    pub(super) fn new(request: &Request) -> Udp {
        Udp(request.clone())
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        self.0.payload.clone()
    }

    pub(super) fn takes_silence(&self) -> bool {
        self.0.silence
    }

    pub(super) fn hear(&mut self, answer: &[u8]) -> Step {
        match &self.0.contains {
            Some(wanted) if !contains(answer, wanted) => {
                wrong(format!("the answer of {} bytes does not contain what it must", answer.len()))
            }
            Some(_) | None => Step::Done(Outcome::Passed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::{Reason, Stage};
    use super::super::Dialogue;
    use super::*;

    #[test]
    fn an_answer_is_wanted_unless_silence_will_do() {
        let dialogue = |request: Request| Dialogue::Udp(Udp::new(&request));
        let timeout = Outcome::Failed(Reason::timeout(Stage::Answer));
        assert_eq!(dialogue(Request::default()).expire(), timeout);
        assert_eq!(dialogue(Request { silence: true, ..Request::default() }).expire(), Outcome::Passed);
        assert_eq!(dialogue(Request::default()).hear(b""), Step::Done(Outcome::Passed));
        let mut pong = dialogue(Request { contains: Some(b"pong".into()), ..Request::default() });
        assert_eq!(pong.hear(b"ping pong"), Step::Done(Outcome::Passed));
        assert_eq!(pong.hear(b"pon"), wrong("the answer of 3 bytes does not contain what it must"));
    }
}
