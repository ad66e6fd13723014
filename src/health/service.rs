//! One service: its servers together, its quorum, and what follows for each server.

use std::collections::VecDeque;
use std::time::Duration;

use super::outcome::Reason;
use super::policy::{AllDown, Plan, Target};
use super::probe::ProbeId;
use super::server::Server;
use super::verdict::Verdict;
use crate::base::{Endpoint, Instant};
use crate::service::Judgement;
use crate::service::command::ServiceKey;

/// Shares change at most once in this time: each change has a scheduler with tables build them anew.
const SHARES_EVERY: Duration = Duration::from_secs(1);

/// Servers that are judged in a millisecond of time that passes: news of a service with many waits for more to come.
const JUDGED_A_MS: u64 = 50;

/// What a probe says.
pub(super) struct Vote<'a> {
    pub verdict: Verdict,
    /// An agent votes only where it said something.
    pub is_agent: bool,
    /// Why it failed last.
    pub reason: Option<&'a Reason>,
}

/// A service with checks.
pub(super) struct Service {
    pub plan: Plan,
    pub servers: Vec<Server>,
    /// A slow start moves no client that has a server.
    ramps: bool,
    /// Whether the quorum is there; `None` until all servers have a verdict.
    quorum: Option<bool>,
    pub quorum_news: Option<bool>,
    /// The judgements are not those that were handed out last.
    pub dirty: bool,
    /// Probes have said something new.
    pub stale: bool,
    /// When it was judged last.
    judged: Instant,
    /// Its checks are others than those that its servers have probes of.
    pub replanned: bool,
    /// When time alone changes them.
    pub wake: Option<Instant>,
    /// New shares hold from then on.
    shares_due: Instant,
    /// No server is up, and that was said.
    pub dark: bool,
}

impl Service {
    pub fn new(plan: Plan) -> Service {
        Service {
            plan,
            servers: Vec::new(),
            ramps: true,
            quorum: None,
            quorum_news: None,
            dirty: true,
            stale: true,
            judged: Instant::START,
            replanned: true,
            wake: None,
            shares_due: Instant::START,
            dark: false,
        }
    }

    /// The same servers with what is planned now.
    pub fn with_plan(self, plan: Plan) -> Service {
        let replanned = self.replanned || self.plan.checks != plan.checks || self.plan.own != plan.own;
        Service { plan, dirty: true, replanned, ..self }
    }

    /// The servers as they are now.
    pub fn observe(&mut self, targets: &[Target], ramps: bool, now: Instant) {
        // Most are at the front: the order seldom changes.
        let mut old: VecDeque<Server> = std::mem::take(&mut self.servers).into();
        self.servers.reserve_exact(targets.len());
        for target in targets {
            let known = old.iter().position(|server| server.endpoint == target.endpoint);
            let server = match known.and_then(|place| old.remove(place)) {
                Some(server) => server.with_weight(target.weight),
                None => Server::new(target.endpoint, target.weight, now),
            };
            self.servers.push(server);
        }
        (self.ramps, self.dirty) = (ramps, true);
    }

    pub fn is_lost(&self) -> bool {
        self.quorum == Some(false)
    }

    /// Puts the probes' verdicts together.
    pub fn judge<'a>(&mut self, lookup: &dyn Fn(ProbeId) -> Option<Vote<'a>>, now: Instant) {
        for server in &mut self.servers {
            let votes: Vec<Vote> = server.probes.iter().filter_map(|id| lookup(*id)).collect();
            let votes = votes.iter().filter(|vote| !vote.is_agent || vote.verdict != Verdict::Unknown);
            let down = votes.clone().find(|vote| vote.verdict == Verdict::Down);
            let masked = server.inhibition.holds(now).filter(|_| self.plan.policy.passive).cloned();
            let reason = down.and_then(|vote| vote.reason).or(masked.as_ref());
            let votes = votes.map(|vote| vote.verdict).chain(masked.as_ref().map(|_| Verdict::Down));
            if server.hear(votes, reason, now) {
                tell(self.plan.key, server, reason, now);
            }
        }
        let shares = self.apply_shares(now);
        self.count_quorum();
        self.note_darkness();
        let policy = &self.plan.policy;
        let changes = self.servers.iter().filter_map(|server| server.next_change(policy, self.ramps, now));
        self.wake = changes.chain(shares).min();
        (self.dirty, self.stale, self.judged) = (true, false, now);
    }

    /// Applies the shares that agents have said, all at once; when that is due if it is not yet.
    fn apply_shares(&mut self, now: Instant) -> Option<Instant> {
        if !self.servers.iter().any(Server::has_new_share) {
            return None;
        }
        if now < self.shares_due {
            return Some(self.shares_due);
        }
        self.servers.iter_mut().for_each(Server::apply_share);
        self.shares_due = now + SHARES_EVERY;
        None
    }

    /// When it must be judged again.
    pub fn next_change(&self) -> Option<Instant> {
        let pause = Duration::from_millis(self.servers.len() as u64 / JUDGED_A_MS);
        if self.stale { Some(self.judged + pause) } else { self.wake }
    }

    /// A server of which nothing is known is no reason to lose the quorum, and none to have it again.
    fn count_quorum(&mut self) {
        let lost = self.is_lost();
        let counts = |server: &&Server| {
            let unknown = server.effective() == Verdict::Unknown && !server.is_drained();
            server.is_up() || (unknown && !lost)
        };
        let weight = |server: &Server| u64::from(server.weight);
        let up: u64 = self.servers.iter().filter(counts).map(weight).sum();
        let total: u64 = self.servers.iter().map(weight).sum();
        let unknown = self.servers.iter().any(|server| server.effective() == Verdict::Unknown);
        let before = self.quorum;
        self.quorum = self.plan.policy.quorum.judge(before, up, total, unknown || self.servers.is_empty());
        if self.quorum != before && (before.is_some() || self.is_lost()) {
            self.quorum_news = self.quorum;
        }
    }

    /// What follows for each server, in their order.
    pub fn judgements(&self, now: Instant) -> impl Iterator<Item = (Endpoint, Judgement)> {
        let any_up = self.servers.iter().any(Server::is_up);
        let all_down = self.servers.iter().all(|server| server.effective() == Verdict::Down);
        let last = all_down && self.plan.policy.if_all_down == AllDown::Last;
        self.servers
            .iter()
            .map(move |server| (server.endpoint, server.judgement(&self.plan.policy, self.ramps, any_up, last, now)))
    }
}

/// A verdict has changed. A server that flaps is not told of each time.
fn tell(key: ServiceKey, server: &mut Server, reason: Option<&Reason>, now: Instant) {
    let Some(silenced) = server.quiet.allows(now) else { return };
    let more = if silenced > 0 { format!(" ({silenced} changes before were not told)") } else { String::new() };
    match (server.verdict, reason) {
        (Verdict::Down, Some(reason)) => log::warn!("health: {} of {key} is down: {reason}{more}", server.endpoint),
        (Verdict::Down, None) => log::warn!("health: {} of {key} is down{more}", server.endpoint),
        (Verdict::Up, _) => log::info!("health: {} of {key} is up{more}", server.endpoint),
        (Verdict::Unknown, _) => log::info!("health: nothing is known of {} of {key}{more}", server.endpoint),
    }
}
