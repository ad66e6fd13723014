//! One server of a service: what its probes, its agent and the administrator say together.
//!
//! All probes must agree that it is up. Every factor is kept as it was said, and the judgement is a pure function of
//! them and the time: nothing is added to a sum.

use std::time::Duration;

use super::inhibition::Inhibition;
use super::outcome::{Agent, AgentAdmin, Reason};
use super::policy::{Drain, Forced, OnDown, Policy, Standing};
use super::probe::ProbeId;
use super::verdict::{Change, History, Verdict};
use crate::base::{Endpoint, Instant};
use crate::sched::Mask;
use crate::service::{Ending, Judgement, Share};

/// Steps of a slow start.
const STEPS: u32 = 20;
/// The least share of a server in its slow start, in percent.
const LEAST: u64 = 5;

/// Messages of one server in so long a time.
const TOLD: u32 = 6;
const QUIET: Duration = Duration::from_secs(60);

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pub endpoint: Endpoint,
    /// The administrator's weight.
    pub weight: u32,
    pub probes: Vec<ProbeId>,
    /// What its probes say together.
    pub verdict: Verdict,
    pub since: Instant,
    pub history: History,
    pub forced: Forced,
    pub drain: Option<Drain>,
    pub agent: AgentAdmin,
    /// As the agent said it last, and as it is applied.
    said: Share,
    share: Share,
    /// When it came back from Down; its slow start begins there.
    back: Option<Instant>,
    pub quiet: Quiet,
    /// When it refused clients last.
    pub accused: Option<Instant>,
    /// Masked for that while nobody probes it.
    pub inhibition: Inhibition,
}

/// Lets the first few messages through, then one in a while.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    /// Until when the messages that are let through count.
    until: Instant,
    told: u32,
    silenced: u64,
}

impl Quiet {
    /// How many were silenced since the last one that was allowed, if this one is.
    pub fn allows(&mut self, now: Instant) -> Option<u64> {
        if now >= self.until {
            (self.until, self.told) = (now + QUIET, 0);
        }
        if self.told == TOLD {
            self.silenced += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.silenced))
    }
}

impl Server {
    pub fn new(endpoint: Endpoint, weight: u32, now: Instant) -> Server {
        Server {
            endpoint,
            weight,
            probes: Vec::new(),
            verdict: Verdict::Unknown,
            since: now,
            history: History::default(),
            forced: Forced::Auto,
            drain: None,
            agent: AgentAdmin::Ready,
            said: Share::default(),
            share: Share::default(),
            back: None,
            quiet: Quiet::default(),
            accused: None,
            inhibition: Inhibition::default(),
        }
    }

    /// The same server, whose administrator gives it this weight now.
    pub fn with_weight(self, weight: u32) -> Server {
        Server { weight, ..self }
    }

    /// The verdict that counts.
    pub fn effective(&self) -> Verdict {
        match self.forced {
            Forced::Auto => self.verdict,
            Forced::Up => Verdict::Up,
            Forced::Down => Verdict::Down,
        }
    }

    /// What outlives the process that checks it.
    pub fn standing(&self) -> Standing {
        Standing { verdict: self.verdict, forced: self.forced, drain: self.drain }
    }

    /// Begins with what an earlier process held of it, until its probes have spoken.
    pub fn recall(&mut self, standing: Standing) {
        (self.verdict, self.forced, self.drain) = (standing.verdict, standing.forced, standing.drain);
    }

    /// No new conns by somebody's will.
    pub fn is_drained(&self) -> bool {
        self.drain.is_some() || self.agent != AgentAdmin::Ready
    }

    /// The administrator has said something of it beside its weight.
    pub fn is_steered(&self) -> bool {
        self.drain.is_some() || self.forced != Forced::Auto
    }

    /// Serves, and counts for the quorum.
    pub fn is_up(&self) -> bool {
        self.effective() == Verdict::Up && !self.is_drained() && self.weight > 0
    }

    /// What the probes say now; true if that is news. A server whose probes are new keeps the verdict of the old ones
    /// until all have spoken.
    pub fn hear(
        &mut self,
        votes: impl Iterator<Item = Verdict> + Clone,
        reason: Option<&Reason>,
        now: Instant,
    ) -> bool {
        let any = |wanted| votes.clone().any(|vote| vote == wanted);
        let verdict = match () {
            () if any(Verdict::Down) => Verdict::Down,
            () if any(Verdict::Unknown) => return false,
            () => Verdict::Up,
        };
        self.turn(verdict, reason, now)
    }

    /// This host cannot probe it: nothing is known of it any more.
    pub fn lose_sight(&mut self, reason: Option<&Reason>, now: Instant) -> bool {
        self.turn(Verdict::Unknown, reason, now)
    }

    fn turn(&mut self, verdict: Verdict, reason: Option<&Reason>, now: Instant) -> bool {
        if verdict == self.verdict {
            return false;
        }
        // Not at the start: a director that starts has servers that are warm.
        self.back = (self.verdict == Verdict::Down && verdict == Verdict::Up).then_some(now);
        (self.verdict, self.since) = (verdict, now);
        self.history.add(Change { at: now, to: verdict, reason: reason.cloned() });
        true
    }

