//! Programs of health checks: started, waited for and ended, without ever waiting for one.
//!
//! A program gets no shell, no input, no inherited environment or files, and a process group of its own; at its deadline
//! the group gets SIGTERM, and two seconds later SIGKILL.

use std::collections::VecDeque;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::rights::{Sandbox, run_without_rights, with_rights_over_others};

/// Programs at a time; others wait, and their deadline runs meanwhile.
const AT_A_TIME: usize = 32;
/// So many may wait.
const WAITING: usize = 1024;
/// From SIGTERM to SIGKILL.
const PATIENCE: Duration = Duration::from_secs(2);
/// The environment of a program, besides what it is told.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to run.
#[derive(Debug)]
pub struct Program {
    /// Who is told its outcome, and by what number.
    pub caller: (u32, u64),
    /// Path and arguments.
    pub command: Vec<String>,
    /// What it is told.
    pub environment: Vec<(&'static str, String)>,
    /// How long it may run.
    pub timeout: Duration,
    /// It has no rights; else those of this process.
    pub sandbox: Option<Sandbox>,
}

/// How a program ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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

struct Running {
    caller: (u32, u64),
    child: Child,
    /// When the next signal is sent.
    due: Instant,
    late: bool,
}

/// Programs that run or wait; they end with this.
#[derive(Default)]
pub struct Programs {
    waiting: VecDeque<(Program, Instant)>,
    running: Vec<Running>,
    outcomes: VecDeque<((u32, u64), Ended)>,
}

impl Programs {
    /// Runs a program, as soon as there is room.
    pub fn run(&mut self, program: Program) {
        if self.waiting.len() == WAITING {
            return self.tell(program.caller, Ended::NotStarted("too many programs wait".into()));
        }
        let until = Instant::now() + program.timeout;
        self.waiting.push_back((program, until));
    }

    /// A caller is gone: its programs end, and nobody is told.
    pub fn forget(&mut self, caller: u32) {
        self.waiting.retain(|(program, _)| program.caller.0 != caller);
        self.outcomes.retain(|(told, _)| told.0 != caller);
        for running in self.running.iter_mut().filter(|running| running.caller.0 == caller) {
            (running.late, running.due) = (true, Instant::now());
        }
    }

    /// Does what is due; call it when a child has ended and at `due`.
    pub fn turn(&mut self) {
        self.look();
        self.start_waiting();
    }

    /// When something is to be done that no signal tells of.
    pub fn due(&self) -> Option<Instant> {
        let running = self.running.iter().map(|running| running.due);
        running.chain(self.waiting.iter().map(|(_, until)| *until)).min()
    }

    /// The outcome that is to be told next; call `told` when it was.
    pub fn outcome(&self) -> Option<&((u32, u64), Ended)> {
        self.outcomes.front()
    }

    /// The first outcome was told.
    pub fn told(&mut self) {
        self.outcomes.pop_front();
    }

    fn start_waiting(&mut self) {
        while self.running.len() < AT_A_TIME
            && let Some((program, due)) = self.waiting.pop_front()
        {
            let caller = program.caller;
            match start(&program) {
                Ok(child) => self.running.push(Running { caller, child, due, late: false }),
                Err(error) => {
                    let path = program.command.first().map_or("", String::as_str);
                    self.tell(caller, Ended::NotStarted(format!("{path}: {error}")));
                }
            }
        }
        let now = Instant::now();
        let late: Vec<_> = self.waiting.iter().filter(|(_, due)| *due <= now).map(|(late, _)| late.caller).collect();
        self.waiting.retain(|(_, due)| *due > now);
        late.into_iter().for_each(|caller| self.tell(caller, Ended::Late));
    }

    fn look(&mut self) {
        let now = Instant::now();
        let mut place = 0;
        while place < self.running.len() {
            let running = &mut self.running[place];
            if let Ok(Some(status)) = running.child.try_wait() {
                let Running { caller, child, late, .. } = self.running.swap_remove(place);
                // What it left behind in its group goes too.
                end(&child, Signal::SIGKILL);
                if !late {
                    let ended = status.code().map_or(Ended::Signal(status.signal().unwrap_or(0)), Ended::Exit);
                    self.tell(caller, ended);
                }
                continue;
            }
            place += 1;
            if running.due <= now {
                let signal = if running.late { Signal::SIGKILL } else { Signal::SIGTERM };
                end(&running.child, signal);
                running.due = now + PATIENCE;
                if !running.late {
                    running.late = true;
                    let caller = running.caller;
                    self.tell(caller, Ended::Late);
                }
            }
        }
    }

