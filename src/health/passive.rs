//! What clients bring to light: a server that refuses them, or does not answer, is probed at once, and that counts as a
//! failed probe. One that nobody probes is masked for a while.
//!
//! Never a verdict by itself where there is a probe: the one that follows has the last word. Where most servers of a
//! service refuse, the fault is more likely elsewhere, and nothing follows.

use std::time::Duration;

use super::monitor::{Monitor, judging};
use super::outcome::{Reason, Stage};
use super::probe::ProbeId;
use super::server::Server;
use super::service::Service;
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
        let Some(place) = service.servers.iter().position(|server| server.endpoint == endpoint) else { return };
        let server = &mut service.servers[place];
        if !service.plan.policy.passive || server.accused.is_some_and(|at| now.since(at) < AT_MOST_EVERY) {
            return;
        }
        server.accused = Some(now);
        let probes: Vec<ProbeId> = judging(&self.probes, &server.probes).map(|(id, _)| id).collect();
        let recent = |at: Instant| now.since(at) < TOGETHER;
        let accused = |server: &&Server| server.accused.is_some_and(recent) || server.inhibition.holds(now).is_some();
        let counts = 2 * service.servers.iter().filter(accused).count() <= service.servers.len();
        if probes.is_empty() {
            return service.inhibit(place, counts, why, now);
        }
        for id in probes {
            let Some(entry) = self.probes.get_mut(&id) else { continue };
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

impl Service {
    /// Masks a server for a while, unless it would leave nobody to serve.
    fn inhibit(&mut self, place: usize, counts: bool, why: &str, now: Instant) {
        let others = self.servers.iter().enumerate().any(|(other, server)| other != place && server.is_up());
        let sorry = self.servers.len() == 1 && self.plan.policy.sorry.is_some();
        let server = &mut self.servers[place];
        if server.inhibition.holds(now).is_none() && (counts && others || sorry) {
            server.inhibition.begin(why, now);
            self.stale = true;
        }
    }
}
