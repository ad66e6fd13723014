//! What a service manager is told (sd_notify(3)): lines in a datagram to the socket that it names in the environment.
//!
//! Without a manager nothing is told. Never waits, and never fails loudly.

use std::env::var_os;
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The variables that a manager sets for this process alone.
pub const NOTIFY_VARIABLES: [&str; 3] = [SOCKET, WATCHDOG, WATCHDOG_PID];
const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// The manager, if there is one.
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// The manager that the environment names.
    pub fn from_environment() -> Notify {
        let socket = var_os(SOCKET).filter(|name| !name.is_empty()).and_then(|name| {
            let opened = address(&name).and_then(|address| Ok((UnixDatagram::unbound()?, address)));
            let opened = opened.and_then(|(socket, address)| socket.set_nonblocking(true).map(|()| (socket, address)));
            opened.map_err(|error| log::warn!("{SOCKET}={}: nothing is told there: {error}", name.display())).ok()
        });
        let number = |name| var_os(name)?.to_str()?.parse::<u64>().ok();
        let is_ours = number(WATCHDOG_PID).is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number(WATCHDOG).filter(|micros| *micros > 0 && is_ours).map(Duration::from_micros);
        Notify { watchdog: watchdog.filter(|_| socket.is_some()), socket }
    }

    /// The manager gives up on a process that it has not heard for so long.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells it these lines.
    pub fn say(&self, lines: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(lines.as_bytes(), address) {
            log::debug!("the service manager was not told '{lines}': {error}");
        }
    }
}

/// A path, or behind '@' a name without one.
fn address(name: &OsStr) -> std::io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(std::io::Error::other("it begins with neither '/' nor '@'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_hears_at_a_path_and_at_a_name_without_one() {
        let path = std::env::temp_dir().join(format!("tapvs-notify-{}", std::process::id()));
        let name = format!("@tapvs-notify-{}", std::process::id());
        for name in [path.as_os_str(), OsStr::new(&name)] {
            let address = address(name).unwrap();
            let manager = UnixDatagram::bind_addr(&address).unwrap();
            let notify = Notify { socket: Some((UnixDatagram::unbound().unwrap(), address)), watchdog: None };
            notify.say("READY=1\nSTATUS=serving");
            let mut heard = [0; 64];
            let count = manager.recv(&mut heard).unwrap();
            assert_eq!(&heard[..count], b"READY=1\nSTATUS=serving");
        }
        std::fs::remove_file(path).unwrap();
        assert!(address(OsStr::new("vsock:2:1")).is_err());
    }
}
