//! What is said to a server and what its answer means: one protocol a file, bytes in, bytes out.
//!
//! Whatever a server sends costs a bounded amount: each protocol says how much it keeps, and ends at more.

mod agent;
mod dns;
mod http;
mod smtp;
mod udp;

use super::check::{Check, Kind};
use super::outcome::{Outcome, Reason, Stage};
use crate::base::Endpoint;

/// What a dialogue does after it has heard something.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It needs to hear more.
    More,
    /// It says this, and hears more.
    Say(Vec<u8>),
    /// It has come to an end.
    Done(Outcome),
}

/// One probe's dialogue with a server, by TCP or UDP.
#[derive(Debug)]
pub enum Dialogue {
    /// Over once the connection is there.
    Tcp,
    /// HTTP.
    Http(Box<http::Http>),
    /// DNS.
    Dns(dns::Dns),
    /// A datagram.
    Udp(udp::Udp),
    /// SMTP.
    Smtp(smtp::Smtp),
    /// An agent.
    Agent(agent::Listener),
}

impl Dialogue {
    /// The dialogue of a check with this server; none for what is no dialogue. `nonce` must not be guessable.
    pub fn new(check: &Check, server: Endpoint, nonce: u64) -> Option<Dialogue> {
        Some(match &check.kind {
            Kind::Tcp => Dialogue::Tcp,
            Kind::Http(http) => Dialogue::Http(Box::new(http::Http::new(http, server))),
            Kind::Dns(dns) => Dialogue::Dns(dns::Dns::new(dns, nonce as u16)),
            Kind::Udp(udp) => Dialogue::Udp(udp::Udp::new(udp)),
            Kind::Smtp(helo) => Dialogue::Smtp(smtp::Smtp::new(helo)),
            Kind::Agent => Dialogue::Agent(agent::Listener::default()),
            Kind::Exec(_) | Kind::Icmp | Kind::Neigh | Kind::Path => return None,
        })
    }

    /// True if it goes by datagrams.
    pub fn is_datagrams(&self) -> bool {
        matches!(self, Dialogue::Dns(_) | Dialogue::Udp(_))
    }

    /// The first words, once the connection is there.
    pub fn begin(&mut self) -> Step {
        match self {
            Dialogue::Tcp => Step::Done(Outcome::Passed),
            Dialogue::Http(http) => Step::Say(http.request()),
            Dialogue::Dns(dns) => Step::Say(dns.query()),
            Dialogue::Udp(udp) => Step::Say(udp.payload()),
            Dialogue::Smtp(_) | Dialogue::Agent(_) => Step::More,
        }
    }

    /// A part of the answer, or one datagram.
    pub fn hear(&mut self, bytes: &[u8]) -> Step {
        match self {
            Dialogue::Tcp => Step::Done(Outcome::Passed),
            Dialogue::Http(http) => http.hear(bytes),
            Dialogue::Dns(dns) => dns.hear(bytes),
            Dialogue::Udp(udp) => udp.hear(bytes),
            Dialogue::Smtp(smtp) => smtp.hear(bytes),
            Dialogue::Agent(agent) => agent.hear(bytes),
        }
    }

    /// The server has ended its side.
    pub fn close(&mut self) -> Outcome {
        match self {
            Dialogue::Http(http) => http.close(),
            Dialogue::Agent(agent) => agent.close(),
            Dialogue::Tcp | Dialogue::Dns(_) | Dialogue::Udp(_) | Dialogue::Smtp(_) => {
                Outcome::Failed(Reason::new(self.stage(), "closed before the answer was complete"))
            }
        }
    }

    /// The time is over.
    pub fn expire(&mut self) -> Outcome {
        match self {
            Dialogue::Udp(udp) if udp.takes_silence() => Outcome::Passed,
            _ => Outcome::Failed(Reason::timeout(self.stage())),
        }
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        match self {
            Dialogue::Http(http) => http.stage(),
            Dialogue::Tcp => Stage::Connect,
            Dialogue::Dns(_) | Dialogue::Udp(_) | Dialogue::Smtp(_) | Dialogue::Agent(_) => Stage::Answer,
        }
    }
}

/// Failed at the answer, for this reason.
fn wrong(what: impl AsRef<str>) -> Step {
    Step::Done(Outcome::Failed(Reason::new(Stage::Answer, what)))
}

/// True if `whole` contains `part` somewhere.
fn contains(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
pub(super) mod testing {
    use super::{Dialogue, Outcome, Step};

    /// What comes of an answer, whether it comes whole, byte by byte or in halves; the server closes after it.
    pub fn outcome(make: impl Fn() -> Dialogue, answer: &[u8]) -> Outcome {
        let mut outcomes = [answer.len().max(1), 1, answer.len() / 2 + 1].map(|part| {
            let mut dialogue = make();
            dialogue.begin();
            for bytes in answer.chunks(part) {
                if let Step::Done(outcome) = dialogue.hear(bytes) {
                    return outcome;
                }
            }
            dialogue.close()
        });
        let first = outcomes[0].clone();
        assert!(outcomes.iter_mut().all(|outcome| *outcome == first), "{outcomes:?}");
        first
    }
}
