//! A pair of connected sockets between two processes of ours: whole messages, and descriptors beside them.
//!
//! Never interprets a message.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg, sendmsg,
    socketpair,
};

use super::sys;

/// The longest message.
const LONGEST: usize = 64 * 1024;

/// One end.
pub struct Channel {
    fd: OwnedFd,
}

/// A message, and the descriptor that came with it.
pub type Received = (Vec<u8>, Option<OwnedFd>);

impl Channel {
    /// Both ends of a new one.
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let (here, there) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Channel { fd: here }, Channel { fd: there }))
    }

    /// An end that another process opened.
    pub fn inherited(fd: OwnedFd) -> Channel {
        Channel { fd }
    }

    /// Sends a message, without waiting for room.
    pub fn send(&self, message: &[u8], with: Option<BorrowedFd>) -> io::Result<()> {
        let fds: Vec<RawFd> = with.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let control = if fds.is_empty() { &[][..] } else { &rights[..] };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<UnixAddr>(self.fd.as_raw_fd(), &[IoSlice::new(message)], control, flags, None)?;
        Ok(())
    }

    /// The next message if there is one (`WouldBlock` if not); `None` when the other end is closed.
    pub fn receive(&self) -> io::Result<Option<Received>> {
        self.receive_with(MsgFlags::MSG_DONTWAIT)
    }

    /// The next message, waited for.
    pub fn wait(&self) -> io::Result<Option<Received>> {
        self.receive_with(MsgFlags::empty())
    }

    fn receive_with(&self, flags: MsgFlags) -> io::Result<Option<Received>> {
        let mut message = vec![0; LONGEST];
        let mut space = nix::cmsg_space!(RawFd);
        let (len, fd) = {
            let mut parts = [IoSliceMut::new(&mut message)];
            let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
            let got = recvmsg::<UnixAddr>(self.fd.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
            let mut fds = got.cmsgs()?.filter_map(|control| match control {
                ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
                _ => None,
            });
            (got.bytes, fds.next())
        };
        if len == 0 {
            return Ok(None);
        }
        message.truncate(len);
        Ok(Some((message, fd.map(sys::inherited).transpose()?)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Source for Channel {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn messages_come_whole_with_their_descriptors_and_the_end_is_seen() {
        let (here, there) = Channel::pair().unwrap();
        assert_eq!(there.receive().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let (mut reader, mut writer) = io::pipe().unwrap();
        here.send(b"one", None).unwrap();
        here.send(b"two", Some(reader.as_fd())).unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(there.receive().unwrap().map(|(bytes, fd)| (bytes, fd.is_some())), Some((b"one".to_vec(), false)));
        let (bytes, fd) = there.receive().unwrap().unwrap();
        assert_eq!(bytes, b"two");
        let mut byte = [0];
        std::fs::File::from(fd.unwrap()).read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        drop((here, writer));
        assert!(reader.read(&mut byte).is_ok());
        assert!(there.receive().unwrap().is_none());
    }
}
