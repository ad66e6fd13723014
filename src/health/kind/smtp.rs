//! The beginning of an SMTP dialogue (RFC 5321 4.2, 4.3): a greeting of 220, EHLO and its 250, QUIT. Replies may have
//! several lines.

use super::super::outcome::Outcome;
use super::{Step, wrong};

/// The longest line of a reply: RFC 5321 4.5.3.1.5 has 512.
const LONGEST_LINE: usize = 2048;
/// All that is heard of one reply.
const LONGEST_REPLY: usize = 16 * 1024;

/// A dialogue with a mail server.
#[derive(Debug)]
pub struct Smtp {
    helo: String,
    greeted: bool,
    line: Vec<u8>,
    heard: usize,
}

impl Smtp {
    pub(super) fn new(helo: &str) -> Smtp {
        Smtp { helo: helo.into(), greeted: false, line: Vec::new(), heard: 0 }
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) -> Step {
        for byte in bytes {
            self.heard += 1;
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() > LONGEST_LINE || self.heard > LONGEST_REPLY {
                    return wrong("a reply without an end");
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if let Some(step) = self.line(&line) {
                // A server speaks when it is spoken to: what follows a whole reply is none.
                return step;
            }
        }
        Step::More
    }

    fn line(&mut self, line: &[u8]) -> Option<Step> {
        let wanted: &[u8] = if self.greeted { b"250" } else { b"220" };
        let text = String::from_utf8_lossy(&line[..line.len().min(80)]);
        match line {
            [code @ .., b'\r'] if code == wanted => {}
            code if code == wanted => {}
            [a, b, c, b'-', ..] if [*a, *b, *c] == *wanted => return None,
            [a, b, c, b' ', ..] if [*a, *b, *c] == *wanted => {}
            _ => return Some(wrong(format!("'{}'", text.trim_end()))),
        }
        if self.greeted {
            return Some(Step::Done(Outcome::Passed));
        }
        (self.greeted, self.heard) = (true, 0);
        Some(Step::Say(format!("EHLO {}\r\n", self.helo).into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::{Reason, Stage};
    use super::*;

    /// What comes of these lines, each said in its turn, in parts of so many bytes.
    fn talk(lines: &str, part: usize) -> Option<Outcome> {
        let mut smtp = Smtp::new("lb");
        lines.split_inclusive('\n').flat_map(|line| line.as_bytes().chunks(part)).find_map(|bytes| {
            match smtp.hear(bytes) {
                Step::Done(outcome) => Some(outcome),
                Step::More | Step::Say(_) => None,
            }
        })
    }

    #[test]
    fn a_greeting_and_a_welcome_are_wanted() {
        for (answer, wanted) in [
            ("220 mail.example ESMTP\r\n250 hello\r\n", None),
            ("220-first\r\n220-second\r\n220 third\r\n250-SIZE 1\r\n250-8BITMIME\r\n250 HELP\r\n", None),
            ("220\r\n250\r\n", None),
            ("554 no\r\n", Some("'554 no'")),
            ("220 hello\r\n502 what\r\n", Some("'502 what'")),
            ("2200\r\n", Some("'2200'")),
            ("HTTP/1.1 400\r\n", Some("'HTTP/1.1 400'")),
        ] {
            let outcome = wanted.map_or(Outcome::Passed, |what| Outcome::Failed(Reason::new(Stage::Answer, what)));
            assert_eq!(talk(answer, 512), Some(outcome.clone()), "{answer}");
            assert_eq!(talk(answer, 1), Some(outcome), "{answer}");
        }
        let mut smtp = Smtp::new("lb.example");
        assert_eq!(smtp.hear(b"220 x\r\n"), Step::Say(b"EHLO lb.example\r\n".to_vec()));
    }

    #[test]
    fn a_reply_without_an_end_is_given_up() {
        assert_eq!(Smtp::new("x").hear(&[b'2'; 3000]), wrong("a reply without an end"));
        let mut smtp = Smtp::new("x");
        let lines = (0..10_000).find_map(|_| match smtp.hear(b"220-and\r\n") {
            Step::More => None,
            step => Some(step),
        });
        assert_eq!(lines, Some(wrong("a reply without an end")));
    }
}
