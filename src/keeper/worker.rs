//! A worker as its keeper sees it: started, spoken to, ended.
//!
//! Never decides whether another one is started.

use std::io::{self, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::messages::{Given, ToKeeper, ToWorker, VARIABLE, decode, encode};
use super::program::Program;
use crate::io::{Channel, hurry, let_inherit, with_rights_over_others};

/// A running worker.
pub struct Worker {
    child: Child,
    /// For messages.
    pub channel: Channel,
    /// For files that it asks to have opened.
    pub files: Channel,
    /// When it was started.
    pub started: Instant,
    /// When it said that it handles frames.
    pub ready: Option<Instant>,
    /// It was told to make room for the worker beside it.
    pub told_to_stop: bool,
    /// The worker ends with this.
    _lifeline: PipeWriter,
}

const SIGSYS: i32 = Signal::SIGSYS as i32;

/// How a worker ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It was done, or gave up with a sentence: this is the exit status.
    Exit(u8),
    /// It crashed or was killed; in words.
    Died(String),
}

impl Worker {
    /// Starts a program with the words that this one was started with, as the worker that is given this.
    pub fn start(program: &Program, mut given: Given) -> io::Result<Worker> {
        let (channel, its_channel) = Channel::pair()?;
        let (files, its_files) = Channel::pair()?;
        let (its_lifeline, lifeline) = io::pipe()?;
        for fd in [its_channel.as_fd(), its_files.as_fd(), its_lifeline.as_fd()] {
            let_inherit(fd)?;
        }
        (given.channel, given.files) = (raw(&its_channel), raw(&its_files));
        given.lifeline = Some(raw(&its_lifeline));
        let mut words = std::env::args_os();
        let name = words.next().unwrap_or_default();
        let mut command = program.command(name);
        let child = command.args(words).env(VARIABLE, String::from_utf8_lossy(&encode(&given)).as_ref()).spawn()?;
        Ok(Worker {
            child,
            channel,
            files,
            started: Instant::now(),
            ready: None,
            told_to_stop: false,
            _lifeline: lifeline,
        })
    }

    /// Passes a signal on.
    pub fn signal(&self, signal: Signal) {
        // It may have ended this very moment, which the next SIGCHLD tells.
        let _ = with_rights_over_others(|| kill(Pid::from_raw(self.child.id() as i32), signal));
    }

    /// Frames wait for it, or no longer: what it does meanwhile is short, unless others take its processor away.
    pub fn hurry(&self, on: bool) {
        match with_rights_over_others(|| hurry(self.child.id(), on)) {
            Ok(_) => {}
            Err(error) if on => log::debug!("the worker is in no hurry: {error}"),
            Err(error) => log::debug!("the worker is as it was: {error}"),
        }
    }

    /// The next message, if there is one, and the descriptor that came with it.
    pub fn message(&self) -> Option<(ToKeeper, Option<OwnedFd>)> {
        let (bytes, fd) = self.channel.receive().ok()??;
        decode(&bytes).map(|message| (message, fd))
    }

    /// Tells it something; a worker that has ended hears nothing, and the next one is given all of it.
    pub fn tell(&self, message: &ToWorker) {
        if let Err(error) = self.channel.send(&encode(message), None) {
            log::warn!("the worker was not told {message:?}: {error}");
        }
    }

    /// Waits for its end, which is near.
    pub fn reap(&mut self) {
        // An error is an end, too.
        let _ = self.child.wait();
    }

    /// Tells it something if it listens.
    pub fn takes(&self, message: &ToWorker) -> bool {
        self.channel.send(&encode(message), None).is_ok()
    }

    /// Names it among all that run.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<End> {
        self.child.try_wait().ok().flatten().map(end_of)
    }
}

fn raw(of: &impl AsRawFd) -> RawFd {
    of.as_raw_fd()
}

/// A panic that is not compiled to an abort exits with 101.
fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(101), _) => End::Died("panicked".into()),
        (Some(code), _) => End::Exit(u8::try_from(code).unwrap_or(1)),
        (None, Some(number)) => {
            let name = Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |it| it.to_string());
            // The worker has named the call in a line of its own.
            let why = if number == SIGSYS { ": it made a system call that its sandbox refuses" } else { "" };
            End::Died(format!("killed by {name}{why}"))
        }
        (None, None) => End::Died("ended".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_told_from_a_crash() {
        let status = |raw| end_of(ExitStatus::from_raw(raw));
        assert_eq!(status(0), End::Exit(0));
        assert_eq!(status(1 << 8), End::Exit(1));
        assert_eq!(status(101 << 8), End::Died("panicked".into()));
        assert_eq!(status(9), End::Died("killed by SIGKILL".into()));
        assert_eq!(status(6), End::Died("killed by SIGABRT".into()));
    }
}
