//! How many ICMP errors a second the director sends (`icmp_msgs_per_sec` of Linux).
//!
//! Never decides about a single error.

use crate::base::Instant;

/// A token bucket: `rate` a second, bursts of 50 (the kernel's `icmp_msgs_burst`).
pub(super) struct IcmpRateLimit {
    rate: u32,
    tokens: f64,
    last: Instant,
}

impl IcmpRateLimit {
    const BURST: f64 = 50.0;

    pub(super) fn new(rate: u32) -> IcmpRateLimit {
        IcmpRateLimit { rate, tokens: IcmpRateLimit::BURST, last: Instant::START }
    }

    pub(super) fn allows(&mut self, now: Instant) -> bool {
        if self.rate == 0 {
            return true;
        }
        let earned = now.since(self.last).as_secs_f64() * f64::from(self.rate);
        self.last = now;
        self.tokens = (self.tokens + earned).min(IcmpRateLimit::BURST);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}
