//! The monotonic clock and the kernel's random source: what the core is handed from outside.
//!
//! Never the wall clock, which may jump.

use std::io;
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

    /// The time since the start.
    pub fn now(&self) -> Instant {
        Instant::START + self.started.elapsed()
    }
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
