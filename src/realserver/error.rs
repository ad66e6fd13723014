//! What can go wrong while a host becomes a real server, as one sentence each.
//!
//! Never about packets; the decapsulator counts those.

use std::net::IpAddr;
use std::path::PathBuf;
use std::{fmt, io};

use crate::io::WithErrno;

/// Why `up` or `down` did not do it. A failed `up` has put back what it had changed.
#[derive(Debug)]
pub enum Error {
    /// `up` without a VIP.
    NoVip,
    /// A VIP that no service can have.
    BadVip(IpAddr),
    /// This host has no device `lo`.
    NoLoopback,
    /// An interface that does not exist.
    NoInterface(String),
    /// A privilege is missing.
    NotPermitted {
        /// What was tried, to follow "cannot".
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused something else.
    Refused {
        /// What was tried, to follow "cannot".
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The record of changes cannot be read.
    BadState(PathBuf),
    /// `down` without an `up`.
    NothingToUndo,
    /// The decapsulating process does not end.
    StillRunning(i32),
    /// Some settings could not be put back; the record of them is kept.
    NotRestored {
        /// The first of them, to follow "cannot".
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The decapsulator's device was deleted under it.
    DeviceGone,
}

impl Error {
    /// Sorts a kernel error by what the reader can do about it.
    pub(super) fn refused(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Error::NotPermitted { what, source },
            _ => Error::Refused { what, source },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoVip => f.write_str("realserver up needs at least one --vip; name the virtual service's address"),
            Error::BadVip(vip) => {
                write!(f, "--vip {vip} is not a unicast address; name the virtual service's address")
            }
            Error::NoLoopback => f.write_str("there is no device lo to hold the VIPs; run this on the real server"),
            Error::NoInterface(name) => {
                write!(f, "--interface {name} does not exist; `ip link` lists those that do")
            }
            Error::NotPermitted { what, source } => {
                write!(f, "cannot {what}: {}; needs CAP_NET_ADMIN and CAP_NET_RAW (run as root)", WithErrno(source))
            }
            Error::Refused { what, source } => write!(f, "cannot {what}: {}; nothing was changed", WithErrno(source)),
            Error::BadState(path) => write!(
                f,
                "{} is not a record that this version of tapvs wrote; put the settings in it back by hand and delete it",
                path.display()
            ),
            Error::NothingToUndo => {
                f.write_str("nothing to undo: `tapvs realserver up` was not run in this network namespace")
            }
            Error::StillRunning(pid) => {
                write!(f, "process {pid}, which decapsulates, does not end; kill it and run `down` again")
            }
            Error::NotRestored { what, source } => {
                write!(f, "cannot {what}: {}; what is left is still on record, so run `down` again", WithErrno(source))
            }
            Error::DeviceGone => f.write_str("the decapsulator's device was deleted; run `up` again"),
        }
    }
}

impl std::error::Error for Error {}
