//! The control socket: where it lies, who is on the other side of it, and both ends of it.
//!
//! Never reads a request. The director's end never blocks; a client's end waits, but not for ever.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs};

use super::sys;
use crate::base;
use mio::event::Source;
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// Where the sockets of all directors of a host lie.
pub const DIRECTORY: &str = "/run/tapvs";
/// Names the socket, for directors and clients.
pub const VARIABLE: &str = "TAPVS_SOCKET";
/// A client gives up on a director that has not answered for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no socket; a sentence for the operator.
#[derive(Debug)]
pub enum SocketError {
    /// The name cannot be an instance's.
    BadName(String),
    /// Another director answers there.
    Taken(PathBuf),
    /// Something that is no socket lies there.
    NotASocket(PathBuf),
    /// The system refuses.
    Refused(PathBuf, io::Error),
}

impl SocketError {
    /// True if another director is the reason.
    pub fn is_taken(&self) -> bool {
        matches!(self, SocketError::Taken(_))
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocketError::BadName(name) => {
                write!(f, "--name '{name}': not a name; use letters, digits, '-', '_' and '.'")
            }
            SocketError::Taken(path) => {
                let path = path.display();
                write!(f, "{path}: another director answers there; choose another --name, or another --socket")
            }
            SocketError::NotASocket(path) => {
                write!(
                    f,
                    "{}: there is something that is no socket; move it away, or choose another --socket",
                    path.display()
                )
            }
            SocketError::Refused(path, error) => {
                write!(f, "{}: cannot make the control socket: {error}", path.display())
            }
        }
    }
}

/// The socket that a director of this name has if nobody says otherwise: `/run/tapvs/NAME.sock`, and
/// `/run/tapvs/NAME@NAMESPACE.sock` in a network namespace other than the first process's.
pub fn default_socket(name: &str) -> PathBuf {
    let place = namespace().map_or(String::new(), |namespace| format!("@{namespace}"));
    Path::new(DIRECTORY).join(format!("{name}{place}.sock"))
}

/// The network namespace by its name (`ip netns`), or by its number; `None` in the first process's, which is most
/// often the host's: namespaces have a network of their own, but share `/run`.
fn namespace() -> Option<String> {
    let own = fs::metadata("/proc/self/ns/net").ok()?;
    let is_own = |path: &Path| fs::metadata(path).is_ok_and(|it| (it.dev(), it.ino()) == (own.dev(), own.ino()));
    if is_own(Path::new("/proc/1/ns/net")) {
        return None;
    }
    let named = fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|entry| entry.path());
    let name = named.filter(|path| is_own(path)).min();
    let name = name.and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
    Some(name.unwrap_or_else(|| own.ino().to_string()))
}

/// The sockets that lie in the usual place: first those of this network namespace, then all.
pub fn sockets_here() -> (Vec<PathBuf>, Vec<PathBuf>) {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()))
        .map(|entry| entry.path())
        .filter(|path| !is_stale(path))
        .collect();
    base::sort(&mut all);
    let here = namespace();
    let place_of = |path: &PathBuf| {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        stem.split_once('@').map(|(_, place)| place.to_owned())
    };
    (all.iter().filter(|path| place_of(path) == here).cloned().collect(), all)
}

/// True if nobody listens there any more.
fn is_stale(path: &Path) -> bool {
    net::UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The director's end. The file goes when the one that made it does.
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// The user besides root who may ask here.
    owner: u32,
    /// Device and inode, if it was made here: another director may have taken the place since.
    identity: Option<(u64, u64)>,
}

impl Listener {
    /// Listens at `path`, which only root and the caller may then open. What a dead director has left is replaced.
    pub fn open(path: &Path) -> Result<Listener, SocketError> {
        let refused = |error| SocketError::Refused(path.to_owned(), error);
        if path.parent() == Some(Path::new(DIRECTORY)) {
            fs::create_dir_all(DIRECTORY).map_err(refused)?;
        }
        if let Ok(found) = fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(SocketError::NotASocket(path.to_owned()));
            }
            if !is_stale(path) {
                return Err(SocketError::Taken(path.to_owned()));
            }
            fs::remove_file(path).map_err(refused)?;
        }
        let socket = UnixListener::bind(path).map_err(refused)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(refused)?;
        let made = fs::symlink_metadata(path).map_err(refused)?;
        let identity = Some((made.dev(), made.ino()));
        Ok(Listener { socket, path: path.to_owned(), owner: own_uid(), identity })
    }

    /// One that another process has made at `path` and keeps.
    pub fn inherited(fd: OwnedFd, path: PathBuf, owner: u32) -> io::Result<Listener> {
        let socket = net::UnixListener::from(fd);
        socket.set_nonblocking(true)?;
        Ok(Listener { socket: UnixListener::from_std(socket), path, owner, identity: None })
    }

    /// The user besides root who may ask here.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next client, with its user id; `None` if nobody waits.
    pub fn accept(&mut self) -> io::Result<Option<(UnixStream, u32)>> {
        match self.socket.accept() {
            Ok((stream, _)) => {
                let uid = getsockopt(&stream, PeerCredentials)?.uid();
                Ok(Some((stream, uid)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(identity) = self.identity else { return };
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("{}: cannot be removed: {error}", self.path.display());
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        sys::borrowed(&self.socket)
    }
}

impl Source for Listener {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}

/// The user this process runs as.
pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// A client's end: a line there, a line back.
pub struct Connection {
    stream: BufReader<net::UnixStream>,
}

impl Connection {
    /// Connects to a director.
    pub fn open(path: &Path) -> io::Result<Connection> {
        let stream = net::UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    /// Answers are waited for so long from now on.
    pub fn be_patient(&self, patience: Duration) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(patience))
    }

    /// Its socket.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.get_ref().as_fd()
    }

    /// Sends a line and waits for the line that answers it; both without their ends. `wait` is given the socket to wait on,
    /// for a caller that has other things to do until the answer comes.
    pub fn ask_waiting(&mut self, line: &str, wait: impl FnOnce(BorrowedFd) -> io::Result<()>) -> io::Result<String> {
        let sent = self.stream.get_mut().write_all(format!("{line}\n").as_bytes());
        wait(self.as_fd())?;
        let mut answer = String::new();
        // A refused client may get the refusal before its write completes.
        match self.stream.read_line(&mut answer) {
            Ok(0) => sent.and(Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(answer.trim_end().to_owned()),
            Err(error) => Err(sent.err().unwrap_or(error)),
        }
    }

    /// So many bytes that follow an answer's line.
    pub fn read_bytes(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // A length that is not true costs no memory.
        match self.stream.by_ref().take(len as u64).read_to_end(&mut bytes)? {
            count if count == len => Ok(bytes),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
