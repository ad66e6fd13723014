//! Which services are checked, which servers they have, and the probes that follow: made, kept and dropped.
//!
//! What did not change keeps its state. Never starts a probe.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::check::{Check, Kind, Timing};
use super::monitor::{Entry, Monitor, ProbeKey, judging};
use super::policy::{Plan, Standing, Target};
use super::probe::{Probe, ProbeId};
use super::server::Server;
use super::service::Service;
use super::verdict::Verdict;
use crate::base::{Endpoint, Instant};
use crate::service::command::ServiceKey;

impl Monitor {
    /// Replaces the configuration. A server whose checks did not change keeps its state, counters and due times; one
    /// with other checks keeps its verdict until they have spoken.
    pub fn configure(&mut self, plans: Vec<Plan>, now: Instant) {
        // Most are at the front: the order seldom changes.
        let mut old: VecDeque<Service> = std::mem::take(&mut self.services).into();
        for plan in plans {
            let known = old.iter().position(|service| service.plan.key == plan.key);
            self.services.push(match known.and_then(|place| old.remove(place)) {
                Some(service) => service.with_plan(plan),
                None => Service::new(plan),
            });
        }
        // What an administrator said of servers stays without checks too.
        let steered = old.into_iter().filter(|service| service.servers.iter().any(Server::is_steered));
        self.services.extend(steered.map(|service| {
            let key = service.plan.key;
            service.with_plan(Plan::without_checks(key))
        }));
        self.settle(now);
    }

    /// Takes a service in that has no checks: its servers can be drained and forced.
    pub fn know(&mut self, key: ServiceKey, targets: &[Target], now: Instant) {
        if !self.services.iter().any(|service| service.plan.key == key) {
            self.services.push(Service::new(Plan::without_checks(key)));
            self.observe(self.services.len() - 1, targets, true, now);
            self.settle(now);
        }
    }

    /// Begins with what an earlier process held of a server, which nobody has probed for so long: a verdict older than three
    /// intervals is none any more.
    pub fn recall(&mut self, key: ServiceKey, server: Endpoint, (held, unseen): (Standing, Duration), now: Instant) {
        let Ok((_, known)) = self.server_mut(key, server) else { return };
        let ids = known.probes.clone();
        let interval = judging(&self.probes, &ids).map(|(_, entry)| entry.probe.timing.between(held.verdict)).min();
        let stale = interval.is_some_and(|interval| unseen > 3 * interval);
        let verdict = if stale { Verdict::Unknown } else { held.verdict };
        let Ok((place, known)) = self.server_mut(key, server) else { return };
        known.recall(Standing { verdict, ..held });
        if interval.is_none() && verdict == Verdict::Down {
            known.inhibition.begin("clients were refused", now);
        }
        self.judge(place, now);
    }

    /// The servers of the service at that place of `keys` as they are now, before `settle`; `ramps`: a slow start moves no
    /// client that has a server.
    pub fn observe(&mut self, place: usize, targets: &[Target], ramps: bool, now: Instant) {
        self.services[place].observe(targets, ramps, now);
    }

    /// Makes the probes those that the servers have.
    pub fn settle(&mut self, now: Instant) {
        let mut kept: HashMap<ProbeId, Vec<usize>> = HashMap::with_capacity(self.probes.len());
        for place in 0..self.services.len() {
            for server in 0..self.services[place].servers.len() {
                let ids = self.probes_of(place, server, now);
                for id in &ids {
                    let users = kept.entry(*id).or_default();
                    if users.last() != Some(&place) {
                        users.push(place);
                    }
                }
                let speaks =
                    ids.iter().filter_map(|id| self.probes.get(id)).any(|entry| entry.key.check.gives_weight());
                let server = &mut self.services[place].servers[server];
                server.probes = ids;
                if !speaks {
                    server.forget_agent();
                }
            }
            self.services[place].replanned = false;
        }
        self.probes.retain(|id, entry| match kept.remove(id) {
            Some(users) => {
                entry.users = users;
                true
            }
            None => {
                self.by_key.remove(&entry.key);
                self.running -= usize::from(entry.probe.running);
                false
            }
        });
        (0..self.services.len()).for_each(|place| self.judge(place, now));
    }

    /// The probes of a server, made where there are none.
    fn probes_of(&mut self, place: usize, server: usize, now: Instant) -> Vec<ProbeId> {
        let service = &mut self.services[place];
        let known = std::mem::take(&mut service.servers[server].probes);
        if !service.replanned && !known.is_empty() {
            return known;
        }
        let (key, endpoint) = (service.plan.key, service.servers[server].endpoint);
        let checks: Vec<Check> = service.plan.checks_of(endpoint).to_vec();
        let wanted = checks.into_iter().map(|check| {
            let target = Endpoint::new(check.address.unwrap_or(endpoint.addr), check.port.unwrap_or(endpoint.port));
            let service = matches!(check.kind, Kind::Exec(_) | Kind::Path).then_some(key);
            ProbeKey { check: Arc::new(check), target, service }
        });
        wanted.map(|key| self.probe(key, now)).collect()
    }

    fn probe(&mut self, key: ProbeKey, now: Instant) -> ProbeId {
        if let Some(id) = self.by_key.get(&key) {
            return *id;
        }
        self.last_id += 1;
        let id = ProbeId(self.last_id);
        let mut timing = key.check.timing;
        if key.check.kind == Kind::Agent {
            // What an agent says holds at once.
            timing = Timing { rise: 1, fall: 1, ..timing };
        }
        let probe = Probe::new(timing, now, &mut self.rng);
        self.due.push(Reverse((probe.due, id)));
        self.by_key.insert(key.clone(), id);
        self.probes.insert(id, Entry { key, probe, users: Vec::new() });
        id
    }
}
