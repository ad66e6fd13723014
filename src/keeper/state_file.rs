//! The file of an instance's state: beside its control socket, made, taken or set aside.
//!
//! Never looks into it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::io::own_uid;

/// An open state file, which no other instance has.
pub struct StateFile {
    file: Flock<File>,
    path: PathBuf,
}

impl StateFile {
    /// The state file of the instance with this control socket; `None`, with a line in the log, where there can be none.
    pub fn open(socket: &Path, fresh: bool) -> Option<StateFile> {
        let path = socket.with_extension("state");
        let taken = if fresh { fs::remove_file(&path) } else { Ok(()) }
            .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
            .and_then(|()| match take(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path),
                Err(error) if is_for_others(&error) => Err(error),
                Err(error) => {
                    set_aside(&path, &error.to_string())?;
                    create(&path)
                }
                taken => taken,
            });
        match taken {
            Ok(file) => Some(StateFile { file, path }),
            Err(error) => {
                log::warn!("{}: {error}; conns and rules will not outlive this run", path.display());
                None
            }
        }
    }

    /// Another file in its place; this one gets a name that says so.
    pub fn replaced(self, why: &str) -> Option<StateFile> {
        let StateFile { file, path } = self;
        drop(file);
        match set_aside(&path, why).and_then(|()| create(&path)) {
            Ok(file) => Some(StateFile { file, path }),
            Err(error) => {
                log::warn!("{}: {error}; conns and rules will not outlive this run", path.display());
                None
            }
        }
    }

    /// Leaves nothing behind.
    pub fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("{}: cannot be removed: {error}", self.path.display());
        }
    }

    /// Its descriptor.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Another instance has it.
fn is_for_others(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

fn create(path: &Path) -> io::Result<Flock<File>> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    locked(file)
}

fn locked(file: File) -> io::Result<Flock<File>> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
}

/// Opens a state file that nobody else could have written: no link to elsewhere, and of root or this user alone.
fn take(path: &Path) -> io::Result<Flock<File>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(io::Error::other("it is a symbolic link"));
        }
        other => other?,
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if (found.uid() != own_uid() && found.uid() != 0) || found.nlink() != 1 || found.mode() & 0o022 != 0 {
        return Err(io::Error::other("others may write it"));
    }
    locked(file)
}

/// Gives a file the first free name that says that it was not used.
fn set_aside(path: &Path, why: &str) -> io::Result<()> {
    let name = |number: usize| PathBuf::from(format!("{}.bad-{number}", path.display()));
    // The tenth replaces the last one.
    let aside = (1..10).map(name).find(|aside| fs::symlink_metadata(aside).is_err()).unwrap_or_else(|| name(10));
    fs::rename(path, &aside)?;
    log::warn!("{}: {why}; set aside as {}, starting without it", path.display(), aside.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_state_is_taken_again_and_what_is_none_is_set_aside() {
        let dir = std::env::temp_dir().join(format!("tapvs-state-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let (socket, path) = (dir.join("lb.sock"), dir.join("lb.state"));
        let mut first = StateFile::open(&socket, false).unwrap();
        first.file.write_all(b"conns").unwrap();
        assert!(StateFile::open(&socket, false).is_none(), "another instance has it");
        drop(first);
        let text = |state: Option<StateFile>| {
            let mut text = String::new();
            state.unwrap().file.read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(text(StateFile::open(&socket, false)), "conns");
        assert_eq!(text(StateFile::open(&socket, false).unwrap().replaced("damaged")), "");
        assert_eq!(fs::read(dir.join("lb.state.bad-1")).unwrap(), b"conns");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert_eq!(text(StateFile::open(&socket, false)), "");
        assert!(fs::symlink_metadata(dir.join("lb.state.bad-2")).unwrap().is_symlink());
        fs::write(&path, "old").unwrap();
        assert_eq!(text(StateFile::open(&socket, true)), "");
        StateFile::open(&socket, false).unwrap().remove();
        assert!(!path.exists());
        fs::remove_dir_all(&dir).unwrap();
    }
}
