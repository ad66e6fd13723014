//! Health checks in the loop: sockets of the probes that run, and what follows for the director.
//!
//! A turn of the loop starts and serves a few probes, whatever there is to do: packets never wait for a server that is
//! slow, silent or hostile. Verdicts are the monitor's.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use mio::{Registry, Token};

use super::own_probes::Running;
use super::talk::Talk;
use crate::base::{DestId, Endpoint, Instant};
use crate::config::rules_of;
use crate::control;
use crate::control::protocol::{Reply, Steering};
use crate::director::Director;
use crate::flows::Sign;
use crate::health::{Monitor, OnDown, Plan, Target};
use crate::io::TlsConfig;
use crate::keeper::messages::Run;
use crate::router::Turn;
use crate::service::Quorum;
use crate::service::command::ServiceKey;
use crate::state::State;
use crate::state::facts::Fact;
use crate::wires::Wires;

/// Tokens of sockets begin here.
pub(super) const FIRST_TOKEN: usize = 1 << 20;
const SOCKETS: usize = 256;
/// Probes started, and sockets served, in one turn of the loop.
const STARTED_A_TURN: usize = 4;
const SERVED_A_TURN: usize = 4;
/// Services whose judgements are applied in one turn.
const APPLIED_A_TURN: usize = 4;
/// The servers of all services are looked at this often at most.
const OBSERVED_EVERY: Duration = Duration::from_millis(100);
/// Hash schedulers keep clients with their servers: a slow start would move them at each step.
const HASHES: [&str; 3] = ["sh", "mh", "dh"];

/// The checks of a director.
pub(super) struct Checks {
    pub(super) monitor: Monitor,
    pub(super) talks: Vec<Option<Talk>>,
    /// Places of talks that may go on.
    pub(super) ready: VecDeque<usize>,
    /// Programs that the keeper is to be asked for.
    pub(super) programs: Vec<Run>,
    pub(super) own: Running,
    pub(super) tls: HashMap<Option<PathBuf>, TlsConfig>,
    /// The director's changes when its servers were looked at last, and when that was.
    seen: Option<u64>,
    looked: Instant,
    /// Nothing is to be done before.
    due: Option<Instant>,
}

impl Checks {
    pub(super) fn new(plans: Vec<Plan>, seed: u64, now: Instant) -> Checks {
        let mut monitor = Monitor::new(seed);
        monitor.configure(plans, now);
        Checks {
            monitor,
            talks: (0..SOCKETS).map(|_| None).collect(),
            ready: VecDeque::new(),
            programs: Vec::new(),
            own: Running::default(),
            tls: HashMap::new(),
            seen: None,
            looked: Instant::START,
            due: Some(Instant::START),
        }
    }

    /// Other checks from now on.
    pub(super) fn configure(&mut self, plans: Vec<Plan>, director: &mut Director, now: Instant) {
        let before: Vec<ServiceKey> = self.monitor.keys().collect();
        self.monitor.configure(plans, now);
        let after: Vec<ServiceKey> = self.monitor.keys().collect();
        before.into_iter().filter(|key| !after.contains(key)).for_each(|key| director.flows.services.acquit(key, now));
        // Files of certificates may have changed.
        self.tls.clear();
        (self.seen, self.looked) = (None, Instant::START);
        self.wake();
    }

    /// All probes are due now; how many there are.
    pub(super) fn check_now(&mut self, now: Instant) -> usize {
        self.wake();
        self.monitor.check_now(now)
    }

    /// Changes what the administrator says of a server.
    pub(super) fn steer(
        &mut self,
        director: &mut Director,
        steered: (ServiceKey, Endpoint),
        how: Steering,
        now: Instant,
    ) -> Reply {
        if matches!(how, Steering::Drain { then: OnDown::Reset, .. }) {
            director.flows.prepare_resets();
        }
        // The monitor may not have seen the server yet.
        self.observe(director, now);
        self.wake();
        control::steer(&mut self.monitor, director, steered, how, now)
    }

    /// Goes on with what an earlier process held of servers: the first packet must not reach one that had failed.
    pub(super) fn recall(&mut self, director: &mut Director, state: &State, now: Instant) {
        self.observe(director, now);
        let unseen = state.ran_at().map_or(Duration::ZERO, |at| now.since(at));
        for fact in state.facts() {
            let Fact::Server(key, real, standing) = fact else { continue };
            if standing.is_steered() {
                self.monitor.know(*key, &targets(director, key), now);
            }
            self.monitor.recall(*key, *real, (*standing, unseen), now);
        }
        while let Some(place) = self.monitor.changed() {
            self.apply(place, director, now);
        }
    }

    /// The monitor has been told something: it is asked in this turn.
    pub(super) fn wake(&mut self) {
        self.due = Some(Instant::START);
    }

    /// Notes an event; false if it is none of a check.
    pub(super) fn notes(&mut self, token: Token) -> bool {
        let Some(place) = token.0.checked_sub(FIRST_TOKEN).filter(|place| *place < SOCKETS) else { return false };
        if let Some(talk) = &mut self.talks[place]
            && !talk.queued
        {
            talk.queued = true;
            self.ready.push_back(place);
        }
        true
    }

