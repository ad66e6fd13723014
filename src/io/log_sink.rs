//! The log: lines to stderr, which may be a full pipe, a full disk, or gone. A line that cannot be written at once is lost
//! and counted; warnings of one kind are limited.
//!
//! Never waits, and never fails.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use log::{Level, Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};

/// A pipe takes so many bytes whole or not at all (`PIPE_BUF`): longer lines are cut.
const LONGEST: usize = 4096;
/// Warnings of one kind at once; after them one in each `PAUSE`.
const BURST: u32 = 20;
const PAUSE: Duration = Duration::from_secs(5);

static LOST: AtomicU64 = AtomicU64::new(0);
static OUTPUT: OnceLock<Mutex<Output>> = OnceLock::new();

/// Sends what `log` is told to stderr from now on; `RUST_LOG` chooses, else everything from `info` on.
pub fn start_log() {
    let env = env_logger::Env::default().default_filter_or("info");
    let pipe = env_logger::Target::Pipe(Box::new(Lines));
    let inner = env_logger::Builder::from_env(env).target(pipe).build();
    log::set_max_level(inner.filter());
    // Now: later this process may not be allowed to open anything.
    output();
    // Only a second call fails, and the first logger is as good.
    _ = log::set_boxed_logger(Box::new(Limited { inner, kinds: Mutex::default() }));
}

/// Lines of the log that were lost so far, because nobody took them.
pub fn lost_lines() -> u64 {
    LOST.load(Relaxed)
}

/// Writes text of several lines past the log's format and limits; as ready to lose some as the log.
pub fn write_lines(text: &str) {
    text.lines().for_each(|line| write(format!("{line}\n").as_bytes()));
}

/// What `env_logger` writes to, a line at a time.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        write(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn output() -> &'static Mutex<Output> {
    OUTPUT.get_or_init(|| Mutex::new(Output::of_stderr()))
}

fn write(line: &[u8]) {
    let output = output();
    // A thread that panicked while it held the lock left nothing half-done that matters here.
    let mut output = output.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    output.write(line);
}

/// How stderr is written to without waiting.
enum Way {
    /// `MSG_DONTWAIT`.
    Socket,
    /// An open file of our own, not waiting: whoever shares ours must not be changed.
    Own(File),
    /// Asked first whether it would take something. A file on a disk always would.
    Asked,
}

struct Output {
    way: Way,
    /// Lines lost since the last one that was written.
    lost: u64,
}

impl Output {
    fn of_stderr() -> Output {
        let kind = std::fs::metadata("/proc/self/fd/2").map(|data| data.file_type());
        let way = match kind {
            Ok(kind) if kind.is_socket() => Way::Socket,
            Ok(kind) if kind.is_fifo() || kind.is_char_device() => {
                let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
                let own = OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/2");
                own.map_or(Way::Asked, Way::Own)
            }
            _ => Way::Asked,
        };
        Output { way, lost: 0 }
    }

    fn write(&mut self, line: &[u8]) {
        if self.lost > 0 {
            let said = format!("[{} lines of the log were lost: nobody took them]\n", self.lost);
            if self.try_write(said.as_bytes()).is_err() {
                return self.lose();
            }
            self.lost = 0;
        }
        let written = match line.get(..LONGEST) {
            Some(_) => self.try_write(&[&line[..LONGEST - 1], b"\n"].concat()),
            None => self.try_write(line),
        };
        if written.is_err() {
            self.lose();
        }
    }

    fn lose(&mut self) {
        self.lost += 1;
        LOST.fetch_add(1, Relaxed);
    }

    /// A part that was written counts as the whole: it is in the log.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.way {
            Way::Socket => Ok(send(io::stderr().as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?),
            Way::Own(file) => file.write(bytes),
            Way::Asked => {
                let stderr = io::stderr();
                let mut asked = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut asked, PollTimeout::ZERO)? {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => stderr.lock().write(bytes),
                }
            }
        }
    }
}

/// Lines of one kind: those of one place in the program.
#[derive(Clone, Copy)]
struct Kind {
    allowed: u32,
    since: Instant,
    left_out: u64,
}

impl Kind {
    fn new(now: Instant) -> Kind {
        Kind { allowed: BURST, since: now, left_out: 0 }
    }

