//! Sockets of health checks: connections and datagrams that never block, and who is to blame for an error.
//!
//! Never reads an answer's meaning. A connection is ended by a reset, so that no TIME_WAIT is left behind.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use mio::event::Source;
use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt::Linger,
};

use crate::base::Endpoint;

/// A socket towards one server.
pub enum ProbeSocket {
    /// A connection.
    Tcp(TcpStream),
    /// Datagrams.
    Udp(UdpSocket),
}

impl ProbeSocket {
    /// Begins to connect; `bound` is the source address.
    pub fn tcp(to: Endpoint, bound: Option<IpAddr>) -> io::Result<ProbeSocket> {
        let socket = open(to, bound, SockType::Stream)?;
        setsockopt(&socket, Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
        begin(&socket, to)?;
        Ok(ProbeSocket::Tcp(TcpStream::from_std(socket.into())))
    }

    /// A socket that takes datagrams of this server only, and its ICMP errors.
    pub fn udp(to: Endpoint, bound: Option<IpAddr>) -> io::Result<ProbeSocket> {
        let socket = open(to, bound, SockType::Datagram)?;
        begin(&socket, to)?;
        Ok(ProbeSocket::Udp(UdpSocket::from_std(socket.into())))
    }

    /// True once the connection is there.
    pub fn is_connected(&self) -> io::Result<bool> {
        match self {
            ProbeSocket::Udp(_) => Ok(true),
            ProbeSocket::Tcp(stream) => match (stream.take_error()?, stream.peer_addr()) {
                (Some(error), _) => Err(error),
                (None, Ok(_)) => Ok(true),
                (None, Err(error)) if error.kind() == ErrorKind::NotConnected => Ok(false),
                (None, Err(error)) => Err(error),
            },
        }
    }

    /// Reads; `None` if there is nothing yet, 0 if the server has closed.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        later(match self {
            ProbeSocket::Tcp(stream) => stream.read(into),
            ProbeSocket::Udp(socket) => socket.recv(into),
        })
    }

    /// Writes; `None` if there is no room yet.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        later(match self {
            ProbeSocket::Tcp(stream) => stream.write(bytes),
            ProbeSocket::Udp(socket) => socket.send(bytes),
        })
    }
}

impl Source for ProbeSocket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            ProbeSocket::Tcp(stream) => stream.register(registry, token, interests),
            ProbeSocket::Udp(socket) => socket.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            ProbeSocket::Tcp(stream) => stream.reregister(registry, token, interests),
            ProbeSocket::Udp(socket) => socket.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            ProbeSocket::Tcp(stream) => stream.deregister(registry),
            ProbeSocket::Udp(socket) => socket.deregister(registry),
        }
    }
}

/// True if an error tells of the server or the way to it; else it is this host's own.
///
/// A lost route (ENETUNREACH) is the host's: else it would take every server out at once.
pub fn is_servers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::HostUnreachable
            | ErrorKind::TimedOut
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
    )
}

fn open(to: Endpoint, bound: Option<IpAddr>, kind: SockType) -> io::Result<OwnedFd> {
    let family = if to.addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
    if let Some(addr) = bound {
        bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(addr, 0)))?;
    }
    Ok(socket)
}

fn begin(socket: &OwnedFd, to: Endpoint) -> io::Result<()> {
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(to.addr, to.port))) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn later(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}
