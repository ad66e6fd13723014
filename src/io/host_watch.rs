//! Changes of the host's links and addresses, heard from the multicast groups of rtnetlink (rtnetlink(7)).
//!
//! Never asks and never changes anything: that is `Netlink`.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage as Route;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

use super::netlink::{messages, read_address, read_link};
use crate::base::Prefix;

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

fn changes(datagram: &[u8]) -> Vec<HostChange> {
    let Ok(messages) = messages(datagram) else { return vec![HostChange::Missed] };
    let inner = messages.into_iter().filter_map(|message| match message.payload {
        NetlinkPayload::InnerMessage(inner) => Some(inner),
        _ => None,
    });
    inner.filter_map(change).collect()
}

fn change(message: Route) -> Option<HostChange> {
    match message {
        Route::NewLink(link) | Route::DelLink(link) => {
            let link = read_link(Route::NewLink(link))?;
            Some(HostChange::Link { index: link.index, name: link.name })
        }
        Route::NewAddress(_) => read_address(message).map(|(index, prefix)| HostChange::Address(index, prefix)),
        Route::DelAddress(address) => {
            read_address(Route::NewAddress(address)).map(|(index, prefix)| HostChange::AddressGone(index, prefix.addr))
        }
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
