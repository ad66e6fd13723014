//! The sockets of probes that run: opened, served a step at a time, closed at their deadlines.
//!
//! A step reads or writes what the kernel has at hand, never more. Verdicts are the monitor's.

use std::path::PathBuf;

use mio::{Interest, Registry, Token};

use super::check_programs::run_of;
use super::checks::{Checks, FIRST_TOKEN};
use super::talk::Talk;
use crate::base::Instant;
use crate::director::Director;
use crate::health::{Dialogue, Kind, Outcome, Reason, Stage, Start};
use crate::io::{TlsConfig, random_u64};
use crate::router::Turn;
use crate::wires::Wires;

impl Checks {
    pub(super) fn start(&mut self, start: Start, registry: &Registry, director: &mut Director, turn: &mut Turn<Wires>) {
        let id = start.id;
        let started = match (self.own.start(&start, director, turn), &start.check.kind) {
            (Some(sent), _) => sent,
            (None, Kind::Exec(exec)) => {
                self.programs.push(run_of(&start, exec));
                Ok(())
            }
            (None, _) => self.connect(start, registry),
        };
        if let Err(outcome) = started {
            self.monitor.end(id, outcome, turn.now);
        }
    }

    fn connect(&mut self, start: Start, registry: &Registry) -> Result<(), Outcome> {
        let local = |what: String| Outcome::Local(Reason::new(Stage::Connect, what));
        if start.target.port == 0 {
            return Err(local("the server has no port of its own; say which with 'port'".into()));
        }
        let nonce = random_u64().map_err(|error| local(error.to_string()))?;
        let Some(dialogue) = Dialogue::new(&start.check, start.target, nonce) else { return Ok(()) };
        let tls = match &start.check.kind {
            Kind::Http(http) => http.tls.as_ref().map(|tls| (tls.verify.clone(), http.server_name(start.target))),
            _ => None,
        };
        let tls = tls.map(|(verify, name)| self.tls_config(verify)?.session(&name)).transpose().map_err(local)?;
        let mut talk = Talk::begin(&start, dialogue, tls)?;
        let place = self.talks.iter().position(Option::is_none).ok_or_else(|| local("no room".into()))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(FIRST_TOKEN + place);
        registry.register(&mut talk.socket, token, interest).map_err(|error| local(error.to_string()))?;
        self.talks[place] = Some(talk);
        Ok(())
    }

    fn tls_config(&mut self, verify: Option<PathBuf>) -> Result<TlsConfig, String> {
        if let Some(config) = self.tls.get(&verify) {
            return Ok(config.clone());
        }
        let config = TlsConfig::new(verify.as_ref())?;
        self.tls.insert(verify, config.clone());
        Ok(config)
    }

    /// One step of one talk.
    pub(super) fn serve(&mut self, place: usize, now: Instant) {
        let Some(talk) = &mut self.talks[place] else { return };
        talk.queued = false;
        match talk.step() {
            Ok(true) => {
                talk.queued = true;
                self.ready.push_back(place);
            }
            Ok(false) => {}
            Err(outcome) => self.end(place, outcome, now),
        }
    }

    pub(super) fn end(&mut self, place: usize, outcome: Outcome, now: Instant) {
        if let Some(talk) = self.talks[place].take() {
            self.monitor.end(talk.id, outcome, now);
        }
    }

    /// Ends the talks whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        for place in 0..self.talks.len() {
            if let Some(talk) = &mut self.talks[place]
                && talk.deadline <= now
            {
                let outcome = talk.expire();
                self.end(place, outcome, now);
            }
        }
    }
}