    /// When there is something to do next; the start of time if at once.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.ready.is_empty() { self.due } else { Some(Instant::START) }
    }

    /// Does a part of what is due.
    pub(super) fn turn(
        &mut self,
        registry: &Registry,
        director: &mut Director,
        turn: &mut Turn<Wires>,
        mut state: Option<&mut State>,
    ) {
        let now = turn.now;
        self.hear_clients(director, now);
        let changed = self.seen != Some(director.flows.services.changes());
        let due = self.due.is_some_and(|due| due <= now) || director.own_probes.has_answers();
        if !due && self.ready.is_empty() && !(changed && now >= self.looked + OBSERVED_EVERY) {
            if changed && !self.monitor.is_empty() {
                let look = self.looked + OBSERVED_EVERY;
                self.due = Some(self.due.map_or(look, |due| due.min(look)));
            }
            return;
        }
        if changed && (self.seen.is_none() || now >= self.looked + OBSERVED_EVERY) {
            self.observe(director, now);
        }
        self.own.end(director, &mut self.monitor, now);
        self.expire(now);
        for _ in 0..SERVED_A_TURN {
            let Some(place) = self.ready.pop_front() else { break };
            self.serve(place, now);
        }
        for _ in 0..STARTED_A_TURN {
            if self.talks.iter().all(Option::is_some) {
                break;
            }
            let Some(start) = self.monitor.start(now) else { break };
            self.start(start, registry, director, turn);
        }
        self.monitor.tick(now);
        for _ in 0..APPLIED_A_TURN {
            let Some(place) = self.monitor.changed() else { break };
            self.apply(place, director, now);
            if let Some(state) = &mut state {
                self.note(place, director, state);
            }
        }
        self.plan_next(now);
    }

    /// Servers that refuse what clients open, or do not answer it.
    fn hear_clients(&mut self, director: &mut Director, now: Instant) {
        if !director.flows.refusals.any() {
            return;
        }
        for (dest, sign) in director.flows.refusals.take(now) {
            let why = match sign {
                Sign::Refuses => "clients are refused",
                Sign::Silent => "clients are not answered",
            };
            let (key, server) = (director.flows.services.dest(dest).service, director.flows.services.server(dest));
            self.monitor.accuse(key, server.endpoint, why, now);
            self.wake();
        }
    }

    fn plan_next(&mut self, now: Instant) {
        if self.monitor.has_changed() {
            return self.wake();
        }
        let deadlines = self.talks.iter().flatten().map(|talk| talk.deadline);
        // What could not be started in this turn is due in the next.
        let next = self.monitor.next_deadline().map(|due| due.max(now));
        self.due = deadlines.chain(next).chain(self.own.next_deadline()).min();
    }

    /// Looks at the servers that the services have now.
    fn observe(&mut self, director: &mut Director, now: Instant) {
        (self.seen, self.looked) = (Some(director.flows.services.changes()), now);
        director.flows.refusals.watch(!self.monitor.is_empty());
        let keys: Vec<ServiceKey> = self.monitor.keys().collect();
        for (place, key) in keys.into_iter().enumerate() {
            let service = director.flows.services.by_key(&key);
            let ramps = service.is_none_or(|service| !HASHES.contains(&service.options.scheduler.as_str()));
            self.monitor.observe(place, &targets(director, &key), ramps, now);
        }
        self.monitor.settle(now);
        for talk in &mut self.talks {
            talk.take_if(|talk| !self.monitor.awaits(talk.id));
        }
    }

    /// Writes down what is held of the servers of one service.
    fn note(&self, place: usize, director: &Director, state: &mut State) {
        for (key, real, standing) in self.monitor.standings(place) {
            state.note_fact(Fact::Server(key, real, standing), director, || rules_of(director));
        }
    }

    /// Applies what follows for one service.
    fn apply(&mut self, place: usize, director: &mut Director, now: Instant) {
        let (plan, lost) = self.monitor.plan(place);
        let key = plan.key;
        if plan.wants_resets() {
            director.flows.prepare_resets();
        }
        director.flows.services.set_sorry(key, plan.policy.sorry, now);
        director.flows.services.set_lost(key, if lost { Quorum::Lost } else { Quorum::There });
        let commands = [plan.policy.quorum_down.clone(), plan.policy.quorum_up.clone()];
        let user = plan.policy.quorum_user.clone();
        let (key, judgements) = self.monitor.judgements(place, now);
        for (real, judgement) in judgements {
            director.flows.judge(key, real, judgement);
        }
        if let Some(there) = self.monitor.take_quorum_change(place) {
            log::warn!("health: the quorum of {key} is {}", if there { "there again" } else { "lost" });
            let [down, up] = commands;
            self.notify(if there { up } else { down }, user, key);
        }
    }
}

/// The servers that a service has now.
fn targets(director: &Director, key: &ServiceKey) -> Vec<Target> {
    let target = |dest: &DestId| Target {
        endpoint: director.flows.services.server(*dest).endpoint,
        weight: director.flows.services.dest(*dest).weight,
    };
    director.flows.services.dests_of(key).iter().map(target).collect()
}
