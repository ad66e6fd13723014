//! The files of the configuration, opened for workers: one that replaces another reads what that one had read, whatever
//! has become of the files meanwhile.
//!
//! Never looks into them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::io::{Channel, open_to_read};

/// What may be read, and copies of what was.
pub struct Files {
    readable: Vec<PathBuf>,
    /// As they were read last.
    read: HashMap<PathBuf, File>,
    /// As they are in force.
    good: HashMap<PathBuf, File>,
}

/// Which text a worker gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// As it is now.
    Present,
    /// As the worker before had it, if there was one.
    InForce,
}

impl Files {
    /// Files that workers may read.
    pub fn new(readable: Vec<PathBuf>) -> Files {
        Files { readable, read: HashMap::new(), good: HashMap::new() }
    }

    /// Answers a worker that asks for a file.
    pub fn serve(&mut self, channel: &Channel, which: Which) {
        let Ok(Some((bytes, _))) = channel.receive() else { return };
        let path = PathBuf::from(String::from_utf8_lossy(&bytes).into_owned());
        let sent = match self.open(&path, which) {
            Ok(file) => channel.send(b"0", Some(file.as_fd())),
            Err(error) => channel.send(error.raw_os_error().unwrap_or(0).to_string().as_bytes(), None),
        };
        if let Err(error) = sent {
            log::warn!("{}: not handed to the worker: {error}", path.display());
        }
    }

    fn open(&mut self, path: &Path, which: Which) -> io::Result<File> {
        if !self.readable.iter().any(|readable| readable == path) {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        let good = self.good.get(path).filter(|_| which == Which::InForce);
        let copy = match good {
            Some(copy) => copy.try_clone()?,
            None => copy_of(&mut open_to_read(path)?)?,
        };
        let handed = again(&copy)?;
        self.read.insert(path.to_owned(), copy);
        Ok(handed)
    }

    /// What was read last is in force now.
    pub fn settle(&mut self) {
        self.good.extend(self.read.drain());
    }
}

fn copy_of(file: &mut File) -> io::Result<File> {
    let mut copy = File::from(memfd_create("tapvs", MFdFlags::MFD_CLOEXEC)?);
    io::copy(file, &mut copy)?;
    Ok(copy)
}

/// The same file, to be read from its beginning.
fn again(file: &File) -> io::Result<File> {
    let mut again = File::open(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())).or_else(|_| file.try_clone())?;
    again.rewind()?;
    Ok(again)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_replacement_reads_what_is_in_force() {
        let path = std::env::temp_dir().join(format!("tapvs-files-{}", std::process::id()));
        let mut files = Files::new(vec![path.clone()]);
        let text = |files: &mut Files, which| {
            let mut text = String::new();
            files.open(&path, which).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        std::fs::write(&path, "first").unwrap();
        assert_eq!(text(&mut files, Which::Present), "first");
        files.settle();
        std::fs::write(&path, "second").unwrap();
        assert_eq!(text(&mut files, Which::InForce), "first");
        assert_eq!(text(&mut files, Which::Present), "second", "a reload");
        assert_eq!(text(&mut files, Which::InForce), "first", "which was refused");
        assert_eq!(text(&mut files, Which::Present), "second");
        files.settle();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text(&mut files, Which::InForce), "second", "as often as workers die");
        assert_eq!(text(&mut files, Which::InForce), "second");
        assert!(files.open(Path::new("/etc/passwd"), Which::Present).is_err());
    }
}
