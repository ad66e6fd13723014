//! The running director that the program's commands go to: found at the start, and found again when it was restarted.
//!
//! What the program has configured is given to a director that comes back: the program does not notice. One that stays away
//! for long does not stop the program: its changes are carried out then, and kept for the director.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::journal::Journal;
use super::program::Program;
use crate::base;
use crate::control::protocol::{Reply, Request};
use crate::control::{Client, Unreachable};
use crate::genl;
use crate::genl::Absent;
use crate::io::Clock;
use crate::service::command::{Command, Refused};

/// A director that is back answers within this time, or is not back yet.
const PROMPT: Duration = Duration::from_secs(1);

/// The director, wherever it is.
pub struct Director {
    path: PathBuf,
    state: State,
    journal: Journal,
    /// So long a program waits for a director that has gone, or does not answer.
    patience: Duration,
    /// Commands that the program was told are carried out, and that the director has not been given.
    owed: Vec<Command>,
}

enum State {
    Here(Client),
    /// The program waits for it until then.
    Away(Instant),
    /// This user may not ask: the program is told what a kernel tells it.
    Forbidden,
}

impl Director {
    /// The director at `path`, or the one that runs here. An error is a sentence.
    pub fn find(path: Option<&Path>, patience: Duration) -> Result<Director, String> {
        let (path, state) = match Client::find(path) {
            Ok(client) => (client.path().to_owned(), State::Here(client)),
            Err(Unreachable::Forbidden) => (PathBuf::new(), State::Forbidden),
            Err(Unreachable::Gone(sentence) | Unreachable::Otherwise(sentence)) => return Err(sentence),
        };
        Ok(Director { path, state, journal: Journal::default(), patience, owed: Vec::new() })
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

    /// Commands that the program was told are carried out, and that the director has not been given.
    pub fn owed(&self) -> usize {
        self.owed.len()
    }

    /// It has closed its socket.
    pub fn leave(&mut self) {
        if let State::Here(_) = self.state {
            log::warn!(
                "{}: the director has gone; what the program asks for waits until it is back, {} s at most",
                self.path.display(),
                self.patience.as_secs()
            );
            self.state = State::Away(Instant::now() + self.patience);
        }
    }

    /// Looks for it, and gives it what the program has configured. True if it is back.
    pub fn return_to(&mut self, program: &mut Program) -> bool {
        let Ok(client) = Client::open(self.path.clone()) else { return false };
        let until = if let State::Away(until) = self.state { until } else { Instant::now() };
        self.state = State::Here(client);
        match self.give_all(program) {
            Ok(refused) => self.say_that_it_is_back(refused),
            Err(_) => self.state = State::Away(until),
        }
        !self.is_away()
    }

    /// Gives a director that is back what the program has configured; how many commands it has refused.
    fn give_all(&mut self, program: &mut Program) -> Result<usize, Absent> {
        // One that does not answer yet is not waited for: the program has other questions.
        self.put_within(&Request::Timeouts, program, PROMPT)?;
        // It may be the same one that was silent for a while, and has what was deleted since.
        for command in self.owed.clone() {
            if let Command::DeleteService(_) | Command::DeleteDest(..) | Command::StopDaemon(_) | Command::Clear =
                command
            {
                self.put(&Request::Apply(command), program)?;
            }
        }
        let mut refused = 0;
        for (command, otherwise) in self.journal.replay() {
            if let Some(why) = self.replay(&command, otherwise.as_ref(), program)? {
                log::warn!("{}: the director that is back refuses {command:?}: {why}", self.path.display());
                refused += 1;
            }
        }
        self.owed.clear();
        Ok(refused)
    }

    fn say_that_it_is_back(&self, refused: usize) {
        log::info!(
            "{}: the director is back and has the program's {} services again{}",
            self.path.display(),
            self.journal.services(),
            if refused > 0 { format!(", but for {refused} commands") } else { String::new() }
        );
    }

    fn replay(
        &mut self,
        command: &Command,
        otherwise: Option<&Command>,
        program: &mut Program,
    ) -> Result<Option<Refused>, Absent> {
        match (self.put(&Request::Apply(command.clone()), program)?, otherwise) {
            (Reply::Refused(Refused::ServiceExists | Refused::DestExists), Some(edit)) => {
                let edit = self.complete(edit, program)?;
                self.replay(&edit, None, program)
            }
            (Reply::Refused(Refused::DaemonRuns), _) => Ok(None),
            (Reply::Refused(why), _) => Ok(Some(why)),
            _ => Ok(None),
        }
    }

    /// An edit with what its server has by the director's own file and netlink cannot say.
    fn complete(&mut self, edit: &Command, program: &mut Program) -> Result<Command, Absent> {
        let (Command::EditDest(key, ..) | Command::EditService(key, _)) = edit else { return Ok(edit.clone()) };
        let Reply::Services { services, .. } = self.put(&Request::Service(*key), program)? else {
            return Ok(edit.clone());
        };
        let Command::EditDest(key, real, options) = edit else {
            let mut edit = edit.clone();
            if let (Command::EditService(_, options), [present, ..]) = (&mut edit, &services[..]) {
                genl::keep_unsaid_of_service(options, &present.options);
            }
            return Ok(edit);
        };
        let present = services.iter().flat_map(|service| &service.dests).find(|dest| dest.real == *real);
        let full_nat = self.journal.full_nat();
        let options = present.map_or(*options, |dest| genl::keep_unsaid(*options, &dest.options, full_nat));
        Ok(Command::EditDest(*key, *real, options))
    }

    fn put(&mut self, request: &Request, program: &mut Program) -> Result<Reply, Absent> {
        let was_away = self.is_away();
        let done = self.put_within(request, program, self.patience);
        if done == Err(Absent::Gone) && !was_away {
            log::warn!("{}: the director does not answer", self.path.display());
        }
        done
    }

    fn put_within(&mut self, request: &Request, program: &mut Program, patience: Duration) -> Result<Reply, Absent> {
        let client = match &mut self.state {
            State::Here(client) => client,
            State::Away(until) if Instant::now() < *until => return Err(Absent::Away),
            State::Away(_) => return Err(Absent::Gone),
            State::Forbidden => return Err(Absent::Forbidden),
        };
        let mut given_up = None;
        let wait = |file: BorrowedFd| {
            let done = program.wait_for(file, patience);
            given_up = done.as_ref().err().map(io::Error::kind);
            done
        };
        match (client.exchange_waiting(request, wait), given_up) {
            (Ok(Reply::Error(sentence)), _) => {
                log::warn!("{}: {sentence}", self.path.display());
                Err(Absent::Forbidden)
            }
            (Ok(reply), _) => Ok(reply),
            (Err(_), Some(io::ErrorKind::TimedOut)) => {
                self.state = State::Away(Instant::now());
                Err(Absent::Gone)
            }
            // The program has ended; what it has left may ask again.
            (Err(_), Some(_)) => {
                self.state = State::Away(Instant::now() + self.patience);
                Err(Absent::Away)
            }
            (Err(sentence), None) => {
                log::debug!("{sentence}");
                self.leave();
                Err(Absent::Away)
            }
        }
    }

    /// A change that the program need not wait for any longer.
    fn keep(&mut self, command: &Command) {
        if self.owed.is_empty() {
            let path = self.path.display();
            log::warn!("{path}: what the program changes is kept until the director is back");
        }
        self.owed.push(command.clone());
        self.journal.note(command);
    }
}

/// The director, asked for a program that is served meanwhile.
pub struct Asked<'a> {
    /// Who is asked.
    pub director: &'a mut Director,
    /// Who asks.
    pub program: &'a mut Program,
    /// What time it is.
    pub clock: &'a Clock,
    /// False for who may not administer a network.
    pub may_ask: bool,
}

impl genl::Director for Asked<'_> {
    fn ask(&mut self, request: &Request) -> Result<Reply, Absent> {
        if !self.may_ask {
            return Err(Absent::Forbidden);
        }
        let reply = match (self.director.put(request, self.program), request) {
            (Err(Absent::Gone), Request::Apply(command)) => {
                self.director.keep(command);
                return Ok(Reply::Done);
            }
            (reply, _) => reply?,
        };
        if let (Request::Apply(command), Reply::Done) = (request, &reply) {
            self.director.journal.note(command);
        }
        if let (Request::Apply(_), Reply::Refused(why @ Refused::NoEthernet)) = (request, &reply) {
            // The kernel has no such error, so the program cannot name it.
            log::warn!("{why}");
        }
        Ok(reply)
    }

    fn now(&self) -> base::Instant {
        self.clock.now()
    }
}