    /// The words of its agent, true if they are news; what they say of the verdict is the probe's, and the share holds once
    /// it is applied.
    pub fn obey(&mut self, agent: &Agent) -> bool {
        let before = (self.agent, self.said);
        self.agent = agent.admin.unwrap_or(self.agent);
        self.said = agent.share.unwrap_or(self.said);
        before != (self.agent, self.said)
    }

    /// It has no agent any more, so nothing of what one said holds.
    pub fn forget_agent(&mut self) {
        (self.agent, self.said, self.share) = (AgentAdmin::Ready, Share::default(), Share::default());
    }

    /// True if its agent has said another share than the one that holds.
    pub fn has_new_share(&self) -> bool {
        self.said != self.share
    }

    /// What its agent said last holds from now on.
    pub fn apply_share(&mut self) {
        self.share = self.said;
    }

    /// When time alone changes the judgement next.
    pub fn next_change(&self, policy: &Policy, ramps: bool, now: Instant) -> Option<Instant> {
        let step = (policy.slow_start / STEPS).max(Duration::from_secs(1));
        let ramp = self.back.filter(|back| ramps && now.since(*back) < policy.slow_start).map(|_| now + step);
        let deadline = self.drain.and_then(|drain| drain.until);
        let grace = (self.effective() == Verdict::Down).then(|| self.since + policy.grace);
        let ends = [deadline, grace, Some(self.inhibition.ends)].into_iter().flatten().filter(|at| *at > now);
        ends.chain(ramp).min()
    }

    /// What follows of it; `others_up`: another server of the service is up, `last`: all are down and are used all the same.
    #[allow(clippy::too_many_arguments)]
    pub fn judgement(&self, policy: &Policy, ramps: bool, others_up: bool, last: bool, now: Instant) -> Judgement {
        let mask = match self.effective() {
            _ if self.agent == AgentAdmin::Maint => Mask::Failed,
            Verdict::Down if !last => Mask::Failed,
            _ if self.is_drained() => Mask::Drained,
            Verdict::Unknown if others_up => Mask::Unchecked,
            Verdict::Unknown | Verdict::Up | Verdict::Down => Mask::None,
        };
        let ramp = if ramps { self.ramp(policy.slow_start, now) } else { 100 };
        Judgement { mask, share: self.share, ramp, ending: self.ending(policy, mask, now) }
    }

    /// Linear from 5 % to all.
    fn ramp(&self, whole: Duration, now: Instant) -> u8 {
        let Some(back) = self.back else { return 100 };
        let (passed, whole) = (now.since(back).as_millis() as u64, whole.as_millis() as u64);
        if passed >= whole { 100 } else { (passed * 100 / whole).max(LEAST) as u8 }
    }

