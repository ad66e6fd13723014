//! What clients bring to light: a server that refuses them, or does not answer, is probed at once, and that counts as a
//! failed probe.
//!
//! Never a verdict by itself: the probe that follows has the last word. Where most servers of a service refuse, the fault is
//! more likely elsewhere, and probes alone decide.

use std::time::Duration;

use super::check::Kind;
use super::monitor::Monitor;
use super::outcome::{Reason, Stage};
use crate::base::{Endpoint, Instant};
use crate::service::command::ServiceKey;

/// Servers that have refused within this time do so together.
const TOGETHER: Duration = Duration::from_secs(10);
/// A server is accused once in this time at most.
const AT_MOST_EVERY: Duration = Duration::from_millis(200);

impl Monitor {
    /// Clients of this server of the service are refused, or not answered.
    pub fn accuse(&mut self, key: ServiceKey, endpoint: Endpoint, why: &'static str, now: Instant) {
        let Some(service) = self.services.iter_mut().find(|service| service.plan.key == key) else { return };
        let Some(server) = service.servers.iter_mut().find(|server| server.endpoint == endpoint) else { return };
        if !service.plan.policy.passive || server.accused.is_some_and(|at| now.since(at) < AT_MOST_EVERY) {
            return;
        }
        server.accused = Some(now);
        let probes = server.probes.clone();
        let recent = |at: &Option<Instant>| at.is_some_and(|at| now.since(at) < TOGETHER);
        let accused = service.servers.iter().filter(|server| recent(&server.accused)).count();
        let counts = 2 * accused <= service.servers.len();
        for id in probes {
            let Some(entry) = self.probes.get_mut(&id).filter(|entry| entry.key.check.kind != Kind::Agent) else {
                continue;
            };
            if counts && entry.probe.accused(Reason::new(Stage::Connect, why), now) {
                entry.users.iter().for_each(|place| self.services[*place].stale = true);
            }
            entry.probe.hurry(now);
            if !entry.probe.running {
                self.due.push(std::cmp::Reverse((entry.probe.due, id)));
            }
        }
    }
}
