//! The running director that the program's commands go to: found at the start, and found again when it was restarted.
//!
//! What the program has configured is given to a director that comes back: the program does not notice.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::journal::Journal;
use crate::control::protocol::{Reply, Request};
use crate::control::{Client, Unreachable};
use crate::genl;
use crate::genl::Absent;
use crate::service::command::{Command, Refused};

/// So long a program waits for a director that has gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// The director, wherever it is.
pub struct Director {
    path: PathBuf,
    state: State,
    journal: Journal,
}

enum State {
    Here(Client),
    /// Since then.
    Away(Instant),
    /// This user may not ask: the program is told what a kernel tells it.
    Forbidden,
}

impl Director {
    /// The director at `path`, or the one that runs here. An error is a sentence.
    pub fn find(path: Option<&Path>) -> Result<Director, String> {
        let (path, state) = match Client::find(path) {
            Ok(client) => (client.path().to_owned(), State::Here(client)),
            Err(Unreachable::Forbidden) => (PathBuf::new(), State::Forbidden),
            Err(Unreachable::Otherwise(sentence)) => return Err(sentence),
        };
        Ok(Director { path, state, journal: Journal::default() })
    }

    /// The socket to it, which tells when it goes.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Here(client) => Some(client.socket()),
            State::Away(_) | State::Forbidden => None,
        }
    }

    /// True while it is looked for.
    pub fn is_away(&self) -> bool {
        matches!(self.state, State::Away(_))
    }

    /// It has closed its socket.
    pub fn leave(&mut self) {
        if let State::Here(_) = self.state {
            log::warn!(
                "{}: the director has gone; what the program asks for waits until it is back, {} s at most",
                self.path.display(),
                PATIENCE.as_secs()
            );
            self.state = State::Away(Instant::now());
        }
    }

    /// Looks for it, and gives it what the program has configured. True if it is back.
    pub fn return_to(&mut self) -> bool {
        let Ok(client) = Client::open(self.path.clone()) else { return false };
        self.state = State::Here(client);
        let mut refused = 0;
        for (command, otherwise) in self.journal.replay() {
            match self.replay(&command, otherwise.as_ref()) {
                Ok(Some(why)) => {
                    log::warn!("{}: the director that is back refuses {command:?}: {why}", self.path.display());
                    refused += 1;
                }
                Ok(None) => {}
                Err(_) => return false,
            }
        }
        log::info!(
            "{}: the director is back and has the program's {} services again{}",
            self.path.display(),
            self.journal.services(),
            if refused > 0 { format!(", but for {refused} commands") } else { String::new() }
        );
        true
    }

    fn replay(&mut self, command: &Command, otherwise: Option<&Command>) -> Result<Option<Refused>, Absent> {
        match (self.put(&Request::Apply(command.clone()))?, otherwise) {
            (Reply::Refused(Refused::ServiceExists | Refused::DestExists), Some(edit)) => self.replay(edit, None),
            (Reply::Refused(Refused::DaemonRuns), _) => Ok(None),
            (Reply::Refused(why), _) => Ok(Some(why)),
            _ => Ok(None),
        }
    }

    fn put(&mut self, request: &Request) -> Result<Reply, Absent> {
        let client = match &mut self.state {
            State::Here(client) => client,
            State::Away(since) if since.elapsed() < PATIENCE => return Err(Absent::Away),
            State::Away(_) => return Err(Absent::Gone),
            State::Forbidden => return Err(Absent::Forbidden),
        };
        match client.exchange(request) {
            Ok(Reply::Error(sentence)) => {
                log::warn!("{}: {sentence}", self.path.display());
                Err(Absent::Forbidden)
            }
            Ok(reply) => Ok(reply),
            Err(sentence) => {
                log::debug!("{sentence}");
                self.leave();
                Err(Absent::Away)
            }
        }
    }
}

impl genl::Director for Director {
    fn ask(&mut self, request: &Request) -> Result<Reply, Absent> {
        let reply = self.put(request)?;
        if let (Request::Apply(command), Reply::Done) = (request, &reply) {
            self.journal.note(command);
        }
        if let (Request::Apply(_), Reply::Refused(why @ Refused::NoEthernet)) = (request, &reply) {
            // The kernel has no such error, so the program cannot name it.
            log::warn!("{why}");
        }
        Ok(reply)
    }
}