    fn ending(&self, policy: &Policy, mask: Mask, now: Instant) -> Ending {
        let late = self.drain.filter(|drain| drain.until.is_some_and(|until| until <= now));
        let how = match (late, mask) {
            (Some(drain), _) => drain.then,
            (None, Mask::Failed) => policy.on_down,
            (None, _) => OnDown::Keep,
        };
        match how {
            OnDown::Keep => Ending::None,
            // What clients are refused says nothing of conns that are open.
            _ if late.is_none() && (now < self.since + policy.grace || self.inhibition.holds(now).is_some()) => {
                Ending::Reschedule
            }
            OnDown::Drop => Ending::Drop,
            OnDown::Reset => Ending::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Stage;
    use super::*;
    use crate::base::Rng;

    fn server() -> Server {
        Server::new(Endpoint::UNSPECIFIED, 10, Instant(0))
    }

    fn policy() -> Policy {
        let slow_start = Duration::from_secs(40);
        Policy { slow_start, on_down: OnDown::Reset, ..Policy::default() }
    }

    fn obey_share(server: &mut Server, share: Share) {
        server.obey(&Agent { share: Some(share), ..Agent::default() });
        server.apply_share();
    }

    fn seconds(seconds: u64) -> Instant {
        Instant(seconds * 1000)
    }

    #[test]
    fn all_probes_must_agree() {
        use Verdict::{Down, Unknown, Up};
        for (votes, wanted) in
            [(vec![Up, Up], Up), (vec![Up, Down], Down), (vec![Unknown, Down], Down), (vec![Unknown, Up], Unknown)]
        {
            let mut server = server();
            server.hear(votes.iter().copied(), None, seconds(1));
            assert_eq!(server.verdict, wanted, "{votes:?}");
        }
        let mut old = server();
        old.hear([Down].into_iter(), None, seconds(1));
        assert!(!old.hear([Unknown].into_iter(), None, seconds(2)), "a new probe has not spoken yet");
        assert_eq!(old.verdict, Down);
    }

    #[test]
    fn a_server_that_is_back_gets_its_share_step_by_step() {
        let (mut server, policy) = (server(), policy());
        let weight = |server: &Server, now| server.judgement(&policy, true, true, false, now).weight(server.weight);
        server.hear([Verdict::Up].into_iter(), None, seconds(0));
        assert_eq!(weight(&server, seconds(0)), 10, "not at the start");
        server.hear([Verdict::Down].into_iter(), None, seconds(10));
        server.hear([Verdict::Up].into_iter(), None, seconds(20));
        let weights: Vec<u32> = [20, 24, 30, 40, 59, 60].map(|at| weight(&server, seconds(at))).to_vec();
        assert_eq!(weights, [1, 1, 3, 5, 10, 10]);
        assert_eq!(server.next_change(&policy, true, seconds(20)), Some(seconds(22)), "in 20 steps");
        assert_eq!(server.next_change(&policy, true, seconds(60)), None);
        assert_eq!(
            server.judgement(&policy, false, true, false, seconds(20)).ramp,
            100,
            "not where clients would move"
        );
    }

    #[test]
    fn drained_and_failed_are_two_reasons() {
        let (mut server, policy) = (server(), policy());
        let judge = |server: &Server, at| server.judgement(&policy, true, true, false, seconds(at));
        server.hear([Verdict::Up].into_iter(), None, seconds(0));
        server.drain = Some(Drain { until: Some(seconds(60)), then: OnDown::Drop });
        assert_eq!((judge(&server, 59).mask, judge(&server, 59).ending), (Mask::Drained, Ending::None));
        assert_eq!((judge(&server, 60).mask, judge(&server, 60).ending), (Mask::Drained, Ending::Drop));
        server.drain = None;
        server.hear([Verdict::Down].into_iter(), None, seconds(100));
        assert_eq!((judge(&server, 109).mask, judge(&server, 109).ending), (Mask::Failed, Ending::Reschedule), "grace");
        assert_eq!(server.next_change(&policy, true, seconds(100)), Some(seconds(110)));
        assert_eq!(judge(&server, 110).ending, Ending::Reset);
        assert_eq!(server.judgement(&policy, true, false, true, seconds(110)).mask, Mask::None, "if all are down");
        server.forced = Forced::Up;
        assert_eq!((judge(&server, 110).mask, judge(&server, 110).ending), (Mask::None, Ending::None));
        server.forced = Forced::Down;
        server.hear([Verdict::Up].into_iter(), None, seconds(200));
        assert_eq!(judge(&server, 200).mask, Mask::Failed);
    }

    #[test]
    fn an_unchecked_server_serves_only_while_no_other_is_up() {
        let judge = |others_up| server().judgement(&policy(), true, others_up, false, seconds(1)).mask;
        assert_eq!((judge(true), judge(false)), (Mask::Unchecked, Mask::None));
    }

    /// keepalived's weight leaks came from sums; here only what was said last of each factor matters.
    #[test]
    fn after_each_of_a_thousand_words_the_weight_is_the_product_of_the_last_ones() {
        let (mut rng, policy) = (Rng::seeded(3), policy());
        let mut server = server();
        let (mut now, mut share, mut back) = (seconds(0), Share::default(), None);
        for _ in 0..1000 {
            now = now + Duration::from_millis(rng.below(3000));
            let before = server.verdict;
            match rng.below(6) {
                0 => _ = server.hear([Verdict::Up].into_iter(), None, now),
                1 => _ = server.hear([Verdict::Down].into_iter(), Some(&Reason::timeout(Stage::Run)), now),
                2 => share = Share::Percent(rng.below(200) as u32),
                3 => share = Share::Absolute(rng.below(200) as u32),
                4 => server.weight = rng.below(20) as u32,
                _ => _ = server.obey(&Agent { admin: Some(AgentAdmin::Drain), ..Agent::default() }),
            }
            obey_share(&mut server, share);
            back = match (before, server.verdict) {
                (Verdict::Down, Verdict::Up) => Some(now),
                (same, other) if same == other => back,
                _ => None,
            };
            let ramp = back.map_or(100, |back| (now.since(back).as_millis() as u64 * 100 / 40_000).clamp(5, 100));
            let full = match share {
                Share::Percent(percent) => u64::from(server.weight * percent),
                Share::Absolute(weight) => u64::from(weight * 100 * server.weight.min(1)),
            };
            let wanted = if full == 0 { 0 } else { ((full * ramp + 5000) / 10_000).max(1) };
            let judged = server.judgement(&policy, true, true, false, now);
            assert_eq!(u64::from(judged.weight(server.weight)), wanted, "{share:?} of {}, {ramp} %", server.weight);
        }
    }

    #[test]
    fn a_server_that_flaps_is_told_of_six_times_a_minute() {
        let mut quiet = Quiet::default();
        let allowed: Vec<Option<u64>> = (0..300).map(|second| quiet.allows(seconds(second))).collect();
        for minute in allowed.chunks(60) {
            assert_eq!(minute.iter().flatten().count(), 6);
        }
        assert_eq!(allowed.iter().flatten().sum::<u64>(), 4 * 54, "what was silenced is told of in the next minute");
    }
}
