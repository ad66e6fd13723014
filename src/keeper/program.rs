//! The program that workers run: the one that runs here, or one that an operator has named.
//!
//! It is held open, so that what was looked at is what runs, whatever becomes of its file. Never runs it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::io::{NOTIFY_VARIABLES, own_uid};

/// The program that runs in this process, even if its file has been replaced since.
const SELF: &str = "/proc/self/exe";
/// How a program begins that the kernel starts by itself (elf(5)).
const ELF: [u8; 4] = *b"\x7fELF";

/// A program to start.
pub struct Program {
    /// The one that runs here has none.
    file: Option<File>,
}

impl Program {
    /// The one that runs in this process.
    pub fn own() -> Program {
        Program { file: None }
    }

    /// The one that lies there; an error is a sentence. The keeper starts it with its own rights, so nobody else may be able
    /// to write it.
    pub fn open(path: &Path) -> Result<Program, String> {
        let cannot = |what: &str| format!("{}: {what}", path.display());
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let mut file = opened.map_err(|error| cannot(&format!("cannot be opened: {error}")))?;
        let found = file.metadata().map_err(|error| cannot(&error.to_string()))?;
        if found.is_dir() {
            return Err(cannot("is a directory; name the program in it"));
        }
        if !found.is_file() || found.mode() & 0o111 == 0 {
            return Err(cannot("is not executable; chmod 755 it, if it is a program"));
        }
        if (found.uid() != own_uid() && found.uid() != 0) || found.mode() & 0o022 != 0 {
            return Err(cannot("others than root may write it; chown and chmod it first"));
        }
        let mut begin = [0; ELF.len()];
        if file.read_exact(&mut begin).is_err() || begin != ELF {
            return Err(cannot("is no program that Linux runs by itself (no ELF file)"));
        }
        Ok(Program { file: Some(file) })
    }

    /// A command that runs it under this name.
    pub fn command(&self, name: OsString) -> Command {
        let path = self.fd().map_or_else(|| SELF.to_owned(), |fd| format!("/proc/self/fd/{fd}"));
        let mut command = Command::new(path);
        command.arg0(name);
        // The manager hears the keeper alone.
        NOTIFY_VARIABLES.iter().for_each(|name| _ = command.env_remove(name));
        command
    }

    fn fd(&self) -> Option<RawFd> {
        self.file.as_ref().map(AsRawFd::as_raw_fd)
    }
}

/// Why a program could not be started; an error is a sentence.
pub fn not_started(path: &Path, error: &io::Error) -> String {
    format!("{}: cannot be started: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_no_program_or_anybodys_is_refused_with_the_reason() {
        let dir = std::env::temp_dir().join(format!("tapvs-program-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let said = |path: &Path| Program::open(path).err().unwrap_or_default();
        assert!(said(&dir.join("none")).contains("none: cannot be opened: No such file"));
        assert!(said(&dir).contains("is a directory"));
        assert!(said(Path::new("/dev/null")).contains("is not executable"));
        let script = dir.join("script");
        for (mode, wanted) in [(0o644, "not executable"), (0o777, "may write it"), (0o755, "no ELF file")] {
            fs::write(&script, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&script, Permissions::from_mode(mode)).unwrap();
            assert!(said(&script).contains(wanted), "{mode:o}: {}", said(&script));
        }
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_was_opened_runs_whatever_becomes_of_its_file() {
        let path = std::env::temp_dir().join(format!("tapvs-true-{}", std::process::id()));
        fs::copy("/bin/true", &path).unwrap();
        let program = Program::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(program.command("any".into()).status().unwrap().success());
    }
}
