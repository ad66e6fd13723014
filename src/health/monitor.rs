//! All checks of a director: which probe is due, and what its outcome means for servers and services.
//!
//! Services with the same check of the same target share one probe. Never opens a socket: probes to start come out of
//! `start`, outcomes go into `end`, and what follows for a service comes out of `changed`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use super::check::{Check, Kind};
use super::outcome::Outcome;
use super::policy::{Drain, Forced, Plan, Standing};
use super::probe::{self, Probe, ProbeId};
use super::server::Server;
use super::service::{Service, Vote};
use super::verdict::Verdict;
use crate::base::{Endpoint, Instant, Rng};
use crate::service::Judgement;
use crate::service::command::ServiceKey;

/// Probes that run at a time; others that are due wait for their turn, which is no failure.
const AT_A_TIME: usize = 256;

/// What makes two probes the same. A program is told the service and a path leads to its address: one for each service.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct ProbeKey {
    pub(super) check: Arc<Check>,
    pub(super) target: Endpoint,
    pub(super) service: Option<ServiceKey>,
}

pub(super) struct Entry {
    pub(super) key: ProbeKey,
    pub(super) probe: Probe,
    /// Places of services with servers that it speaks for.
    pub(super) users: Vec<usize>,
}

/// A probe to start.
#[derive(Clone, Debug)]
pub struct Start {
    /// Whose outcome to hand in.
    pub id: ProbeId,
    /// What to ask.
    pub check: Arc<Check>,
    /// Whom.
    pub target: Endpoint,
    /// For which service, where that matters.
    pub service: Option<ServiceKey>,
    /// The verdict so far.
    pub verdict: Verdict,
    /// When it has failed.
    pub deadline: Instant,
}

/// All checks.
pub struct Monitor {
    pub(super) services: Vec<Service>,
    pub(super) probes: HashMap<ProbeId, Entry>,
    pub(super) by_key: HashMap<ProbeKey, ProbeId>,
    /// When probes are due. An entry that is not as its probe says is stale and passed over.
    pub(super) due: BinaryHeap<Reverse<(Instant, ProbeId)>>,
    /// Services fail together, and that was said.
    pub(super) alarmed: bool,
    pub(super) running: usize,
    pub(super) last_id: u64,
    pub(super) rng: Rng,
}

impl Monitor {
    /// Nothing to check yet; `seed` spreads the probes.
    pub fn new(seed: u64) -> Monitor {
        Monitor {
            services: Vec::new(),
            probes: HashMap::new(),
            by_key: HashMap::new(),
            due: BinaryHeap::new(),
            alarmed: false,
            running: 0,
            last_id: 0,
            rng: Rng::seeded(seed),
        }
    }

    /// True if nothing is checked.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// The services with checks, in the order of the configuration.
    pub fn keys(&self) -> impl Iterator<Item = ServiceKey> {
        self.services.iter().map(|service| service.plan.key)
    }

    /// The next probe that is due, if there is room for it.
    pub fn start(&mut self, now: Instant) -> Option<Start> {
        while self.running < AT_A_TIME {
            let Reverse((due, id)) = *self.due.peek()?;
            if due > now {
                return None;
            }
            self.due.pop();
            let Some(entry) = self.probes.get_mut(&id) else { continue };
            if entry.probe.running || entry.probe.due != due {
                continue;
            }
            entry.probe.started(now);
            self.running += 1;
            let ProbeKey { check, target, service } = entry.key.clone();
            let deadline = now + check.timing.timeout;
            return Some(Start { id, check, target, service, verdict: entry.probe.verdict, deadline });
        }
        None
    }

    /// True while somebody waits for the outcome of this probe.
    pub fn awaits(&self, id: ProbeId) -> bool {
        self.probes.get(&id).is_some_and(|entry| entry.probe.running)
    }

    /// What a probe asks.
    pub fn check_of(&self, id: ProbeId) -> Option<&Check> {
        self.probes.get(&id).map(|entry| &*entry.key.check)
    }

    /// True if `changed` has something to hand out.
    pub fn has_changed(&self) -> bool {
        self.services.iter().any(|service| service.dirty)
    }

    /// The outcome of a probe that was started.
    pub fn end(&mut self, id: ProbeId, outcome: Outcome, now: Instant) {
        let Some(entry) = self.probes.get_mut(&id).filter(|entry| entry.probe.running) else { return };
        self.running -= 1;
        let is_agent = entry.key.check.kind == Kind::Agent;
        let (vote, words) = vote_of(outcome, is_agent);
        let changed = entry.probe.ended(vote, now, &mut self.rng);
        self.due.push(Reverse((entry.probe.due, id)));
        let blind = changed && entry.probe.verdict == Verdict::Unknown;
        if !changed && words.is_none() {
            return;
        }
        for place in &entry.users {
            let service = &mut self.services[*place];
            service.stale |= changed;
            let servers = service.servers.iter_mut().filter(|_| blind || words.is_some());
            for server in servers.filter(|server| server.probes.contains(&id)) {
                service.stale |= words.as_ref().is_some_and(|words| server.obey(words));
                if blind {
                    let why = entry.probe.last_failure.as_ref().map(|(_, reason)| reason);
                    server.lose_sight(why, now);
                    let why = why.map_or("no reason".into(), ToString::to_string);
                    log::error!("health: {} cannot be checked from here: {why}", server.endpoint);
                }
            }
        }
    }

