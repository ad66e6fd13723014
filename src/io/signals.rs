//! Signals as events of the loop, through a signalfd.
//!
//! Never runs code in a signal handler.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGTERM or SIGINT: end, and put back what was changed.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: write the counters to the log.
    Report,
    /// SIGCHLD: a child has ended.
    Child,
}

/// The signals that this program listens to, as a source for mio.
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks the signals for this thread and those it starts later: call it before any thread is started.
    pub fn open() -> io::Result<Signals> {
        let mask =
            SigSet::from_iter([Number::SIGTERM, Number::SIGINT, Number::SIGHUP, Number::SIGUSR1, Number::SIGCHLD]);
        mask.thread_block()?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Signals { fd })
    }

    /// The next signal that has arrived, if any; ask until there is none.
    pub fn next_signal(&mut self) -> io::Result<Option<Signal>> {
        while let Some(info) = self.fd.read_signal()? {
            let signal = match i32::try_from(info.ssi_signo).ok().and_then(|number| Number::try_from(number).ok()) {
                Some(Number::SIGTERM | Number::SIGINT) => Signal::Stop,
                Some(Number::SIGHUP) => Signal::Reload,
                Some(Number::SIGUSR1) => Signal::Report,
                Some(Number::SIGCHLD) => Signal::Child,
                _ => continue,
            };
            return Ok(Some(signal));
        }
        Ok(None)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Source for Signals {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.fd.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.fd.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.fd.as_raw_fd()).deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_signal_wakes_the_loop_and_is_read_once() {
        let mut signals = Signals::open().unwrap();
        let mut poll = mio::Poll::new().unwrap();
        poll.registry().register(&mut signals, Token(1), Interest::READABLE).unwrap();
        // To this thread alone: other tests' threads have not blocked it.
        nix::sys::signal::raise(Number::SIGHUP).unwrap();
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
        assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(1)]);
        assert_eq!(signals.next_signal().unwrap(), Some(Signal::Reload));
        assert_eq!(signals.next_signal().unwrap(), None);
    }
}
