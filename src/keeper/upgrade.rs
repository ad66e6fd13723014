//! An upgrade on its way: a worker of another program beside the one at work, and how far it has come.
//!
//! ```text
//! Asked      the client has to name the program
//! Preparing  the new worker reads the configuration and looks at the state, while the old one works
//! Stopping   the old one has been told to stop
//! Starting   it has, and the new one takes over
//! Proving    the new one works; if it ends now, the old program is started again
//! ```
//! Never stops or starts the worker that is at work.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::messages::Given;
use super::program::{Program, not_started};
use super::worker::Worker;
use crate::control::protocol::{Reply, Wish};

/// A client names the program within so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest line that names one.
const LONGEST: usize = 8192;

/// How far it has come.
pub enum Stage {
    /// The client has to name the program.
    Asked,
    /// This worker prepares itself.
    Preparing(Worker),
    /// It is prepared; the other one has been told to stop.
    Stopping(Worker),
    /// It takes over; it is the keeper's worker now.
    Starting,
    /// It works.
    Proving,
}

/// An upgrade.
pub struct Upgrade {
    client: UnixStream,
    line: Vec<u8>,
    wish: Wish,
    /// What the new worker runs.
    program: Option<Program>,
    /// The new worker's version, once it is known.
    pub version: String,
    pub stage: Stage,
    /// The stage, or this one and the next ones, may take until then.
    pub until: Instant,
    /// When the new worker was told to begin.
    pub begun: Instant,
    /// What the new worker said of itself.
    pub why: Option<String>,
}

impl Upgrade {
    /// A client asks for one: it may if it is root or `owner`, whatever the worker that has brought it is.
    pub fn asked(client: OwnedFd, owner: u32) -> Option<Upgrade> {
        let uid = getsockopt(&client, PeerCredentials).ok()?.uid();
        let client = UnixStream::from(client);
        client.set_nonblocking(true).ok()?;
        let mut upgrade = Upgrade {
            client,
            line: Vec::new(),
            wish: Wish { program: PathBuf::new(), ready_s: 0, proof_s: 0 },
            program: None,
            version: String::new(),
            stage: Stage::Asked,
            until: Instant::now() + PATIENCE,
            begun: Instant::now(),
            why: None,
        };
        let is_allowed = uid == 0 || uid == owner;
        let reply =
            if is_allowed { Reply::Done } else { Reply::Error(format!("uid {uid} may not upgrade this director")) };
        (upgrade.say(&reply) && is_allowed).then_some(upgrade)
    }

    /// The client's socket while it is waited for.
    pub fn awaited(&self) -> Option<BorrowedFd<'_>> {
        matches!(self.stage, Stage::Asked).then(|| self.client.as_fd())
    }

    /// The worker that is not the keeper's yet.
    pub fn beside(&mut self) -> Option<&mut Worker> {
        match &mut self.stage {
            Stage::Preparing(worker) | Stage::Stopping(worker) => Some(worker),
            Stage::Asked | Stage::Starting | Stage::Proving => None,
        }
    }

    /// The same, to look at.
    pub fn peek_beside(&self) -> Option<&Worker> {
        match &self.stage {
            Stage::Preparing(worker) | Stage::Stopping(worker) => Some(worker),
            Stage::Asked | Stage::Starting | Stage::Proving => None,
        }
    }

    /// Reads what the client names, and starts it once it is known. An error is a sentence, or nothing if the client has
    /// gone.
    pub fn hear(&mut self, given: &Given) -> Result<(), String> {
        let mut part = [0; 1024];
        match self.client.read(&mut part) {
            Ok(0) => return Err(String::new()),
            Ok(count) => self.line.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        let Some(end) = self.line.iter().position(|byte| *byte == b'\n') else {
            return if self.line.len() > LONGEST { Err("that is no name of a program".into()) } else { Ok(()) };
        };
        self.wish = serde_json::from_slice(&self.line[..end]).map_err(|error| format!("not a wish: {error}"))?;
        let program = Program::open(&self.wish.program)?;
        let given = Given { beside: true, upgrades: given.upgrades + 1, ..given.clone() };
        let worker = Worker::start(&program, given).map_err(|error| not_started(&self.wish.program, &error))?;
        self.program = Some(program);
        self.until = Instant::now() + Duration::from_secs(self.wish.ready_s);
        self.stage = Stage::Preparing(worker);
        Ok(())
    }

    /// True if the new worker is the keeper's.
    pub fn has_taken_over(&self) -> bool {
        matches!(self.stage, Stage::Starting | Stage::Proving)
    }

    /// The new worker works; it has to go on doing so for a while.
    pub fn prove(&mut self) {
        self.stage = Stage::Proving;
        self.until = Instant::now() + Duration::from_secs(self.wish.proof_s);
    }

    /// The new worker, taken out to be the keeper's.
    pub fn take_over(&mut self) -> Option<Worker> {
        self.begun = Instant::now();
        match std::mem::replace(&mut self.stage, Stage::Starting) {
            Stage::Preparing(worker) | Stage::Stopping(worker) => Some(worker),
            Stage::Asked | Stage::Starting | Stage::Proving => None,
        }
    }

    /// The new program has proven itself: it is what workers run from now on.
    pub fn done(mut self, before: &str) -> Option<Program> {
        log::info!("upgraded from {before} to {} ({})", self.version, self.wish.program.display());
        self.say(&Reply::Upgraded { before: before.to_owned(), now: self.version.clone() });
        self.program
    }

    /// It has not: the client is told why, and the new worker ends if it is not the keeper's.
    pub fn fail(mut self, why: &str) {
        if let Some(worker) = self.beside() {
            worker.signal(Signal::SIGKILL);
            worker.reap();
        }
        if why.is_empty() {
            return;
        }
        let name = self.wish.program.display().to_string();
        let why = if name.is_empty() || why.starts_with(&name) { why.to_owned() } else { format!("{name}: {why}") };
        log::error!("not upgraded: {why}");
        self.say(&Reply::Error(format!("{why}; not upgraded, the old one goes on")));
    }

    /// In words: what was awaited when its time was over.
    pub fn overdue(&self) -> String {
        let seconds = self.wish.ready_s;
        match self.stage {
            Stage::Asked => "no program was named".into(),
            Stage::Preparing(_) => format!("did not say within {seconds} s that it is prepared; is it tapvs?"),
            Stage::Stopping(_) => format!("the worker at work did not stop within {seconds} s"),
            Stage::Starting | Stage::Proving => format!("was not ready within {seconds} s"),
        }
    }

    /// Says it; false if the client has gone.
    fn say(&mut self, reply: &Reply) -> bool {
        let text = serde_json::to_string(reply).unwrap_or_default() + "\n";
        // A line is shorter than what a socket's buffer holds.
        self.client.write_all(text.as_bytes()).is_ok()
    }
}

/// A client that asks while another upgrade is on its way.
pub fn refuse(client: OwnedFd) {
    let reply = Reply::Error("another upgrade is on its way; wait for its end".into());
    let text = serde_json::to_string(&reply).unwrap_or_default() + "\n";
    // Who has gone does not need it.
    let _ = UnixStream::from(client).write_all(text.as_bytes());
}
