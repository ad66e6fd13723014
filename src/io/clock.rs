//! The monotonic clock and the kernel's random source: what the core is handed from outside.
//!
//! The wall clock, which may jump, is only for what other hosts are told.

use std::io;
use std::sync::OnceLock;
use std::time;

use super::sys;
use crate::base::Instant;

/// Counts milliseconds from the moment it was started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: time::Instant,
}

impl Clock {
    /// Starts at `Instant::START`.
    pub fn start() -> Clock {
        Clock { started: time::Instant::now() }
    }

    /// As if it had been started at that moment of the kernel's monotonic clock.
    pub fn started_at(epoch: u64) -> Clock {
        let since = time::Duration::from_millis(monotonic_millis().saturating_sub(epoch));
        let now = time::Instant::now();
        Clock { started: now.checked_sub(since).unwrap_or(now) }
    }

    /// The time since the start.
    pub fn now(&self) -> Instant {
        Instant::START + self.started.elapsed()
    }
}

/// Milliseconds of the kernel's monotonic clock, which all processes of one boot share.
pub fn monotonic_millis() -> u64 {
    monotonic_micros() / 1000
}

/// The same in microseconds.
pub fn monotonic_micros() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(time::Duration::from);
    now.map_or(0, |since| since.as_micros() as u64)
}

/// The time since 1970.
pub fn since_1970() -> time::Duration {
    time::SystemTime::now().duration_since(time::UNIX_EPOCH).unwrap_or_default()
}

/// What tells one boot of the host from another; asked of the kernel once.
pub fn boot_id() -> io::Result<[u64; 2]> {
    static BOOT: OnceLock<[u64; 2]> = OnceLock::new();
    match BOOT.get() {
        Some(boot) => Ok(*boot),
        None => read_boot_id().map(|boot| *BOOT.get_or_init(|| boot)),
    }
}

fn read_boot_id() -> io::Result<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits = text.trim().replace('-', "");
    let number = u128::from_str_radix(&digits, 16).map_err(io::Error::other)?;
    Ok([(number >> 64) as u64, number as u64])
}

/// Bytes nobody can predict, for hash keys.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    sys::fill_random(&mut bytes)?;
    Ok(bytes)
}

/// A number nobody can predict, for seeds.
pub fn random_u64() -> io::Result<u64> {
    random_bytes().map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_starts_at_zero_and_only_grows() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(first.0 < 1000);
        assert!(clock.now() >= first);
    }

    #[test]
    fn two_keys_differ() {
        assert_ne!(random_bytes::<16>().unwrap(), random_bytes::<16>().unwrap());
        assert_ne!(random_u64().unwrap(), random_u64().unwrap());
    }
}
