//! Whether a service gets more SYNs than clients stand up for: the pressure under which `--syn-proxy auto` asks them first.
//!
//! Counts in seconds of the director's time; never looks at a packet.

use std::time::Duration;

use super::Services;
use crate::base::{Instant, ServiceId};

/// How long a service counts as under pressure after the last second of it.
const CALM: Duration = Duration::from_secs(10);

/// SYNs of the present second.
#[derive(Clone, Copy, Default)]
pub struct Syns {
    second: u64,
    asked: u32,
    answered: u32,
    pressed_until: Instant,
}

impl Syns {
    /// A client asks; true if too many before it have not stood up for it.
    fn ask(&mut self, rate: u32, now: Instant) -> bool {
        if self.second != now.secs() {
            (self.second, self.asked, self.answered) = (now.secs(), 0, 0);
        }
        self.asked += 1;
        if self.asked.saturating_sub(self.answered) > rate {
            self.pressed_until = now + CALM;
        }
        now < self.pressed_until
    }

    /// A client has stood up for its SYN.
    fn answer(&mut self) {
        self.answered += 1;
    }
}

impl Services {
    /// True if any service has a SYN proxy.
    #[inline]
    pub fn any_syn_proxy(&self) -> bool {
        self.syn_proxies > 0
    }

    /// A SYN for a service; true if the service is under pressure.
    pub fn ask(&mut self, service: ServiceId, rate: u32, now: Instant) -> bool {
        let service = self.services.get_mut(service.index()).and_then(Option::as_mut);
        service.is_some_and(|service| service.syns.ask(rate, now))
    }

    /// A client of a service has stood up for its SYN.
    pub fn answer(&mut self, service: ServiceId) {
        if let Some(Some(service)) = self.services.get_mut(service.index()) {
            service.syns.answer();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_syns_that_nobody_stands_up_for_are_pressure() {
        let (mut syns, rate) = (Syns::default(), 100);
        for step in 0..100_000_u64 {
            // 10,000 a second, each answered 5 ms later.
            let now = Instant(1000 + step / 10);
            assert!(!syns.ask(rate, now), "{step}");
            if step >= 50 {
                syns.answer();
            }
        }
        let begin = Instant(20_000);
        let calm = (0..100).all(|_| !syns.ask(rate, begin));
        assert!(calm && syns.ask(rate, begin), "the first beyond the rate");
        assert!(syns.ask(rate, begin + CALM - Duration::from_millis(1)));
        assert!(!syns.ask(rate, begin + CALM));
    }
}
