//! Programs of health checks: started, waited for and ended on a thread of their own, so that packets never wait for them.
//!
//! A program gets no shell, no input, no inherited environment or files, and a process group of its own; at its deadline
//! the group gets SIGTERM, and two seconds later SIGKILL.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use mio::Waker;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Programs at a time; others wait, and their deadline runs meanwhile.
const AT_A_TIME: usize = 32;
/// How often running programs are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// From SIGTERM to SIGKILL.
const PATIENCE: Duration = Duration::from_secs(2);
/// The environment of a program, besides what it is told.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to run.
#[derive(Debug)]
pub struct Program {
    /// Whose outcome it is.
    pub tag: u64,
    /// Path and arguments.
    pub command: Vec<String>,
    /// What it is told.
    pub environment: Vec<(&'static str, String)>,
    /// How long it may run.
    pub timeout: Duration,
}

/// How a program ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Exit(i32),
    /// By a signal that nobody here sent.
    Signal(i32),
    /// It was still running at its deadline.
    Late,
    /// It could not be started.
    NotStarted(String),
}

/// The thread that runs programs; it ends with this.
pub struct Programs {
    requests: Sender<Program>,
    outcomes: Receiver<(u64, Ended)>,
}

impl Programs {
    /// Starts the thread; `waker` is called for each outcome.
    pub fn start(waker: Arc<Waker>) -> io::Result<Programs> {
        let (requests, inbox) = mpsc::channel();
        let (outbox, outcomes) = mpsc::channel();
        let runner = Runner { inbox, outbox, waker, waiting: Vec::new(), running: Vec::new() };
        std::thread::Builder::new().name("programs".into()).stack_size(256 << 10).spawn(move || runner.run())?;
        Ok(Programs { requests, outcomes })
    }

    /// Runs a program.
    pub fn run(&self, program: Program) {
        // The thread ends only after this.
        let _ = self.requests.send(program);
    }

    /// An outcome, if there is one.
    pub fn outcome(&self) -> Option<(u64, Ended)> {
        self.outcomes.try_recv().ok()
    }
}

struct Running {
    tag: u64,
    child: Child,
    /// When the next signal is sent.
    due: Instant,
    late: bool,
}

struct Runner {
    inbox: Receiver<Program>,
    outbox: Sender<(u64, Ended)>,
    waker: Arc<Waker>,
    waiting: Vec<(Program, Instant)>,
    running: Vec<Running>,
}

impl Runner {
    fn run(mut self) {
        loop {
            let idle = self.running.is_empty() && self.waiting.is_empty();
            let request = if idle {
                self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.inbox.recv_timeout(LOOK)
            };
            match request {
                Ok(program) => {
                    let until = Instant::now() + program.timeout;
                    self.waiting.push((program, until));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.start_waiting();
            self.look();
        }
        self.running.iter().for_each(|running| end(&running.child, Signal::SIGKILL));
    }

    fn start_waiting(&mut self) {
        while self.running.len() < AT_A_TIME && !self.waiting.is_empty() {
            let (program, due) = self.waiting.remove(0);
            match start(&program) {
                Ok(child) => self.running.push(Running { tag: program.tag, child, due, late: false }),
                Err(error) => self.tell(
                    program.tag,
                    Ended::NotStarted(format!("{}: {error}", program.command.first().map_or("", String::as_str))),
                ),
            }
        }
        let now = Instant::now();
        let late: Vec<u64> =
            self.waiting.iter().filter(|(_, due)| *due <= now).map(|(program, _)| program.tag).collect();
        self.waiting.retain(|(_, due)| *due > now);
        late.into_iter().for_each(|tag| self.tell(tag, Ended::Late));
    }

    fn look(&mut self) {
        let now = Instant::now();
        let mut place = 0;
        while place < self.running.len() {
            let running = &mut self.running[place];
            if let Ok(Some(status)) = running.child.try_wait() {
                let Running { tag, child, late, .. } = self.running.swap_remove(place);
                // What it left behind in its group goes too.
                end(&child, Signal::SIGKILL);
                if !late {
                    let ended = status.code().map_or(Ended::Signal(status.signal().unwrap_or(0)), Ended::Exit);
                    self.tell(tag, ended);
                }
                continue;
            }
            if running.due <= now {
                let signal = if running.late { Signal::SIGKILL } else { Signal::SIGTERM };
                end(&running.child, signal);
                (running.due, place) = (now + PATIENCE, place + 1);
                if !running.late {
                    running.late = true;
                    let tag = running.tag;
                    self.tell(tag, Ended::Late);
                }
                continue;
            }
            place += 1;
        }
    }

    fn tell(&self, tag: u64, ended: Ended) {
        let _ = self.outbox.send((tag, ended));
        let _ = self.waker.wake();
    }
}

fn start(program: &Program) -> io::Result<Child> {
    let (path, arguments) = program.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    Command::new(path)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(program.environment.iter().map(|(name, value)| (*name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Signals the program's whole group.
fn end(child: &Child, signal: Signal) {
    let _ = killpg(Pid::from_raw(child.id().cast_signed()), signal);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(commands: &[&[&str]], timeout: Duration) -> Vec<(u64, Ended)> {
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let programs = Programs::start(waker).unwrap();
        for (tag, command) in commands.iter().enumerate() {
            let command = command.iter().map(|word| (*word).to_owned()).collect();
            let environment = vec![("RIP", "10.0.0.1".to_owned())];
            programs.run(Program { tag: tag as u64, command, environment, timeout });
        }
        let mut outcomes: Vec<_> = commands.iter().map(|_| programs.outcomes.recv().unwrap()).collect();
        outcomes.sort_by_key(|(tag, _)| *tag);
        outcomes
    }

    #[test]
    fn a_program_ends_with_its_code_and_knows_only_what_it_is_told() {
        let environment = "test \"$RIP\" = 10.0.0.1 && test -z \"$HOME\" && exit 7";
        let outcomes = outcomes(
            &[
                &["/bin/true"],
                &["/bin/sh", "-c", environment],
                &["/no/such/program"],
                &["/bin/sh", "-c", "kill -9 $$"],
                &[],
            ],
            Duration::from_secs(60),
        );
        assert_eq!(outcomes[0].1, Ended::Exit(0));
        assert_eq!(outcomes[1].1, Ended::Exit(7));
        assert!(matches!(&outcomes[2].1, Ended::NotStarted(why) if why.starts_with("/no/such/program: No such file")));
        assert_eq!(outcomes[3].1, Ended::Signal(9));
        assert!(matches!(&outcomes[4].1, Ended::NotStarted(_)));
    }

    #[test]
    fn one_that_forks_and_ignores_sigterm_is_ended_with_all_it_started() {
        let stubborn = "trap '' TERM; sleep 1000 & sleep 1000";
        let outcomes = outcomes(&[&["/bin/sh", "-c", stubborn]], Duration::from_millis(50));
        assert_eq!(outcomes, [(0, Ended::Late)]);
    }
}
