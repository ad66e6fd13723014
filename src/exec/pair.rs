//! The pair of sockets that stands for one of the program's: how it is made and named, how datagrams go through it.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{self, AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, UnixAddr, send, sendmmsg};

use super::numbers::Way;
use crate::io::random_u64;

/// Names for this process's ends: each has another one, and the first is drawn, for no other process may have them.
pub struct Names(u64);

impl Names {
    /// From anywhere on.
    pub fn drawn() -> io::Result<Names> {
        random_u64().map(Names)
    }

    /// A pair: this process's end, and the file that the program is to be given.
    pub fn pair(&mut self, way: Way, kind: i32) -> Result<(OwnedFd, OwnedFd), Errno> {
        let (end, file) = socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        if way == Way::Direct {
            self.name_like_kernel(&end)?;
        }
        if kind & libc::SOCK_NONBLOCK != 0 {
            fcntl(&file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok((end, file))
    }

    /// Gives a socket an address as long as that of netlink, with zeros where the kernel's port id stands: programs look
    /// at the length, and some at the port id.
    fn name_like_kernel(&mut self, socket: &OwnedFd) -> Result<(), Errno> {
        loop {
            self.0 = self.0.wrapping_add(1);
            let [first, a, b, c, d, ..] = self.0.to_le_bytes();
            let name = UnixAddr::new_abstract(&[first, 0, 0, 0, 0, a, b, c, d])?;
            match socket::bind(socket.as_raw_fd(), &name) {
                Err(Errno::EADDRINUSE) => {}
                done => return done,
            }
        }
    }
}

/// Sends datagrams; how many there was room for.
pub fn send_all(socket: &OwnedFd, datagrams: &[Vec<u8>]) -> Result<usize, Errno> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    if let [only] = datagrams {
        return send(socket.as_raw_fd(), only, flags).map(|_| 1);
    }
    let slices: Vec<[IoSlice; 1]> = datagrams.iter().map(|datagram| [IoSlice::new(datagram)]).collect();
    let mut headers = MultiHeaders::<()>::preallocate(slices.len(), None);
    let addresses = vec![None; slices.len()];
    let sent = sendmmsg(socket.as_raw_fd(), &mut headers, &slices, addresses, [], flags)?;
    Ok(sent.count())
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockname;

    use super::*;

    #[test]
    fn a_name_that_another_has_is_passed_over() {
        let mut names = Names(41);
        let pairs: Vec<_> = (0..3).map(|_| names.pair(Way::Direct, libc::SOCK_RAW).unwrap()).collect();
        let name = |end: &OwnedFd| getsockname::<UnixAddr>(end.as_raw_fd()).unwrap().as_abstract().unwrap().to_vec();
        let (another, _) = Names(41).pair(Way::Direct, libc::SOCK_RAW).unwrap();
        assert!(pairs.iter().all(|(end, _)| name(end) != name(&another)));
        assert_eq!((name(&another).len(), &name(&another)[1..5]), (9, &[0; 4][..]));
    }
}
