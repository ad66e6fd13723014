//! The files of the configuration, opened for workers: one that replaces another reads what that one had read, whatever
//! has become of the files meanwhile.
//!
//! Looks into them only for what they name: programs that workers may have run, and files that they may read besides.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::config::{Outside, RunArgs};
use crate::io::{Channel, open_to_read};

/// What may be read, and copies of what was.
pub struct Files {
    args: RunArgs,
    /// What the configuration in force names besides, once that was asked for.
    outside: Option<Outside>,
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
    /// The files that these flags name.
    pub fn new(args: RunArgs) -> Files {
        Files { args, outside: None, read: HashMap::new(), good: HashMap::new() }
    }

    /// What the configuration in force names: programs, and files to read besides. A worker has read the same text before.
    pub fn outside(&mut self) -> &Outside {
        let Files { args, good, .. } = self;
        self.outside.get_or_insert_with(|| {
            let text = args.config.as_ref().and_then(|path| read_again(good.get(path)?).ok());
            Outside::of(args, text.as_deref())
        })
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
        let is_configuration = self.args.files().iter().any(|readable| readable == path);
        if !is_configuration && !self.outside().has_file(path) {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        let good = self.good.get(path).filter(|_| which == Which::InForce);
        let copy = match good {
            Some(copy) => copy.try_clone()?,
            None => copy_of(&mut open_to_read(path)?)?,
        };
        let handed = again(&copy)?;
        if is_configuration {
            self.read.insert(path.to_owned(), copy);
        }
        Ok(handed)
    }

    /// What was read last is in force now.
    pub fn settle(&mut self) {
        self.good.extend(self.read.drain());
        self.outside = None;
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

fn read_again(file: &File) -> io::Result<String> {
    let mut text = String::new();
    again(file)?.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use argh::FromArgs;

    use super::*;

    #[test]
    fn a_replacement_reads_what_is_in_force() {
        let path = std::env::temp_dir().join(format!("tapvs-files-{}", std::process::id()));
        let mut files = Files::new(RunArgs::from_args(&["run"], &["--config", path.to_str().unwrap()]).unwrap());
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
    #[test]
    fn what_the_configuration_in_force_names_may_be_read_and_run() {
        let dir = std::env::temp_dir().join(format!("tapvs-outside-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let (config, roots) = (dir.join("tapvs.toml"), dir.join("ca.pem"));
        std::fs::write(&roots, "roots").unwrap();
        let check = format!("{{ kind = \"https\", verify = \"{}\" }}", roots.display());
        let with = |check: &str| {
            let service = format!("[[service]]\ntcp = \"10.0.0.100:80\"\ncheck = {check}\n");
            let link = "[[link]]\nbridge = \"br0\"\naddress = [\"10.0.0.2/24\"]\n";
            std::fs::write(&config, format!("{link}{service}")).unwrap();
        };
        let mut files = Files::new(RunArgs::from_args(&["run"], &["--config", config.to_str().unwrap()]).unwrap());
        with(&check);
        files.open(&config, Which::Present).unwrap();
        assert!(files.open(&roots, Which::Present).is_err(), "not in force yet");
        files.settle();
        let text = |files: &mut Files| read_again(&files.open(&roots, Which::Present).unwrap()).unwrap();
        assert_eq!(text(&mut files), "roots");
        std::fs::write(&roots, "others").unwrap();
        files.settle();
        assert_eq!(text(&mut files), "others", "it is read anew, whatever a worker before had read");
        with("{ kind = \"exec\", command = [\"/bin/true\"] }");
        assert!(!files.outside().has_program(&["/bin/true".to_owned()], None), "the file alone puts nothing in force");
        files.open(&config, Which::Present).unwrap();
        files.settle();
        assert!(files.outside().has_program(&["/bin/true".to_owned()], None));
        assert!(files.open(&roots, Which::Present).is_err(), "named no more");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
