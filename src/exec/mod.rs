//! `tapvs exec`: runs a program of the kernel's IPVS (keepalived, ipvsadm, ...) against a running director.
//!
//! The program's generic netlink sockets are answered here, by seccomp user notification; everything else that it does
//! is the kernel's. Never touches a packet.

mod calls;
mod closing;
mod deliver;
mod director;
mod event;
mod filter;
mod journal;
mod kernel;
mod look;
mod memory;
mod numbers;
mod pair;
mod processes;
mod program;
mod receive;
mod sent;
mod serve;
mod socket;
mod stay;
mod supervisor;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal, raise};

use crate::io::seccomp::{self, StartError};
use director::Director;
use numbers::Numbers;
use program::{Program, hold_signals};
use supervisor::{End, Supervisor};

/// This program's own failures, as `env` and `timeout` have them.
const FAILED: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// run a program that drives the kernel's IPVS (keepalived, ipvsadm, ...), and its children, against a running director
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "exec")]
pub struct ExecArgs {
    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    socket: Option<PathBuf>,
    /// seconds that the program waits for a director that has gone (default 30)
    #[argh(option, default = "30")]
    wait: u64,
    /// the program and its arguments, behind --
    #[argh(positional, greedy)]
    program: Vec<String>,
}

impl ExecArgs {
    /// Runs the program; what this process is to return. An error is a sentence, with the exit status.
    pub fn run(&self) -> Result<ExitCode, (String, u8)> {
        let failed = |sentence: String| (sentence, FAILED);
        let mut words = self.words();
        let program = words.next().ok_or_else(|| failed("no program; write tapvs exec -- PROGRAM ARGUMENTS".into()))?;
        let numbers = Numbers::below_limit().map_err(failed)?;
        match processes::try_reach() {
            Ok(done) => done.map_err(|(call, errno)| failed(forbids(call, errno)))?,
            Err(error) => return Err(failed(format!("cannot start a process: {error}"))),
        }
        let director = Director::find(self.socket.as_deref(), Duration::from_secs(self.wait)).map_err(failed)?;
        let (signals, mask) = hold_signals().map_err(|error| failed(format!("signals: {error}")))?;
        let mut command = Command::new(&program);
        command.args(words);
        let (child, listener) = seccomp::start(command, filter::filter(&numbers), mask)
            .map_err(|error| explain(&error, &program.to_string_lossy()))?;
        let mut supervisor = Supervisor::new(Program::new(child, signals), listener, numbers, director)
            .map_err(|error| failed(format!("cannot watch the program: {error}")))?;
        match supervisor.run() {
            Ok(End::Program(status)) if status.success() && supervisor.owed() > 0 => Err(failed(format!(
                "the director did not come back: {} changes of the program were not made",
                supervisor.owed()
            ))),
            Ok(End::Program(status)) => Ok(end_like(status)),
            Ok(End::Rest) => Ok(ExitCode::SUCCESS),
            Err(error) => Err(failed(format!("cannot watch the program any more: {error}"))),
        }
    }

    /// The program and its arguments as they were given, whatever bytes they are.
    fn words(&self) -> impl Iterator<Item = OsString> {
        let given = std::env::args_os().len();
        std::env::args_os().skip(given - self.program.len())
    }
}

fn explain(error: &StartError, program: &str) -> (String, u8) {
    let error = match error {
        StartError::Execute(error) if error.kind() == ErrorKind::NotFound => {
            return (format!("{program}: no such program"), NOT_FOUND);
        }
        StartError::Execute(error) => return (format!("{program}: cannot be started: {error}"), NOT_EXECUTABLE),
        StartError::Filter(error) => error,
    };
    let release = nix::sys::utsname::uname().map(|it| it.release().to_string_lossy().into_owned()).unwrap_or_default();
    let why = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSYS | Errno::EINVAL) => {
            format!("its system calls cannot be answered here: that takes Linux 5.14 or later with CONFIG_SECCOMP_FILTER, and this is {release}")
        }
        Some(Errno::EBUSY) => {
            "somebody else answers its system calls already: 'tapvs exec' within 'tapvs exec', or a container's runtime; leave one of them out".into()
        }
        Some(Errno::EPERM | Errno::EACCES) => {
            "seccomp is forbidden here; allow the system call seccomp (a container: --security-opt seccomp=unconfined, or a profile that has it)".into()
        }
        _ => format!("its system calls cannot be answered: {error}"),
    };
    (format!("{program}: {why}"), FAILED)
}

fn forbids(call: &str, errno: Errno) -> String {
    format!(
        "the memory and the files of a child cannot be reached here ({call}: {}); in a container, add CAP_SYS_PTRACE, or a seccomp \
         profile that allows process_vm_readv, process_vm_writev, pidfd_open and pidfd_getfd",
        errno.desc()
    )
}

/// What the program has ended with; if a signal has ended it, the same signal ends this process.
fn end_like(status: ExitStatus) -> ExitCode {
    if let Some(code) = status.code() {
        return ExitCode::from(code as u8);
    }
    let number = status.signal().unwrap_or(0);
    if let Ok(signal) = Signal::try_from(number) {
        // One image of the program's end is enough.
        _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
        _ = SigSet::from(signal).thread_unblock();
        _ = raise(signal);
    }
    ExitCode::from(128_u8.saturating_add(number as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_program_from_running_is_said_with_what_to_do() {
        let filter = |errno: Errno| explain(&StartError::Filter(errno.into()), "keepalived");
        for (errno, words) in [
            (Errno::EINVAL, "takes Linux 5.14 or later"),
            (Errno::ENOSYS, "takes Linux 5.14 or later"),
            (Errno::EPERM, "seccomp is forbidden here; allow"),
            (Errno::EBUSY, "leave one of them out"),
            (Errno::ENOMEM, "cannot be answered: "),
        ] {
            let (sentence, status) = filter(errno);
            assert!(sentence.starts_with("keepalived: ") && sentence.contains(words), "{errno}: {sentence}");
            assert_eq!(status, FAILED);
        }
        let missing = explain(&StartError::Execute(Errno::ENOENT.into()), "keepalived");
        assert_eq!(missing, ("keepalived: no such program".into(), NOT_FOUND));
        assert_eq!(explain(&StartError::Execute(Errno::EACCES.into()), "x").1, NOT_EXECUTABLE);
    }
}
