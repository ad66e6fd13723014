//! Files of the configuration, read by this process or, where it may not, through another one that may.
//!
//! Never writes.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::Channel;

/// The process that opens files for this one, if there is one.
static OPENER: OnceLock<Mutex<Channel>> = OnceLock::new();

/// From now on files are opened by the process at the other end of `channel`.
pub fn read_through(channel: Channel) {
    // A second one would be of no use: there is one keeper.
    let _ = OPENER.set(Mutex::new(channel));
}

/// What was read from pipes and the like, which can be read only once, by path.
static READ_ONCE: Mutex<Vec<(PathBuf, String)>> = Mutex::new(Vec::new());

fn read_once() -> MutexGuard<'static, Vec<(PathBuf, String)>> {
    READ_ONCE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The text of a file. A pipe has the text that it had the first time.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let Some(opener) = OPENER.get() else { return read_here(path) };
    let channel = opener.lock().unwrap_or_else(PoisonError::into_inner);
    channel.send(path.as_os_str().as_encoded_bytes(), None)?;
    let (said, fd) = channel.wait()?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let Some(fd) = fd else {
        let code = String::from_utf8_lossy(&said).parse().unwrap_or(libc::EACCES);
        return Err(io::Error::from_raw_os_error(code));
    };
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text)?;
    Ok(text)
}

fn read_here(path: &Path) -> io::Result<String> {
    if let Some((_, text)) = read_once().iter().find(|(known, _)| known == path) {
        return Ok(text.clone());
    }
    let text = std::fs::read_to_string(path)?;
    if !std::fs::metadata(path)?.is_file() {
        read_once().push((path.to_owned(), text.clone()));
    }
    Ok(text)
}

/// A file of which another process is to read the text. Never waits for the other end of a pipe.
pub fn open(path: &Path) -> io::Result<File> {
    if let Some((_, text)) = read_once().iter().find(|(known, _)| known == path) {
        let mut copy = File::from(memfd_create("tapvs", MFdFlags::MFD_CLOEXEC)?);
        copy.write_all(text.as_bytes())?;
        copy.rewind()?;
        return Ok(copy);
    }
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    File::open(path)
}

/// Leaves a descriptor open in the programs that this process starts.
pub fn let_inherit(fd: BorrowedFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}
