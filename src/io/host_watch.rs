//! Changes of the host's links and addresses, heard from the multicast groups of rtnetlink (rtnetlink(7)).
//!
//! Never asks and never changes anything: that is `Netlink`.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

use super::netlink::{read_address, read_link};
use crate::base::Prefix;
use crate::wire::netlink::Message;

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`.
const GROUPS: u32 = (libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR) as u32;
/// The kernel sends no longer datagram.
const LONGEST: usize = 64 * 1024;

/// A change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostChange {
    /// A link is new, different, or gone.
    Link {
        /// The kernel's number for it.
        index: u32,
        /// Its name.
        name: String,
    },
    /// An address of the link with that number has come or has been changed.
    Address(u32, Prefix),
    /// Such an address has gone.
    AddressGone(u32, IpAddr),
    /// More changed than there was room for: everything is to be asked anew.
    Missed,
}

/// The socket.
pub struct HostWatch {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl HostWatch {
    /// Listens in the network namespace we are in; needs no privilege.
    pub fn open() -> io::Result<HostWatch> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(HostWatch { fd, buffer: vec![0; LONGEST] })
    }

    /// The changes of the next datagram, which may be none that matter; `None` if there is no datagram.
    pub fn next_changes(&mut self) -> Option<Vec<HostChange>> {
        match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
            Ok(len) => Some(changes(&self.buffer[..len])),
            Err(nix::errno::Errno::EAGAIN) => None,
            Err(nix::errno::Errno::EINTR) => Some(Vec::new()),
            Err(_) => Some(vec![HostChange::Missed]),
        }
    }
}

impl AsFd for HostWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn changes(mut datagram: &[u8]) -> Vec<HostChange> {
    let mut all = Vec::new();
    while !datagram.is_empty() {
        let Some((message, len)) = Message::first(datagram) else { return vec![HostChange::Missed] };
        all.extend(change(&message));
        datagram = &datagram[len..];
    }
    all
}

fn change(message: &Message) -> Option<HostChange> {
    match message.kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => {
            read_link(message).map(|link| HostChange::Link { index: link.index, name: link.name })
        }
        libc::RTM_NEWADDR => read_address(message).map(|(index, prefix)| HostChange::Address(index, prefix)),
        libc::RTM_DELADDR => read_address(message).map(|(index, prefix)| HostChange::AddressGone(index, prefix.addr)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_that_is_none_has_everything_asked_anew() {
        assert_eq!(changes(&[1, 2, 3]), [HostChange::Missed]);
        assert_eq!(changes(&[]), []);
    }

    #[test]
    fn nothing_is_heard_where_nothing_changes() {
        // Other tests do not touch this namespace's links.
        let mut watch = HostWatch::open().unwrap();
        assert_eq!(watch.next_changes(), None);
    }
}
