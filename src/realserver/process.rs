//! The decapsulating process as others see it: still the same one, and asked to do something.
//!
//! Never signals a process whose start time differs from the recorded one: numbers are given out again.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Error;
use super::state::Entry;

/// How long a process may take to end.
const PATIENCE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(10);

/// A process by number and start time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process {
    pid: i32,
    started: u64,
}

impl Process {
    /// This one.
    pub fn this() -> Result<Process, Error> {
        let pid = std::process::id() as i32;
        let started = started(pid).ok_or_else(|| Error::refused("read /proc/self/stat")(unreadable()))?;
        Ok(Process { pid, started })
    }

    /// The decapsulator on record, if it still runs.
    pub fn recorded(entries: &[Entry]) -> Option<Process> {
        entries.iter().rev().find_map(|entry| match *entry {
            Entry::Decapsulator { pid, started } => Some(Process { pid, started }).filter(Process::runs),
            _ => None,
        })
    }

    /// The line of the record.
    pub fn entry(&self) -> Entry {
        Entry::Decapsulator { pid: self.pid, started: self.started }
    }

    /// Asks it to read the record again.
    pub fn reload(&self) -> Result<(), Error> {
        self.signal(Signal::SIGHUP)
    }

    /// Asks it to end and waits until it has.
    pub fn stop(&self) -> Result<(), Error> {
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.runs() {
            if Instant::now() > deadline {
                return Err(Error::StillRunning(self.pid));
            }
            std::thread::sleep(STEP);
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        kill(Pid::from_raw(self.pid), signal)
            .map_err(|code| Error::refused(format!("signal process {}", self.pid))(code.into()))
    }

    fn runs(&self) -> bool {
        started(self.pid) == Some(self.started)
    }
}

fn unreadable() -> std::io::Error {
    std::io::Error::from_raw_os_error(libc::ENOENT)
}

/// When a process started; nothing if it has ended, even if its parent has not noticed yet.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields are counted after it: state is the 3rd of all.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // Field 22 of proc_pid_stat(5).
    fields.nth(22 - 4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_and_an_older_of_its_number_is_not() {
        let this = Process::this().unwrap();
        assert_eq!(Process::recorded(&[this.entry()]), Some(this));
        let older = Process { started: this.started - 1, ..this };
        assert_eq!(Process::recorded(&[older.entry()]), None);
        assert_eq!(Process::recorded(&[]), None);
    }
}
