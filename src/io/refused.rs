//! What happens in a worker that makes a call that its sandbox refuses: it is named, and the call fails, or the process ends.
//!
//! The handler of SIGSYS, which the kernel sends in place of the call. Never allocates, waits or locks.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use libc::{c_int, c_void, siginfo_t, ucontext_t};

/// Calls that nothing in the program or its libraries has a reason for: a process that makes one is somebody else's.
const DEADLY: [(i64, &str); 22] = [
    (libc::SYS_clone, "clone"),
    (libc::SYS_clone3, "clone3"),
    (libc::SYS_fork, "fork"),
    (libc::SYS_vfork, "vfork"),
    (libc::SYS_execve, "execve"),
    (libc::SYS_execveat, "execveat"),
    (libc::SYS_ptrace, "ptrace"),
    (libc::SYS_process_vm_readv, "process_vm_readv"),
    (libc::SYS_process_vm_writev, "process_vm_writev"),
    (libc::SYS_kill, "kill"),
    (libc::SYS_setuid, "setuid"),
    (libc::SYS_setresuid, "setresuid"),
    (libc::SYS_capset, "capset"),
    (libc::SYS_unshare, "unshare"),
    (libc::SYS_setns, "setns"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_bpf, "bpf"),
    (libc::SYS_init_module, "init_module"),
    (libc::SYS_finit_module, "finit_module"),
    (libc::SYS_keyctl, "keyctl"),
    (libc::SYS_io_uring_setup, "io_uring_setup"),
    (libc::SYS_userfaultfd, "userfaultfd"),
];

/// Others that have a name here.
const NAMED: [(i64, &str); 12] = [
    (libc::SYS_open, "open"),
    (libc::SYS_openat, "openat"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_newfstatat, "newfstatat"),
    (libc::SYS_socket, "socket"),
    (libc::SYS_socketpair, "socketpair"),
    (libc::SYS_listen, "listen"),
    (libc::SYS_ioctl, "ioctl"),
    (libc::SYS_fcntl, "fcntl"),
    (libc::SYS_mmap, "mmap"),
    (libc::SYS_mprotect, "mprotect"),
    (libc::SYS_prctl, "prctl"),
];

/// glibc looks there before it gives memory back, and does without it.
const ASKED_BY_GLIBC: &[u8] = b"/proc/sys/vm/overcommit_memory\0";

/// The calls that were said, a bit for each.
static SAID: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// From now on calls that a filter traps are handled here.
pub fn say_what_is_refused() -> io::Result<()> {
    // SAFETY: the structure is plain numbers, for which zeros are values.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = refuse as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler does what a handler may (signal-safety(7)) and lives as long as the process.
    if unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

extern "C" fn refuse(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: for SIGSYS the number of the call follows three integers, padding, and the address of the call (sigaction(2)).
    let call = i64::from(unsafe { *info.cast::<c_int>().add(6) });
    // SAFETY: the kernel hands a handler with SA_SIGINFO the context of what it has interrupted.
    let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    let is_deadly = DEADLY.iter().any(|(number, _)| *number == call);
    let is_glibcs = call == libc::SYS_openat && is_asked_by_glibc(registers[libc::REG_RSI as usize]);
    if !is_glibcs && is_news(call) {
        say(call, if is_deadly { "; it ends\n" } else { ", which fails\n" });
    }
    if is_deadly {
        // A second one while this signal is blocked ends the process, by SIGSYS.
        // SAFETY: it is trapped, and never made.
        unsafe { libc::syscall(libc::SYS_ptrace, -1, 0, 0, 0) };
    }
    registers[libc::REG_RAX as usize] = -i64::from(libc::EPERM);
}

/// True for a path that the C library opens by itself.
fn is_asked_by_glibc(path: i64) -> bool {
    let path = path as *const u8;
    // SAFETY: the caller has handed it to the kernel as a path, so it ends with a zero, where the comparison does, too.
    !path.is_null() && ASKED_BY_GLIBC.iter().enumerate().all(|(place, byte)| unsafe { *path.add(place) } == *byte)
}

fn is_news(call: i64) -> bool {
    let (word, bit) = ((call / 64) as usize, call % 64);
    SAID.get(word).is_none_or(|word| word.fetch_or(1 << bit, Relaxed) & (1 << bit) == 0)
}

/// A line on stderr, if it takes one at once.
fn say(call: i64, end: &str) {
    let mut line = Line { bytes: [0; 160], len: 0 };
    line.add(b"tapvs: the worker has made a system call that its sandbox refuses: ");
    match DEADLY.iter().chain(&NAMED).find(|(number, _)| *number == call) {
        Some((_, name)) => line.add(name.as_bytes()),
        None => line.add_number(call),
    }
    line.add(end.as_bytes());
    let mut asked = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: both calls get one live structure, and a live slice with its length.
    unsafe {
        if libc::poll(&raw mut asked, 1, 0) == 1 {
            libc::write(libc::STDERR_FILENO, line.bytes.as_ptr().cast(), line.len);
        }
    }
}

/// A line in a place of fixed size.
struct Line {
    bytes: [u8; 160],
    len: usize,
}

impl Line {
    fn add(&mut self, text: &[u8]) {
        for byte in text {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = *byte;
                self.len += 1;
            }
        }
    }

    fn add_number(&mut self, number: i64) {
        self.add(b"number ");
        let mut part = 1000;
        while part > 0 {
            if number >= part || part == 1 {
                self.add(&[b'0' + (number / part % 10) as u8]);
            }
            part /= 10;
        }
    }
}
