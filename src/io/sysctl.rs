//! Kernel settings under `/proc/sys`, of the network namespace we are in.
//!
//! Never creates a file, never touches a name outside `/proc/sys`.

use std::path::PathBuf;
use std::{fs, io};

/// The value of a setting such as `net/ipv4/conf/all/arp_ignore`.
pub fn read(name: &str) -> io::Result<String> {
    Ok(fs::read_to_string(path(name))?.trim_end().to_owned())
}

/// Sets it.
pub fn write(name: &str, value: &str) -> io::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .open(path(name))
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
}

fn path(name: &str) -> PathBuf {
    debug_assert!(!name.starts_with('/') && !name.split('/').any(|part| part == ".."), "{name}");
    PathBuf::from("/proc/sys").join(name)
}
