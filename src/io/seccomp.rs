//! A program whose system calls are notified to this process (seccomp user notification): starting it, hearing of its
//! calls, answering them.
//!
//! The calls that no crate wraps; every function it offers is safe. Never decides what a call means.
#![allow(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::Arc;

use libc::{seccomp_notif, seccomp_notif_addfd, seccomp_notif_resp, sock_filter, sock_fprog};
use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::socket::{self, AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType};

/// Why a program was not started.
#[derive(Debug)]
pub enum StartError {
    /// Its calls cannot be notified: the kernel does not know how, or does not allow it.
    Filter(io::Error),
    /// It cannot be executed.
    Execute(io::Error),
}

/// A system call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Names it in answers.
    pub id: u64,
    /// The thread that made it, as this process numbers it; 0 if it cannot be seen from here.
    pub thread: u32,
    /// Which call it is.
    pub number: i64,
    /// The instruction that made it.
    pub at: u64,
    /// Its arguments.
    pub args: [u64; 6],
}

/// What a call returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Returns {
    /// This value.
    Value(i64),
    /// An error.
    Error(Errno),
    /// What the kernel makes of it, as if nothing had been notified.
    Kernel,
}

/// Where the calls of a program and its children are notified.
pub struct Listener(OwnedFd);

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Listener {
    /// The next call; `None` if its maker is gone again. Waits if there is none: call it when the listener is readable.
    pub fn next_call(&self) -> io::Result<Option<Call>> {
        // SAFETY: the structure is plain integers, for which zeros are values; the kernel demands zeros.
        let mut notified: seccomp_notif = unsafe { std::mem::zeroed() };
        match self.control(libc::SECCOMP_IOCTL_NOTIF_RECV, &mut notified) {
            Ok(_) => {
                let seccomp_notif { id, pid, data, .. } = notified;
                let (number, at, args) = (data.nr.into(), data.instruction_pointer, data.args);
                Ok(Some(Call { id, thread: pid, number, at, args }))
            }
            Err(Errno::ENOENT | Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// True while the call still waits: what was read of its maker's memory until now was its own.
    pub fn still_waits(&self, call: &Call) -> bool {
        self.control(libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &mut { call.id }).is_ok()
    }

    /// Ends a call. False if it does not wait any more: its maker is gone, or a signal has interrupted it.
    pub fn answer(&self, call: &Call, returns: Returns) -> bool {
        let mut response = seccomp_notif_resp { id: call.id, val: 0, error: 0, flags: 0 };
        match returns {
            Returns::Value(value) => response.val = value,
            Returns::Error(errno) => response.error = -(errno as i32),
            Returns::Kernel => response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        }
        self.control(libc::SECCOMP_IOCTL_NOTIF_SEND, &mut response).is_ok()
    }

    /// Puts a file among those of the call's maker under this number, and ends the call, which returns the number.
    pub fn answer_with_file(&self, call: &Call, file: BorrowedFd, number: u32, flags: i32) -> Result<(), Errno> {
        let mut add = seccomp_notif_addfd {
            id: call.id,
            flags: (libc::SECCOMP_ADDFD_FLAG_SETFD | libc::SECCOMP_ADDFD_FLAG_SEND) as u32,
            srcfd: file.as_raw_fd() as u32,
            newfd: number,
            newfd_flags: flags as u32,
        };
        self.control(libc::SECCOMP_IOCTL_NOTIF_ADDFD, &mut add).map(drop)
    }

    /// An answer wakes its receiver on this processor, as this process goes to sleep: half the way (Linux 6.6).
    pub fn wake_here(&self) {
        const SYNC_WAKE_UP: libc::c_ulong = 1;
        // SAFETY: this request takes its argument by value. A kernel that does not know it refuses it.
        let _ = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
    }

    fn control<T>(&self, request: libc::Ioctl, argument: &mut T) -> Result<i32, Errno> {
        control(self.0.as_raw_fd(), request, argument)
    }
}

/// `argument` is the structure that the request's number names, with its size.
fn control<T>(listener: RawFd, request: libc::Ioctl, argument: &mut T) -> Result<i32, Errno> {
    debug_assert_eq!(request as usize >> 16 & 0x3fff, size_of::<T>());
    // SAFETY: the request reads and writes as many bytes as its number says, which are those of `argument`.
    Errno::result(unsafe { libc::ioctl(listener, request, std::ptr::from_mut(argument)) })
}

/// Starts a program under a filter, with this mask of signals. It is sent SIGTERM if this process ends before it.
pub fn start(mut command: Command, filter: Vec<sock_filter>, mask: SigSet) -> Result<(Child, Listener), StartError> {
    let pair = socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    let (here, there) = pair.map_err(|errno| StartError::Filter(errno.into()))?;
    let (parent, there) = (std::process::id(), Arc::new(there));
    let sender = there.clone();
    let prepare = move || {
        mask.thread_set_mask()?;
        // SAFETY: takes integers.
        Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) })?;
        // Where the parent is gone already nobody sends the signal.
        if std::os::unix::process::parent_id() != parent {
            return Err(Errno::ESRCH.into());
        }
        let listener = install(&filter)?;
        check_answers_with_files(&listener)?;
        let fds = [listener.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        socket::sendmsg::<()>(sender.as_raw_fd(), &[IoSlice::new(&[0])], &rights, MsgFlags::empty(), None)?;
        Ok(())
    };
    // SAFETY: this process has one thread, so what runs between fork and exec may do anything.
    let started = unsafe { command.pre_exec(prepare) }.spawn();
    drop((command, there));
    let listener = receive_file(&here);
    match (started, listener) {
        (Ok(child), Ok(listener)) => Ok((child, Listener(listener))),
        (Err(error), Ok(_)) => Err(StartError::Execute(error)),
        (Err(error), Err(_)) => Err(StartError::Filter(error)),
        (Ok(mut child), Err(error)) => {
            _ = child.kill();
            _ = child.wait();
            Err(StartError::Filter(error))
        }
    }
}

/// Puts this thread under the filter. Without CAP_SYS_ADMIN that takes a promise never to gain privileges.
fn install(filter: &[sock_filter]) -> Result<OwnedFd, Errno> {
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    let set = || {
        // SAFETY: the kernel reads `len` instructions through the pointer, which are those of the slice.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
                &raw const program,
            )
        };
        Errno::result(fd as RawFd)
    };
    let fd = match set() {
        Err(Errno::EACCES) => {
            nix::sys::prctl::set_no_new_privs()?;
            set()?
        }
        done => done?,
    };
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Linux 5.14 came last to know all that is needed: a call that returns a file. Asked of a call that does not exist.
fn check_answers_with_files(listener: &OwnedFd) -> Result<(), Errno> {
    let flags = (libc::SECCOMP_ADDFD_FLAG_SETFD | libc::SECCOMP_ADDFD_FLAG_SEND) as u32;
    let srcfd = listener.as_raw_fd() as u32;
    let mut add = seccomp_notif_addfd { id: 0, flags, srcfd, newfd: 0, newfd_flags: 0 };
    match control(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &mut add) {
        Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno),
        Ok(_) => Err(Errno::EPROTO),
    }
}

