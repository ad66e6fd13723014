//! The kernel's own generic netlink, for what a program asks of other families on the same kind of socket.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, getsockname, sendmsg,
};

use crate::io::seccomp::set_option;

/// Where the port id stands in a message.
const PORT: std::ops::Range<usize> = 12..16;
/// Larger than any datagram of the kernel's lists.
const LARGEST: usize = 64 * 1024;

/// A socket to the kernel that stands behind one of the program's.
pub struct Kernel {
    socket: OwnedFd,
    port: u32,
}

impl AsFd for Kernel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Kernel {
    /// Opens it.
    pub fn open() -> Result<Kernel, Errno> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket::socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkGeneric)?;
        socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let port = getsockname::<NetlinkAddr>(socket.as_raw_fd())?.pid();
        Ok(Kernel { socket, port })
    }

    /// Passes a message on.
    pub fn send(&self, message: &[u8]) -> Result<(), Errno> {
        let to = NetlinkAddr::new(0, 0);
        sendmsg(self.socket.as_raw_fd(), &[IoSlice::new(message)], &[], MsgFlags::empty(), Some(&to)).map(drop)
    }

    /// The next datagram of the kernel's, made out to the program's port id; none if there is none now.
    pub fn receive(&self, port: u32) -> Option<Vec<u8>> {
        let mut bytes = vec![0; LARGEST];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = socket::recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, None, MsgFlags::empty());
        let len = received.ok().map(|received| received.bytes).filter(|len| *len > 0)?;
        bytes.truncate(len);
        readdress(&mut bytes, self.port, port);
        Some(bytes)
    }

    /// Sets an option of the program's where it has an effect.
    pub fn set_option(&self, option: (i32, i32), value: &[u8]) -> Result<(), Errno> {
        set_option(&self.socket, option, value)
    }
}

fn readdress(bytes: &mut [u8], from: u32, to: u32) {
    let mut at = 0;
    while let Some((message, len)) = crate::genl::Message::first(&bytes[at..]) {
        debug_assert!(message.bytes.len() >= PORT.end);
        let port = &mut bytes[at..][PORT];
        if *port == from.to_ne_bytes() {
            port.copy_from_slice(&to.to_ne_bytes());
        }
        at += len;
    }
}
