//! Health checks that are made by the director's own packets: which run, and what their answers mean.

use crate::base::Instant;
use crate::director::{Answer, Director, OwnProbe};
use crate::health::{Kind, Monitor, Outcome, ProbeId, Reason, Stage, Start};
use crate::io::random_u64;
use crate::router::Turn;
use crate::wires::{self, Wires};

/// Those that run, with their deadlines.
#[derive(Default)]
pub(super) struct Running(Vec<(ProbeId, Instant)>);

impl Running {
    /// Sends the probe of a check that has one; `None` for the other kinds.
    pub(super) fn start(
        &mut self,
        start: &Start,
        director: &mut Director,
        turn: &mut Turn<Wires>,
    ) -> Option<Result<(), Outcome>> {
        let what = match (&start.check.kind, start.service) {
            (Kind::Icmp, _) => OwnProbe::Echo(start.target.addr),
            (Kind::Neigh, _) => OwnProbe::Neighbour(start.target.addr),
            (Kind::Path, Some(key)) => OwnProbe::Path(key, start.target),
            _ => return None,
        };
        let local = |what: &str| Outcome::Local(Reason::new(Stage::Connect, what));
        let nonce = match random_u64() {
            Ok(nonce) => nonce,
            Err(error) => return Some(Err(local(&error.to_string()))),
        };
        let sent = wires::probe(director, (start.id.0, nonce), what, turn).map_err(local);
        if sent.is_ok() {
            self.0.push((start.id, start.deadline));
        }
        Some(sent)
    }

    /// Hands in the answers, and what was not answered in time.
    pub(super) fn end(&mut self, director: &mut Director, monitor: &mut Monitor, now: Instant) {
        let failed = |what: &str| Outcome::Failed(Reason::new(Stage::Connect, what));
        while let Some((tag, answer)) = director.own_probes.take_answer() {
            let id = ProbeId(tag);
            self.0.retain(|(other, _)| *other != id);
            let outcome = match answer {
                Answer::Right => Outcome::Passed,
                Answer::Refused => failed("connection refused"),
                Answer::Unreachable => failed("the server answers no ARP or neighbour solicitation"),
            };
            monitor.end(id, outcome, now);
        }
        self.0.retain(|(id, deadline)| {
            let goes_on = *deadline > now && monitor.awaits(*id);
            if !goes_on {
                director.own_probes.forget(id.0);
                monitor.end(*id, Outcome::Failed(Reason::timeout(Stage::Answer)), now);
            }
            goes_on
        });
    }

    /// When the next one is over.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().map(|(_, deadline)| *deadline).min()
    }
}
