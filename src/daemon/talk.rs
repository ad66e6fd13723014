//! One probe's talk with a server: socket, perhaps TLS, and dialogue, one bounded step at a time.

use std::io;

use crate::base::Instant;
use crate::health::{Check, Dialogue, Outcome, ProbeId, Reason, Stage, Start, Step};
use crate::io::{ProbeSocket, TlsSession, is_servers};

/// Bytes read in one step.
const A_STEP: usize = 16 * 1024;

/// A talk.
pub(super) struct Talk {
    pub(super) id: ProbeId,
    pub(super) deadline: Instant,
    pub(super) socket: ProbeSocket,
    /// Stands in the queue of those that may go on.
    pub(super) queued: bool,
    dialogue: Dialogue,
    tls: Option<TlsSession>,
    output: Vec<u8>,
    connected: bool,
    /// The dialogue has said its first words.
    begun: bool,
}

impl Talk {
    /// Begins to connect.
    pub(super) fn begin(start: &Start, dialogue: Dialogue, tls: Option<TlsSession>) -> Result<Talk, Outcome> {
        let Check { bind, .. } = *start.check;
        let socket = if dialogue.is_datagrams() {
            ProbeSocket::udp(start.target, bind)
        } else {
            ProbeSocket::tcp(start.target, bind)
        };
        let socket = socket.map_err(|error| blame(&error, Stage::Connect))?;
        let (id, deadline) = (start.id, start.deadline);
        let output = Vec::new();
        Ok(Talk { id, deadline, socket, queued: false, dialogue, tls, output, connected: false, begun: false })
    }

    /// Does what can be done without waiting: true if there is more, false if an event will tell, or the outcome.
    pub(super) fn step(&mut self) -> Result<bool, Outcome> {
        if !self.connected {
            self.connected = self.socket.is_connected().map_err(|error| blame(&error, Stage::Connect))?;
            if !self.connected {
                return Ok(false);
            }
        }
        self.begin_dialogue()?;
        self.flush()?;
        let mut bytes = [0; A_STEP];
        match self.socket.read(&mut bytes).map_err(|error| blame(&error, self.stage()))? {
            None => Ok(false),
            Some(0) if !self.dialogue.is_datagrams() => Err(self.closed()),
            Some(count) => {
                self.hear(&bytes[..count])?;
                self.begin_dialogue()?;
                self.flush()?;
                Ok(true)
            }
        }
    }

    fn stage(&self) -> Stage {
        match &self.tls {
            _ if !self.connected => Stage::Connect,
            Some(tls) if tls.is_handshaking() => Stage::Tls,
            Some(_) | None => self.dialogue.stage(),
        }
    }

    /// The first words, once they can be said.
    fn begin_dialogue(&mut self) -> Result<(), Outcome> {
        if self.begun || self.tls.as_ref().is_some_and(TlsSession::is_handshaking) {
            return Ok(());
        }
        self.begun = true;
        let step = self.dialogue.begin();
        self.follow(step)
    }

    fn follow(&mut self, step: Step) -> Result<(), Outcome> {
        match step {
            Step::More => Ok(()),
            Step::Done(outcome) => Err(outcome),
            Step::Say(words) => {
                match &mut self.tls {
                    Some(tls) => tls.say(&words).map_err(|error| blame(&error, Stage::Tls))?,
                    None => self.output.extend(words),
                }
                Ok(())
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), Outcome> {
        let Some(tls) = &mut self.tls else {
            let step = self.dialogue.hear(bytes);
            return self.follow(step);
        };
        let mut plain = Vec::new();
        let received = tls.receive(bytes, &mut plain);
        let step = if plain.is_empty() { Step::More } else { self.dialogue.hear(&plain) };
        self.follow(step)?;
        received.map_err(|what| Outcome::Failed(Reason::new(Stage::Tls, what)))
    }

    fn flush(&mut self) -> Result<(), Outcome> {
        if let Some(tls) = &mut self.tls {
            tls.send_into(&mut self.output).map_err(|error| blame(&error, Stage::Tls))?;
        }
        while !self.output.is_empty() {
            match self.socket.write(&self.output).map_err(|error| blame(&error, self.stage()))? {
                Some(count) => drop(self.output.drain(..count)),
                None => break,
            }
        }
        Ok(())
    }

    fn closed(&mut self) -> Outcome {
        match self.stage() {
            Stage::Tls => Outcome::Failed(Reason::new(Stage::Tls, "closed during the handshake")),
            _ => self.dialogue.close(),
        }
    }

    /// Its time is over.
    pub(super) fn expire(&mut self) -> Outcome {
        match self.stage() {
            stage @ (Stage::Connect | Stage::Tls) => Outcome::Failed(Reason::timeout(stage)),
            _ => self.dialogue.expire(),
        }
    }
}

/// A failure of the server, or one of this host.
fn blame(error: &io::Error, stage: Stage) -> Outcome {
    // Without the number that the standard library adds.
    let text = error.to_string();
    let reason = Reason::new(stage, text.split(" (os error").next().unwrap_or_default().to_lowercase());
    if is_servers(error) { Outcome::Failed(reason) } else { Outcome::Local(reason) }
}