fn receive_file(from: &OwnedFd) -> io::Result<OwnedFd> {
    let (mut byte, mut space) = ([0], nix::cmsg_space!(RawFd));
    let mut parts = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = socket::recvmsg::<()>(from.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let rights = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    // SAFETY: the descriptor has just been received and nobody else owns it.
    rights.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// A handle on a process, which becomes readable when it ends; only of a process's first thread.
pub fn open_process(process: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes integers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) } as RawFd)?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A file of another process, by the number that it has there.
pub fn file_of(process: &OwnedFd, number: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes integers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) } as RawFd)?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an option of a netlink socket.
pub fn set_option(socket: &impl AsRawFd, (level, name): (i32, i32), value: &[u8]) -> Result<(), Errno> {
    let (bytes, len) = (value.as_ptr().cast(), value.len() as libc::socklen_t);
    // SAFETY: pointer and length are those of one live slice, which is only read.
    Errno::result(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, bytes, len) }).map(drop)
}

/// Bytes, or more, that were sent through one end of a pair and not yet received at the other; 0 if there are none.
pub fn unread(end: &impl AsRawFd) -> Result<i32, Errno> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one integer through the pointer.
    Errno::result(unsafe { libc::ioctl(end.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) }).map(|_| bytes)
}

/// What became of a fork.
pub enum Forked {
    /// In the process that was there before; the new one has this number.
    Parent(u32),
    /// In the new one.
    Child,
}

/// Goes on in a second process as well.
pub fn fork() -> Result<Forked, Errno> {
    // SAFETY: this process has one thread, so the child may do anything.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(Forked::Parent(child.as_raw() as u32)),
        nix::unistd::ForkResult::Child => Ok(Forked::Child),
    }
}
