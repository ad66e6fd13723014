//! The processes of the program, as far as their files have to be reached.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::{fs, io};

use caps::{CapSet, Capability, has_cap};
use nix::errno::Errno;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, Uid};

use super::memory::{Memory, Parts};
use crate::io::seccomp::{Forked, file_of, fork, open_process};

/// Handles on processes. They are kept, for programs open many sockets; one that has ended is of no use and goes when
/// there are many.
#[derive(Default)]
pub struct Processes {
    handles: HashMap<u32, OwnedFd>,
    /// First threads, which have their process's number.
    first_threads: HashSet<u32>,
    programs: HashMap<u32, Loaded>,
}

/// The program that a process is.
struct Loaded {
    program: PathBuf,
    /// The instruction that has made a socket last.
    at: u64,
    has_libnl: bool,
    /// So many sockets it has opened.
    opened: u32,
}

/// As many handles are kept.
const KEPT: usize = 64;
/// Programs that open fewer sockets than this have none left open (see `stay`).
const MANY: u32 = 8;
const LIBNL: &[u8] = b"/libnl-3.so";

impl Processes {
    /// The process that a thread belongs to; the thread itself if that cannot be read.
    pub fn of(&mut self, thread: u32) -> u32 {
        if self.first_threads.contains(&thread) {
            return thread;
        }
        let process = field(&format!("/proc/{thread}/status"), "Tgid:").and_then(|text| text.parse().ok());
        if process == Some(thread) {
            if self.first_threads.len() >= KEPT {
                self.first_threads.clear();
            }
            self.first_threads.insert(thread);
        }
        process.unwrap_or(thread)
    }

    /// True if a process has loaded libnl, which takes a datagram without looking at its sender's family. A program that
    /// has libnl within itself is not known by that.
    ///
    /// `at` is the instruction that makes a socket. Where it is the same as last time, the process is still the same
    /// program: another one's C library lies elsewhere.
    pub fn has_libnl(&mut self, process: u32, at: u64) -> bool {
        if let Some(known) = self.programs.get_mut(&process)
            && known.at == at
        {
            known.opened = known.opened.saturating_add(1);
            return known.has_libnl;
        }
        let Ok(program) = fs::read_link(format!("/proc/{process}/exe")) else { return false };
        if let Some(known) = self.programs.get_mut(&process)
            && known.program == program
        {
            known.at = at;
            return known.has_libnl;
        }
        let has_libnl = fs::read(format!("/proc/{process}/maps"))
            .is_ok_and(|maps| maps.windows(LIBNL.len()).any(|bytes| bytes == LIBNL));
        if self.programs.len() >= KEPT {
            self.programs.clear();
        }
        self.programs.insert(process, Loaded { program, at, has_libnl, opened: 1 });
        has_libnl
    }

    /// True if a process has opened many sockets of netlink.
    pub fn opens_many(&self, process: u32) -> bool {
        self.programs.get(&process).is_some_and(|known| known.opened >= MANY)
    }

    /// The file that the process of this thread has under this number.
    pub fn file(&mut self, thread: u32, number: u32) -> Result<OwnedFd, Errno> {
        if let Some(handle) = self.handles.get(&thread) {
            match file_of(handle, number) {
                // A later process of the same number.
                Err(Errno::ESRCH) => _ = self.handles.remove(&thread),
                done => return done,
            }
        }
        let process = self.of(thread);
        let handle = open_process(process)?;
        let file = file_of(&handle, number);
        // What is known of a thread is not kept: another process may have its number later, while this one lives.
        if process == thread {
            if self.handles.len() >= KEPT {
                self.handles.clear();
            }
            self.handles.insert(process, handle);
        }
        file
    }
}

/// Tries on a process of its own what answering a program takes: to read and write its memory, and to reach its files.
/// An error names the call that is forbidden.
pub fn try_reach() -> io::Result<Result<(), (&'static str, Errno)>> {
    let (mut waits, end) = io::pipe()?;
    let word = Box::new(7_u32);
    match fork()? {
        Forked::Child => {
            drop(end);
            _ = waits.read(&mut [0]);
            std::process::exit(0)
        }
        Forked::Parent(child) => {
            // It has this process's memory, at the same addresses.
            let done = reach(child, std::ptr::from_ref(&*word) as u64);
            drop(end);
            waitpid(Pid::from_raw(child as i32), None)?;
            Ok(done)
        }
    }
}

fn reach(process: u32, word: u64) -> Result<(), (&'static str, Errno)> {
    let memory = Memory::of(process);
    let read = memory.read_word(word).map_err(|errno| ("process_vm_readv", errno))?;
    let mut parts = Parts::default();
    parts.put(word, &read.to_ne_bytes());
    memory.write(&parts).map_err(|errno| ("process_vm_writev", errno))?;
    let handle = open_process(process).map_err(|errno| ("pidfd_open", errno))?;
    file_of(&handle, 0).map(drop).or_else(|errno| match errno {
        // It has no file of this number.
        Errno::EBADF => Ok(()),
        _ => Err(("pidfd_getfd", errno)),
    })
}

/// True if a thread may do what takes CAP_NET_ADMIN of a kernel: it has that in this process's user namespace, or is of this
/// process's user, who asks the director.
pub fn may_administer(thread: u32) -> bool {
    let ids = field(&format!("/proc/{thread}/status"), "Uid:");
    let user = ids.and_then(|ids| ids.split_whitespace().nth(1)?.parse().ok());
    if user == Some(Uid::effective().as_raw()) {
        return true;
    }
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/user")).ok();
    has_cap(Some(thread as i32), CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap_or(false)
        && namespace(&thread.to_string()) == namespace("self")
}

/// True if a file was opened, or set later, not to wait.
pub fn never_waits(thread: u32, number: u32) -> bool {
    let flags = field(&format!("/proc/{thread}/fdinfo/{number}"), "flags:");
    let flags = flags.and_then(|text| i32::from_str_radix(&text, 8).ok());
    flags.is_some_and(|flags| flags & libc::O_NONBLOCK != 0)
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}
