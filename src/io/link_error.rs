//! What can go wrong when a link is opened, as one sentence each: what was given, what is wrong, what to do.
//!
//! Never about packets; those have `DropReason`.

use std::{fmt, io};

use crate::base::Mac;

/// Why a link could not be opened. Nothing of it is left behind.
#[derive(Debug)]
pub enum LinkError {
    /// The name is empty, longer than 15 bytes, or has a character that the kernel refuses.
    BadName {
        /// The name as given.
        name: String,
    },
    /// The kernel wants a privilege that we do not have.
    NotPermitted {
        /// The TAP.
        tap: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// `/dev/net/tun` does not exist or has no driver.
    NoTunDriver {
        /// The TAP.
        tap: String,
    },
    /// Another process holds the TAP.
    Busy {
        /// The TAP.
        tap: String,
    },
    /// A device of that name exists and is no TAP, or no TUN.
    NotATap {
        /// The device.
        tap: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// The TAP was made with several queues.
    MultiQueue {
        /// The TAP.
        tap: String,
    },
    /// There is no device of the bridge's name.
    NoBridge {
        /// The name.
        bridge: String,
    },
    /// A device of the bridge's name exists and is no bridge.
    NotABridge {
        /// The name.
        bridge: String,
    },
    /// The TAP is a port of another bridge.
    OnAnotherBridge {
        /// The TAP.
        tap: String,
        /// The bridge it is on.
        other: String,
    },
    /// Our MAC is the TAP's own: the bridge would keep our frames for the host.
    SameMac {
        /// The TAP.
        tap: String,
        /// The MAC of both.
        mac: Mac,
    },
    /// The kernel refused the MTU.
    Mtu {
        /// The TAP.
        tap: String,
        /// The MTU as given.
        mtu: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else the kernel refused.
    Setup {
        /// The TAP.
        tap: String,
        /// What was tried, to follow "cannot".
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::BadName { name } => {
                write!(f, "'{name}' cannot name a network device; use 1 to 15 bytes without '/', ':' or blanks")
            }
            LinkError::NotPermitted { tap, source } => {
                write!(f, "cannot open {tap}: {}; needs CAP_NET_ADMIN (run as root)", WithErrno(source))
            }
            LinkError::NoTunDriver { tap } => write!(
                f,
                "cannot open {tap}: /dev/net/tun is missing; load the tun module (modprobe tun) or create \
                 the node (mkdir -p /dev/net; mknod /dev/net/tun c 10 200)"
            ),
            LinkError::Busy { tap } => {
                write!(f, "cannot open {tap}: another process holds it; end that process or choose another name")
            }
            LinkError::NotATap { tap, wanted } => {
                write!(f, "cannot open {tap}: a device of that name exists and is no {wanted}; choose another name")
            }
            LinkError::MultiQueue { tap } => write!(
                f,
                "cannot open {tap}: it was made with several queues; delete it and make it without multi_queue"
            ),
            LinkError::NoBridge { bridge } => write!(
                f,
                "bridge {bridge} does not exist; create it (ip link add {bridge} type bridge) or name another"
            ),
            LinkError::NotABridge { bridge } => {
                write!(f, "{bridge} is not a bridge; name the bridge that the director is to sit on")
            }
            LinkError::OnAnotherBridge { tap, other } => write!(
                f,
                "TAP {tap} is a port of bridge {other} already; take it off (ip link set {tap} nomaster) or name \
                 {other}"
            ),
            LinkError::SameMac { tap, mac } => write!(
                f,
                "MAC {mac} is TAP {tap}'s own, and the bridge would keep our frames for the host; give the \
                 director another MAC"
            ),
            LinkError::Mtu { tap, mtu, source } => {
                write!(f, "{tap} does not take MTU {mtu}: {}; use 68 to 65521", WithErrno(source))
            }
            LinkError::Setup { tap, what, source } => {
                write!(f, "cannot {what} {tap}: {}; nothing was changed", WithErrno(source))
            }
        }
    }
}

impl std::error::Error for LinkError {}

/// An error as the kernel's words alone, without std's "(os error 1)".
pub struct WithErrno<'a>(pub &'a io::Error);

impl fmt::Display for WithErrno<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.raw_os_error() {
            Some(code) => f.write_str(nix::errno::Errno::from_raw(code).desc()),
            None => self.0.fmt(f),
        }
    }
}
