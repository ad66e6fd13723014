//! Whether a service gets more SYNs than clients stand up for: the pressure under which `--syn-proxy auto` asks them first.
//!
//! Counts in seconds of the director's time; never looks at a packet.

use std::net::IpAddr;
use std::time::Duration;

use super::command::{Command, ServiceKey, ServiceOptions, SynProxy};
use super::{Service, Services};
use crate::base::{DestId, Endpoint, Instant, Proto, ServiceId};

/// How long a service counts as under pressure after the last second of it.
const CALM: Duration = Duration::from_secs(10);

/// SYNs of the present second.
#[derive(Clone, Copy, Default)]
pub struct Syns {
    second: u64,
    asked: u32,
    answered: u32,
    pressed_until: Instant,
    pressed: bool,
    /// Answered since another one that asks was last heard.
    answered_elsewhere: u32,
    /// What the kernel was told of how to answer, and how many SYNs were counted that it has answered since.
    told: Option<(u32, u16)>,
    counted: u64,
}

impl Syns {
    /// A client asks; whether too many before it have not stood up for it is in `pressed` afterwards.
    fn ask(&mut self, rate: u32, now: Instant) {
        if self.second != now.secs() {
            (self.second, self.asked, self.answered) = (now.secs(), 0, 0);
        }
        self.asked += 1;
        let unanswered = self.asked.saturating_sub(self.answered);
        self.judge(unanswered.into(), rate, now);
    }

    /// So many clients were asked by the kernel since this was last said, about a second ago.
    fn ask_elsewhere(&mut self, count: u64, rate: u32, now: Instant) {
        let answered = std::mem::take(&mut self.answered_elsewhere);
        self.judge(count.saturating_sub(answered.into()), rate, now);
    }

    fn judge(&mut self, unanswered: u64, rate: u32, now: Instant) {
        if unanswered > u64::from(rate) {
            self.pressed_until = now + CALM;
        }
        self.pressed = now < self.pressed_until;
    }

    /// A client has stood up for its SYN.
    fn answer(&mut self) {
        self.answered += 1;
        self.answered_elsewhere += 1;
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
        let Some(Some(service)) = self.services.get_mut(service.index()) else { return false };
        let before = service.syns.pressed;
        service.syns.ask(rate, now);
        let (key, pressed) = (service.key, service.syns.pressed);
        if pressed != before {
            self.reproxy(key);
        }
        pressed
    }

    /// Services whose SYNs the kernel answers are judged by how many these are, about once a second.
    pub fn ask_elsewhere(&mut self, rate: u32, now: Instant, answered: &dyn Fn(Proto, Endpoint) -> u64) {
        for slot in 0..self.services.len() {
            if let Some(Some(Service { key: ServiceKey::Address(proto, virt), syns, .. })) = self.services.get_mut(slot)
                && syns.pressed
                && syns.told.is_some()
            {
                let (key, all) = (ServiceKey::Address(*proto, *virt), answered(*proto, *virt));
                let more = all.saturating_sub(std::mem::replace(&mut syns.counted, all));
                syns.ask_elsewhere(more, rate, now);
                if !syns.pressed {
                    self.reproxy(key);
                }
            }
        }
    }

    /// The kernel is told of a service; false if it was told the same before.
    pub fn tell(&mut self, key: &ServiceKey, told: Option<(u32, u16)>) -> bool {
        let id = self.slot_of(key);
        let Some(Some(service)) = id.and_then(|id| self.services.get_mut(id.index())) else { return true };
        let before = std::mem::replace(&mut service.syns.told, told);
        service.syns.counted = if before == told { service.syns.counted } else { 0 };
        before != told
    }

    /// Nobody wants to know.
    pub fn forget_reproxied(&mut self) {
        self.reproxied.clear();
        self.addresses.moved.clear();
    }

    /// True if a service was under pressure when it was last asked.
    pub fn is_pressed(&self, service: ServiceId) -> bool {
        self.get(service).is_some_and(|service| service.syns.pressed)
    }

    /// True if a service has a server that takes conns.
    pub fn takes_conns(&self, service: ServiceId) -> bool {
        let takes = |dest: &DestId| self.server(*dest).present_weight() > 0;
        self.get(service).is_some_and(|service| service.dests.iter().any(takes))
    }

    /// Something about a service has changed by which its SYNs are answered.
    pub(super) fn reproxy(&mut self, key: ServiceKey) {
        if self.any_syn_proxy() && self.reproxied.last() != Some(&key) {
            self.reproxied.push(key);
        }
    }

    /// The same of all that have a SYN proxy.
    pub fn reproxy_all(&mut self) {
        let has = |service: &&Service| service.options.syn_proxy != SynProxy::Off;
        self.reproxied = self.iter().filter(has).map(|service| service.key).collect();
    }

    /// A command is about to be carried out.
    pub(super) fn note_proxied(&mut self, command: &Command) {
        match command {
            Command::AddService(key, ServiceOptions { syn_proxy, .. }) if *syn_proxy != SynProxy::Off => {
                self.reproxied.push(*key);
            }
            Command::EditService(key, _) if self.reproxied.last() != Some(key) => self.reproxied.push(*key),
            Command::DeleteService(key)
            | Command::AddDest(key, ..)
            | Command::EditDest(key, ..)
            | Command::DeleteDest(key, _) => self.reproxy(*key),
            Command::Clear => self.reproxy_all(),
            _ => {}
        }
    }

    /// A service whose SYNs may have to be answered in another way, since this was last asked.
    pub fn take_reproxied(&mut self) -> Option<ServiceKey> {
        self.reproxied.pop()
    }

    /// An address that has become the director's own, or another host's, since this was last asked.
    pub fn take_reowned(&mut self) -> Option<IpAddr> {
        self.addresses.moved.pop()
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
        let ask = |syns: &mut Syns, rate, now| {
            syns.ask(rate, now);
            syns.pressed
        };
        for step in 0..100_000_u64 {
            // 10,000 a second, each answered 5 ms later.
            let now = Instant(1000 + step / 10);
            assert!(!ask(&mut syns, rate, now), "{step}");
            if step >= 50 {
                syns.answer();
            }
        }
        let begin = Instant(20_000);
        let calm = (0..100).all(|_| !ask(&mut syns, rate, begin));
        assert!(calm && ask(&mut syns, rate, begin), "the first beyond the rate");
        assert!(ask(&mut syns, rate, begin + CALM - Duration::from_millis(1)));
        assert!(!ask(&mut syns, rate, begin + CALM));
    }

    #[test]
    fn what_the_kernel_has_asked_is_pressure_by_those_that_did_not_answer() {
        let (mut syns, rate) = (Syns::default(), 100);
        for (second, asked, answered, pressed) in [
            (100, 10_000, 10_000, false),
            (101, 10_000, 9_899, true),
            // It lasts as long as the kernel is asked by too many.
            (102, 500_000, 3, true),
            (111, 101, 0, true),
            (120, 50, 0, true),
            (121, 50, 0, false),
        ] {
            (0..answered).for_each(|_| syns.answer());
            syns.ask_elsewhere(asked, rate, Instant(second * 1000));
            assert_eq!(syns.pressed, pressed, "{second}");
        }
    }
}
