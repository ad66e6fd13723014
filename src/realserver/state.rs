//! The record of what was changed on this host, so that another process can put it back.
//!
//! A line goes to the file before the change it speaks of is made. Never removes a line whose change stands.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::fcntl::{Flock, FlockArg};

use super::Error;
use crate::base::Prefix;

const DIRECTORY: &str = "/run/tapvs";

/// One line of the record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A VIP of this host, whoever put it there.
    Vip(IpAddr),
    /// A setting under `/proc/sys` and its former value.
    Sysctl {
        /// The setting.
        name: String,
        /// What it was.
        former: String,
    },
    /// An address that was not on `lo` before.
    Address(Prefix),
    /// A device that was down before.
    Up(String),
    /// A device that did not exist before.
    Created(String),
    /// The process that decapsulates, and when it started (in the kernel's ticks), for numbers come again.
    Decapsulator {
        /// The process.
        pid: i32,
        /// When it started.
        started: u64,
    },
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Vip(vip) => write!(f, "vip {vip}"),
            Entry::Sysctl { name, former } => write!(f, "sysctl {name} {former}"),
            Entry::Address(prefix) => write!(f, "address {prefix}"),
            Entry::Up(link) => write!(f, "up {link}"),
            Entry::Created(link) => write!(f, "created {link}"),
            Entry::Decapsulator { pid, started } => write!(f, "decapsulator {pid} {started}"),
        }
    }
}

impl FromStr for Entry {
    type Err = ();

    fn from_str(line: &str) -> Result<Entry, ()> {
        let (word, rest) = line.split_once(' ').ok_or(())?;
        let two = || rest.split_once(' ').ok_or(());
        Ok(match word {
            "vip" => Entry::Vip(rest.parse().map_err(drop)?),
            "sysctl" => Entry::Sysctl { name: two()?.0.to_owned(), former: two()?.1.to_owned() },
            "address" => Entry::Address(rest.parse().map_err(drop)?),
            "up" => Entry::Up(rest.to_owned()),
            "created" => Entry::Created(rest.to_owned()),
            "decapsulator" => {
                Entry::Decapsulator { pid: two()?.0.parse().map_err(drop)?, started: two()?.1.parse().map_err(drop)? }
            }
            _ => return Err(()),
        })
    }
}

/// The record of this network namespace, held against every other process until dropped.
pub struct State {
    path: PathBuf,
    file: Flock<File>,
    entries: Vec<Entry>,
}

impl State {
    /// The record, a new one if there is none.
    pub fn create() -> Result<State, Error> {
        let path = path()?;
        fs::create_dir_all(DIRECTORY).map_err(Error::refused(format!("create {DIRECTORY}")))?;
        State::lock(&path, OpenOptions::new().create(true)).and_then(|state| state.ok_or(Error::BadState(path)))
    }

    /// The record, if there is one.
    pub fn existing() -> Result<Option<State>, Error> {
        State::lock(&path()?, &OpenOptions::new())
    }

    /// The lines of the record without holding it.
    pub fn peek() -> Result<Option<Vec<Entry>>, Error> {
        let path = path()?;
        match fs::read_to_string(&path) {
            Ok(text) => parse(&text).ok_or(Error::BadState(path)).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::refused(format!("read {}", path.display()))(error)),
        }
    }

    fn lock(path: &Path, options: &OpenOptions) -> Result<Option<State>, Error> {
        let refused = || Error::refused(format!("open {}", path.display()));
        loop {
            let file = match options.clone().read(true).write(true).mode(0o600).open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(refused()(error)),
            };
            let mut file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, code)| refused()(code.into()))?;
            // Whoever held it may have deleted it while we waited: then ours is a file without a name.
            let ours = file.metadata().map_err(refused())?.ino();
            if fs::metadata(path).map(|named| named.ino()).ok() != Some(ours) {
                continue;
            }
            let mut text = String::new();
            file.read_to_string(&mut text).map_err(refused())?;
            let entries = parse(&text).ok_or_else(|| Error::BadState(path.to_owned()))?;
            return Ok(Some(State { path: path.to_owned(), file, entries }));
        }
    }

    /// Every line, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds a line, unless it is there. Call it before making the change.
    pub fn record(&mut self, entry: Entry) -> Result<(), Error> {
        if self.entries.contains(&entry) {
            return Ok(());
        }
        let line = format!("{entry}\n");
        let written = self.file.seek(io::SeekFrom::End(0)).and_then(|_| self.file.write_all(line.as_bytes()));
        written.map_err(Error::refused(format!("write {}", self.path.display())))?;
        self.entries.push(entry);
        Ok(())
    }

    /// Keeps the first `count` lines; without any the file goes, and the directory if it is empty.
    pub fn truncate(&mut self, count: usize) -> Result<(), Error> {
        self.entries.truncate(count);
        let text: String = self.entries.iter().map(|entry| format!("{entry}\n")).collect();
        let result = if text.is_empty() {
            fs::remove_file(&self.path).map(|()| {
                // Not empty when another namespace's record is there.
                let _ = fs::remove_dir(DIRECTORY);
            })
        } else {
            // A shorter text of the same lines: cutting is enough.
            self.file.set_len(text.len() as u64)
        };
        result.map_err(Error::refused(format!("write {}", self.path.display())))
    }
}

fn parse(text: &str) -> Option<Vec<Entry>> {
    text.lines().map(|line| line.parse().ok()).collect()
}

/// One record per network namespace, named by the kernel's number for it.
fn path() -> Result<PathBuf, Error> {
    let namespace = fs::metadata("/proc/self/ns/net").map_err(Error::refused("find out the network namespace"))?;
    Ok(Path::new(DIRECTORY).join(format!("realserver-{}", namespace.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_as_it_was_written() {
        let all = [
            Entry::Vip("198.51.100.1".parse().unwrap()),
            Entry::Sysctl { name: "net/ipv4/conf/all/arp_ignore".to_owned(), former: "0".to_owned() },
            Entry::Sysctl { name: "net/ipv4/tcp_rmem".to_owned(), former: "4096\t131072\t6291456".to_owned() },
            Entry::Address("198.51.100.1/32".parse().unwrap()),
            Entry::Up("lo".to_owned()),
            Entry::Created("tunl0".to_owned()),
            Entry::Decapsulator { pid: 17, started: 12345 },
        ];
        let text: String = all.iter().map(|entry| format!("{entry}\n")).collect();
        assert_eq!(parse(&text), Some(all.to_vec()));
        for bad in ["vip", "vip x", "sysctl a", "decapsulator 1", "decapsulator a b", "route 1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
