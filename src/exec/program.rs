//! The program beside this process: the signals that are passed on to it, and its end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

/// Signals that are passed on.
const PASSED_ON: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// The signals as a file, and the mask as it was before, which is the program's.
pub fn hold_signals() -> io::Result<(SignalFd, SigSet)> {
    let mask = SigSet::from_iter(PASSED_ON.into_iter().chain([Signal::SIGCHLD]));
    let before = mask.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    Ok((SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?, before))
}

/// The program.
pub struct Program {
    signals: SignalFd,
    state: State,
}

enum State {
    Runs(Child),
    /// Its end was seen, and nobody has heard of it yet.
    Ended(ExitStatus),
    /// This process serves only what the program has left running.
    Gone,
}

impl Program {
    /// One that was started.
    pub fn new(child: Child, signals: SignalFd) -> Program {
        Program { signals, state: State::Runs(child) }
    }

    /// Readable when there is a signal.
    pub fn signals(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Passes signals on, and sees whether the program has ended.
    pub fn take_signals(&mut self) -> io::Result<()> {
        while let Some(info) = self.signals.read_signal()? {
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
            match (signal, &self.state) {
                (Some(Signal::SIGCHLD), _) => self.look()?,
                // A terminal sends its signals to the program as well.
                (Some(signal), State::Runs(child)) if info.ssi_code <= 0 => {
                    _ = kill(Pid::from_raw(child.id() as i32), signal);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Sees whether the program has ended.
    pub fn look(&mut self) -> io::Result<()> {
        if let State::Runs(child) = &mut self.state
            && let Some(status) = child.try_wait()?
        {
            self.state = State::Ended(status);
        }
        Ok(())
    }

    /// Its end, once.
    pub fn take_end(&mut self) -> Option<ExitStatus> {
        let State::Ended(status) = self.state else { return None };
        self.state = State::Gone;
        Some(status)
    }

    /// True if there is no program any more.
    pub fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    /// Waits until a file is readable, and serves the program's signals meanwhile. An error of kind `TimedOut`, or of kind
    /// `Interrupted` if the program has ended before.
    pub fn wait_for(&mut self, file: BorrowedFd, patience: Duration) -> io::Result<()> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
            let mut files = [file, self.signals.as_fd()].map(|file| PollFd::new(file, PollFlags::POLLIN));
            match poll(&mut files, timeout) {
                Ok(0) if left.is_zero() => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if files[0].any().unwrap_or(false) {
                return Ok(());
            }
            self.take_signals()?;
            if matches!(self.state, State::Ended(_)) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
    }
}