    /// Whether another line may be written, and how many before it were not.
    fn admits(&mut self, now: Instant) -> Option<u64> {
        let pauses = now.duration_since(self.since).as_secs() / PAUSE.as_secs();
        if pauses > 0 {
            self.allowed = BURST.min(self.allowed.saturating_add(u32::try_from(pauses).unwrap_or(BURST)));
            self.since = now;
        }
        if self.allowed == 0 {
            self.left_out += 1;
            return None;
        }
        self.allowed -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// File and line in the program.
type Place = (Option<&'static str>, Option<u32>);

/// A logger whose warnings and errors are limited by kind. What operators ask for is information and is not.
struct Limited {
    inner: env_logger::Logger,
    kinds: Mutex<HashMap<Place, Kind>>,
}

impl Limited {
    fn note(&self, record: &Record, left_out: u64) {
        let place = record.module_path().unwrap_or_default();
        let args = format_args!("{left_out} more lines of the following kind were left out");
        let (level, target) = (record.level(), record.target());
        self.inner.log(&Record::builder().args(args).level(level).target(target).module_path(Some(place)).build());
    }
}

impl Log for Limited {
    fn enabled(&self, metadata: &Metadata) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record) {
        if !self.inner.matches(record) {
            return;
        }
        if record.level() <= Level::Warn {
            let now = Instant::now();
            let mut kinds = self.kinds.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let kind = kinds.entry((record.file_static(), record.line())).or_insert_with(|| Kind::new(now));
            let admitted = kind.admits(now);
            drop(kinds);
            match admitted {
                None => return,
                Some(0) => {}
                Some(left_out) => self.note(record, left_out),
            }
        }
        self.inner.log(record);
    }

    /// Says what was left out since, of each kind.
    fn flush(&self) {
        let mut kinds = self.kinds.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for ((file, line), kind) in kinds.iter_mut().filter(|(_, kind)| kind.left_out > 0) {
            let left_out = std::mem::take(&mut kind.left_out);
            let place = format!("{}:{}", file.unwrap_or_default(), line.unwrap_or_default());
            let args = format_args!("{left_out} more lines of the kind of {place} were left out");
            self.inner.log(&Record::builder().args(args).level(Level::Warn).target("tapvs").build());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_kind_may_say_twenty_lines_then_one_in_five_seconds_with_the_count_of_the_rest() {
        let began = Instant::now();
        let mut kind = Kind::new(began);
        assert!((0..20).all(|_| kind.admits(began) == Some(0)));
        assert!((0..300).all(|_| kind.admits(began).is_none()));
        let later = began + PAUSE;
        assert_eq!((kind.admits(later), kind.admits(later)), (Some(300), None));
        assert_eq!(kind.admits(later + 1000 * PAUSE), Some(1));
        assert_eq!((0..100).filter(|_| kind.admits(later + 1000 * PAUSE).is_some()).count(), 19, "never more at once");
    }

    #[test]
    fn a_full_pipe_loses_lines_says_how_many_and_stops_nobody() {
        let (mut reader, writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let own = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
        let mut output = Output { way: Way::Own(own), lost: 0 };
        let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
        // A pipe holds 64 KiB.
        (0..100).for_each(|_| output.write(&line));
        let lost = output.lost;
        assert!((36..100).contains(&lost), "{lost} lost");
        let mut taken = vec![0; 60 * 1024];
        reader.read_exact(&mut taken).unwrap();
        output.write(b"the next\n");
        drop((output, writer));
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        let end = format!("[{lost} lines of the log were lost: nobody took them]\nthe next\n");
        assert!(rest.ends_with(&end), "{rest}");
    }

    #[test]
    fn a_reader_that_is_gone_is_no_error() {
        let (reader, writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let own = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
        let mut output = Output { way: Way::Own(own), lost: 0 };
        drop(reader);
        (0..3).for_each(|_| output.write(b"a line\n"));
        assert_eq!(output.lost, 3);
    }

    #[test]
    fn a_long_line_is_cut() {
        let (mut reader, writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let own = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
        let mut output = Output { way: Way::Own(own), lost: 0 };
        output.write(&[b'y'; 9000]);
        drop((output, writer));
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!((all.len(), all.last()), (LONGEST, Some(&b'\n')));
    }
}
