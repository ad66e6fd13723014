//! The system calls that no crate wraps: TUN ioctls, raw IP sockets, a socket option, the kernel's random source; and a hint
//! to the processor.
//!
//! The one file with `unsafe`; every function it offers is safe. Never keeps state, never logs.
#![allow(unsafe_code)]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::base::{Array, Backing, Family, Plain, Proto};

/// What a device may hand over unfinished or uncut, as the bits of `TUNSETOFFLOAD`.
pub mod offload {
    /// Checksums may be left to be finished.
    pub const CSUM: u32 = 0x01;
    /// TCP over IPv4 may come as superframes.
    pub const TSO4: u32 = 0x02;
    /// TCP over IPv6 may come as superframes.
    pub const TSO6: u32 = 0x04;
    /// Superframes may have the CWR bit.
    pub const TSO_ECN: u32 = 0x08;
    /// UDP over IPv4 may come as superframes; only together with `USO6`.
    pub const USO4: u32 = 0x20;
    /// UDP over IPv6 may come as superframes; only together with `USO4`.
    pub const USO6: u32 = 0x40;
    /// Superframes may come inside UDP tunnels.
    pub const UDP_TUNNEL: u32 = 0x80;
    /// These may have outer checksums, unfinished; only together with `UDP_TUNNEL`.
    pub const UDP_TUNNEL_CSUM: u32 = 0x100;
}

/// Sets the length of the virtio header (`TUNSETVNETHDRSZ`).
pub fn set_vnet_header_len(tap: &impl AsRawFd, len: i32) -> io::Result<()> {
    ioctl_with_int(tap, libc::TUNSETVNETHDRSZ, len)
}

/// Little-endian virtio headers on every machine (1), or the machine's own order (0) (`TUNSETVNETLE`).
pub fn set_vnet_little_endian(tap: &impl AsRawFd, on: i32) -> io::Result<()> {
    ioctl_with_int(tap, libc::TUNSETVNETLE, on)
}

/// Says which offloads we accept (`TUNSETOFFLOAD`); the kernel refuses a mask that it does not know.
pub fn set_offloads(tap: &impl AsRawFd, mask: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value; no memory of ours is read or written.
    let result = unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETOFFLOAD as _, libc::c_ulong::from(mask)) };
    checked(result).map(drop)
}

fn ioctl_with_int(fd: &impl AsRawFd, request: libc::Ioctl, value: i32) -> io::Result<()> {
    let value: libc::c_int = value;
    // SAFETY: both requests that come here read one c_int through the pointer, which is valid for the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw const value) };
    checked(result).map(drop)
}

/// A raw socket that receives every packet of `proto` for this host, an outer IPv4 header included; non-blocking.
pub fn raw_socket(family: Family, proto: Proto) -> io::Result<OwnedFd> {
    let domain = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket() takes three integers.
    let fd = checked(unsafe { libc::socket(domain, kind, i32::from(proto.0)) })?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets a UDP socket receive IPv6 datagrams without a checksum, as tunnels send them (RFC 6935).
pub fn accept_unsummed_udp6(socket: &impl AsRawFd) -> io::Result<()> {
    /// linux/udp.h
    const UDP_NO_CHECK6_RX: libc::c_int = 102;
    let on: libc::c_int = 1;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option reads one c_int through the pointer, which is valid for the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_UDP, UDP_NO_CHECK6_RX, (&raw const on).cast(), len)
    };
    checked(result).map(drop)
}

