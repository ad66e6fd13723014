//! How long to wait before another worker is started.
//!
//! Pure: the caller's clock. Never gives up.

use std::time::{Duration, Instant};

/// Deaths are looked back at for so long.
const WINDOW: Duration = Duration::from_secs(10);
/// So many deaths in the window of workers that had become ready cost nothing.
const FREE: usize = 50;
/// The first wait; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// The deaths of late.
#[derive(Default)]
pub struct Backoff {
    deaths: Vec<Instant>,
    /// Waits in a row.
    waits: u32,
}

impl Backoff {
    /// A worker has died, and whether it had become ready: how long to wait now. A worker that was ready is replaced at
    /// once; one that never was would most likely fail again.
    pub fn after(&mut self, now: Instant, was_ready: bool) -> Duration {
        self.deaths.retain(|death| now.duration_since(*death) < WINDOW);
        self.deaths.push(now);
        if was_ready && self.deaths.len() <= FREE {
            self.waits = 0;
            return Duration::ZERO;
        }
        self.waits += 1;
        // 2^6 hundredths are more than the longest.
        (FIRST * (1 << (self.waits - 1).min(6))).min(LONGEST)
    }
}

/// So many workers that die before they are ready, within so long, make the state suspect.
const SUSPECT: usize = 3;

/// Workers in a row that died before they were ready.
#[derive(Default)]
pub struct Unready {
    deaths: Vec<Instant>,
}

impl Unready {
    /// A worker has died, and whether it had become ready; true if the next one should do without the state.
    pub fn add(&mut self, now: Instant, was_ready: bool) -> bool {
        self.deaths.retain(|death| !was_ready && now.duration_since(*death) < WINDOW);
        if was_ready {
            return false;
        }
        self.deaths.push(now);
        let suspect = self.deaths.len() >= SUSPECT;
        if suspect {
            self.deaths.clear();
        }
        suspect
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_that_die_unready_within_ten_seconds_make_the_state_suspect() {
        let second = Duration::from_secs(1);
        let begin = Instant::now();
        let told = |deaths: &[(u32, bool)]| {
            let mut unready = Unready::default();
            deaths.iter().map(|(at, was_ready)| unready.add(begin + second * *at, *was_ready)).collect::<Vec<_>>()
        };
        assert_eq!(told(&[(0, false), (1, false), (2, false), (3, false)]), [false, false, true, false]);
        assert_eq!(told(&[(0, false), (5, false), (11, false)]), [false; 3], "too far apart");
        assert_eq!(told(&[(0, false), (1, false), (2, true), (3, false)]), [false; 4], "one was ready between them");
    }

    #[test]
    fn a_worker_that_was_ready_is_replaced_at_once_and_one_that_never_was_ever_later() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(backoff.after(now, true), Duration::ZERO);
            now += Duration::from_millis(300);
        }
        let waits: Vec<u128> = (0..9).map(|_| backoff.after(now, false).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        now += WINDOW;
        assert_eq!(backoff.after(now, true), Duration::ZERO);
        let burst: Vec<Duration> = (0..FREE).map(|_| backoff.after(now, true)).collect();
        assert_eq!(burst.last(), Some(&FIRST));
    }
}