    /// Puts outcomes together, and lets time pass for slow starts, deadlines and shares.
    pub fn tick(&mut self, now: Instant) {
        let mut any = false;
        for place in 0..self.services.len() {
            if self.services[place].next_change().is_some_and(|due| due <= now) {
                self.judge(place, now);
                any |= self.services[place].dark;
            }
        }
        if any || self.alarmed {
            self.watch_own_network(now);
        }
    }

    pub(super) fn judge(&mut self, place: usize, now: Instant) {
        let probes = &self.probes;
        let lookup = |id: ProbeId| {
            let Entry { key, probe, .. } = probes.get(&id)?;
            let reason = probe.last_failure.as_ref().map(|(_, reason)| reason);
            Some(Vote { verdict: probe.verdict, is_agent: key.check.kind == Kind::Agent, reason })
        };
        self.services[place].judge(&lookup, now);
    }

    /// When there is something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let probe = self.due.peek().filter(|_| self.running < AT_A_TIME).map(|Reverse((due, _))| *due);
        let wakes = self.services.iter().filter_map(Service::next_change);
        probe.into_iter().chain(wakes).min()
    }

    /// A service whose judgements have changed since it was asked for: its place.
    pub fn changed(&mut self) -> Option<usize> {
        let place = self.services.iter().position(|service| service.dirty)?;
        self.services[place].dirty = false;
        Some(place)
    }

    /// What follows for the servers of the service at that place.
    pub fn judgements(&self, place: usize, now: Instant) -> (ServiceKey, Vec<(Endpoint, Judgement)>) {
        let service = &self.services[place];
        (service.plan.key, service.judgements(now).collect())
    }

    /// What is planned for the service at that place, and whether its quorum is lost.
    pub fn plan(&self, place: usize) -> (&Plan, bool) {
        (&self.services[place].plan, self.services[place].is_lost())
    }

    /// The quorum of the service at that place, if it has changed since it was asked for: lost or there again.
    pub fn take_quorum_change(&mut self, place: usize) -> Option<bool> {
        std::mem::take(&mut self.services[place].quorum_news)
    }

    pub(super) fn server_mut(&mut self, key: ServiceKey, server: Endpoint) -> Result<(usize, &mut Server), String> {
        let place = self.services.iter().position(|service| service.plan.key == key);
        let place = place.ok_or("this service is not known; 'tapvs health' lists those that are")?;
        let found = self.services[place].servers.iter_mut().find(|known| known.endpoint == server);
        Ok((place, found.ok_or_else(|| format!("{server} is no server of this service"))?))
    }

    /// What is held of the servers of the service at that place, for a later process.
    pub fn standings(&self, place: usize) -> impl Iterator<Item = (ServiceKey, Endpoint, Standing)> {
        let Service { plan, servers, .. } = &self.services[place];
        servers.iter().map(|server| (plan.key, server.endpoint, server.standing()))
    }

    /// Sets the administrator's word on a server.
    pub fn force(&mut self, key: ServiceKey, server: Endpoint, forced: Forced, now: Instant) -> Result<(), String> {
        let (place, server) = self.server_mut(key, server)?;
        server.forced = forced;
        self.judge(place, now);
        Ok(())
    }

    /// Drains a server, or lets it serve again.
    pub fn drain(
        &mut self,
        key: ServiceKey,
        server: Endpoint,
        drain: Option<Drain>,
        now: Instant,
    ) -> Result<(), String> {
        let (place, server) = self.server_mut(key, server)?;
        server.drain = drain;
        self.judge(place, now);
        Ok(())
    }

    /// All probes are due now; how many there are.
    pub fn check_now(&mut self, now: Instant) -> usize {
        for (id, entry) in &mut self.probes {
            entry.probe.hurry(now);
            if !entry.probe.running {
                self.due.push(Reverse((entry.probe.due, *id)));
            }
        }
        self.probes.len()
    }
}

/// What an outcome counts as, and the words of an agent. An agent that is not there, or talks nonsense, says nothing.
fn vote_of(outcome: Outcome, is_agent: bool) -> (probe::Vote, Option<super::outcome::Agent>) {
    use super::outcome::Agent;
    match outcome {
        Outcome::Failed(reason) | Outcome::Local(reason) if is_agent => (probe::Vote::None(Some(reason)), None),
        Outcome::Passed => (probe::Vote::Good, None),
        Outcome::PassedAt(share) => (probe::Vote::Good, Some(Agent { share: Some(share), ..Agent::default() })),
        Outcome::Failed(reason) => (probe::Vote::Bad(reason), None),
        Outcome::Local(reason) => (probe::Vote::Local(reason), None),
        Outcome::Agent(agent) => match agent.verdict.clone() {
            Some(Ok(())) => (probe::Vote::Good, Some(agent)),
            Some(Err(reason)) => (probe::Vote::Bad(reason), Some(agent)),
            None => (probe::Vote::None(None), Some(agent)),
        },
    }
}

/// Those of a server's probes that see whether it serves clients: all but agents, who only say what a server thinks of itself.
pub(super) fn judging<'a>(
    probes: &'a HashMap<ProbeId, Entry>,
    ids: &'a [ProbeId],
) -> impl Iterator<Item = (ProbeId, &'a Entry)> {
    let entries = ids.iter().filter_map(|id| Some((*id, probes.get(id)?)));
    entries.filter(|(_, entry)| entry.key.check.kind != Kind::Agent)
}

#[cfg(test)]
#[path = "monitor_tests/mod.rs"]
mod tests;