/// Fills `out` from the kernel's random source; waits for it early in boot.
pub fn fill_random(out: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < out.len() {
        let rest = &mut out[done..];
        // SAFETY: pointer and length are those of one live, exclusively borrowed slice.
        let count = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(count) {
            Ok(count) => done += count,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Asks for large pages in a part of this process's memory (`MADV_HUGEPAGE`); nothing that can be read there changes.
pub fn advise_large_pages(from: usize, len: usize) -> io::Result<()> {
    // SAFETY: this advice never changes what memory holds or whether it may be touched, wherever it points.
    checked(unsafe { libc::madvise(from as *mut libc::c_void, len, libc::MADV_HUGEPAGE) }).map(drop)
}

/// Has pages of a shared mapping at hand, so that writing there takes no page fault (`MADV_POPULATE_WRITE`, Linux 5.14).
pub fn populate(map: &Map, from: usize, len: usize) -> io::Result<()> {
    let len = len.min(map.len().saturating_sub(from));
    let start = map.start.as_ptr().wrapping_add(from).cast();
    // SAFETY: within the mapping, whose contents this advice leaves as they are.
    checked(unsafe { libc::madvise(start, len, libc::MADV_POPULATE_WRITE) }).map(drop)
}

/// The descriptor of something that has one and lives as long as this is used.
pub fn borrowed(of: &impl AsRawFd) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is that of `of`, which the result borrows.
    unsafe { BorrowedFd::borrow_raw(of.as_raw_fd()) }
}

/// Takes over a descriptor that the parent process left open for this one, and keeps it from further programs.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_SETFD takes an integer; a number that is no open descriptor is refused.
    checked(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and the parent named it for this process alone, which takes each once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has the child do something before it becomes the program.
pub fn before_exec(command: &mut Command, work: fn() -> io::Result<()>) {
    // SAFETY: the keeper, which alone calls this, has one thread: no lock is held by another one when the child begins.
    unsafe { command.pre_exec(work) };
}

/// Has the kernel end this process when no other one holds the writing end of this pipe any more.
pub fn end_when_closed(pipe: &impl AsRawFd) -> io::Result<()> {
    /// linux/fcntl.h
    const F_SETSIG: libc::c_int = 10;
    let fd = pipe.as_raw_fd();
    let set = |command, value: libc::c_int| {
        // SAFETY: these commands take an integer.
        checked(unsafe { libc::fcntl(fd, command, value) }).map(drop)
    };
    let own = std::process::id().cast_signed();
    set(libc::F_SETOWN, own)?;
    set(F_SETSIG, libc::SIGKILL)?;
    set(libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK)
}

/// A shared mapping of a file.
pub struct Map {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns the mapping; what is read and written there is read and written by arrays.
unsafe impl Send for Map {}
// SAFETY: nothing of it changes.
unsafe impl Sync for Map {}

impl Map {
    /// Maps the first `len` bytes.
    pub fn shared(fd: BorrowedFd, len: usize) -> io::Result<Map> {
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: no address is asked for, so nothing that is mapped already is replaced.
        let start = unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, fd, 0)? };
        Ok(Map { start: start.cast(), len })
    }

    /// Its first address.
    pub fn start(&self) -> usize {
        self.start.as_ptr() as usize
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped by `shared`, and no array is left: each holds what holds this.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}

/// `len` elements from `offset` on; `None` if they are not all in the mapping. `backing` holds the mapping, and the caller
/// gives each part away once.
pub fn array_over<T: Plain>(map: &Map, offset: usize, len: usize, backing: Box<dyn Backing>) -> Option<Array<T>> {
    let fits =
        len.checked_mul(size_of::<T>())?.checked_add(offset)? <= map.len && offset.is_multiple_of(align_of::<T>());
    // SAFETY: within the mapping, which begins with a page, and aligned.
    fits.then(|| unsafe { Array::over(map.start.add(offset).cast(), len, backing) })
}

/// A process's scheduling policy (sched(7)); 0 stands for this one.
pub fn policy(process: i32) -> io::Result<libc::c_int> {
    // SAFETY: takes an integer.
    checked(unsafe { libc::sched_getscheduler(process) })
}

/// Another one, of its lowest priority.
pub fn set_policy(process: i32, policy: libc::c_int) -> io::Result<()> {
    let sched_priority = libc::c_int::from(policy & !libc::SCHED_RESET_ON_FORK != libc::SCHED_OTHER);
    let parameter = libc::sched_param { sched_priority };
    // SAFETY: the structure is read during the call.
    checked(unsafe { libc::sched_setscheduler(process, policy, &raw const parameter) }).map(drop)
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