    fn tell(&mut self, caller: (u32, u64), ended: Ended) {
        self.outcomes.push_back((caller, ended));
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        self.running.iter().for_each(|running| end(&running.child, Signal::SIGKILL));
    }
}

fn start(program: &Program) -> io::Result<Child> {
    let (path, arguments) = program.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(path);
    if let Some(sandbox) = &program.sandbox {
        run_without_rights(&mut command, sandbox.user.as_ref());
    }
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(program.environment.iter().map(|(name, value)| (*name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    with_rights_over_others(|| command.spawn())
}

/// Signals the program's whole group.
fn end(child: &Child, signal: Signal) {
    let _ = with_rights_over_others(|| killpg(Pid::from_raw(child.id().cast_signed()), signal));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(caller: (u32, u64), command: &[&str], timeout: Duration) -> Program {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        Program { caller, command, environment: vec![("RIP", "10.0.0.1".to_owned())], timeout, sandbox: None }
    }

    /// Does what is due until so many outcomes are there and no program runs; the outcomes by number.
    fn outcomes(programs: &mut Programs, count: usize) -> Vec<(u64, Ended)> {
        let mut outcomes = Vec::new();
        while outcomes.len() < count || !programs.running.is_empty() {
            programs.turn();
            while let Some(((_, number), ended)) = programs.outcome() {
                outcomes.push((*number, ended.clone()));
                programs.told();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        outcomes.sort_by_key(|(number, _)| *number);
        outcomes
    }

    #[test]
    fn a_program_ends_with_its_code_and_knows_only_what_it_is_told() {
        let environment = "test \"$RIP\" = 10.0.0.1 && test -z \"$HOME\" && exit 7";
        let commands: [&[&str]; 5] = [
            &["/bin/true"],
            &["/bin/sh", "-c", environment],
            &["/no/such/program"],
            &["/bin/sh", "-c", "kill -9 $$"],
            &[],
        ];
        let mut programs = Programs::default();
        for (number, command) in commands.iter().enumerate() {
            programs.run(program((1, number as u64), command, Duration::from_secs(60)));
        }
        let outcomes = outcomes(&mut programs, commands.len());
        assert_eq!(outcomes[0].1, Ended::Exit(0));
        assert_eq!(outcomes[1].1, Ended::Exit(7));
        assert!(matches!(&outcomes[2].1, Ended::NotStarted(why) if why.starts_with("/no/such/program: No such file")));
        assert_eq!(outcomes[3].1, Ended::Signal(9));
        assert!(matches!(&outcomes[4].1, Ended::NotStarted(_)));
    }

    #[test]
    fn one_that_forks_and_ignores_sigterm_is_ended_with_all_it_started() {
        let stubborn = ["/bin/sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000"];
        let mut programs = Programs::default();
        programs.run(program((1, 0), &stubborn, Duration::from_millis(50)));
        assert_eq!(outcomes(&mut programs, 1), [(0, Ended::Late)]);
    }

    #[test]
    fn the_programs_of_a_caller_that_is_gone_end_and_nobody_is_told() {
        let mut programs = Programs::default();
        programs.run(program((1, 0), &["/bin/sleep", "1000"], Duration::from_secs(1000)));
        programs.run(program((2, 1), &["/bin/true"], Duration::from_secs(60)));
        programs.turn();
        programs.run(program((1, 2), &["/bin/true"], Duration::from_secs(60)));
        programs.forget(1);
        assert_eq!(outcomes(&mut programs, 1), [(1, Ended::Exit(0))]);
    }

    #[test]
    fn more_than_run_at_a_time_have_their_turn_and_no_more_than_fit_wait() {
        let mut programs = Programs::default();
        for number in 0..=WAITING as u64 {
            programs.run(program((1, number), &["/bin/true"], Duration::from_secs(600)));
        }
        assert!(matches!(programs.outcome(), Some(((1, 1024), Ended::NotStarted(_)))));
        programs.turn();
        assert_eq!((programs.running.len(), programs.waiting.len()), (AT_A_TIME, WAITING - AT_A_TIME));
        programs.waiting.truncate(4);
        let outcomes = outcomes(&mut programs, 1 + AT_A_TIME + 4);
        assert!(outcomes[..AT_A_TIME + 4].iter().all(|(_, ended)| *ended == Ended::Exit(0)));
    }
}
