use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::base::Proto;
use crate::health::check::Timing;
use crate::health::outcome::{Agent, AgentAdmin, Reason};
use crate::health::{AllDown, OnDown, Policy, Quorum, Stage, Target};
use crate::sched::Mask;
use crate::service::{Ending, Share};

mod configured;
mod passive;
mod words;

/// A world with servers that answer or do not; time passes only by `run`.
struct World {
    monitor: Monitor,
    now: Instant,
    /// What a server answers, by the last byte of its address, and after how long.
    answers: HashMap<u8, (Outcome, u64)>,
    running: Vec<(Instant, ProbeId, Outcome)>,
    probes: u64,
    most_at_once: usize,
}

fn key(number: u8) -> ServiceKey {
    ServiceKey::Address(Proto::TCP, Endpoint::new(IpAddr::from([198, 51, 100, number]), 80))
}

fn server(number: u8) -> Endpoint {
    Endpoint::new(IpAddr::from([10, 0, 0, number]), 80)
}

fn check(kind: Kind) -> Check {
    Check { kind, timing: Timing::default(), address: None, port: None, bind: None }
}

fn plan(service: u8) -> Plan {
    Plan { key: key(service), policy: Policy::default(), checks: vec![check(Kind::Tcp)], own: Vec::new() }
}

fn refused() -> (Outcome, u64) {
    (Outcome::Failed(Reason::new(Stage::Connect, "refused")), 1)
}

fn hangs() -> (Outcome, u64) {
    (Outcome::Failed(Reason::timeout(Stage::Connect)), 1000)
}

fn well() -> (Outcome, u64) {
    (Outcome::Passed, 1)
}

impl World {
    fn new(plans: Vec<Plan>, servers: &[u8]) -> World {
        let mut world = World {
            monitor: Monitor::new(1),
            now: Instant(0),
            answers: HashMap::new(),
            running: Vec::new(),
            probes: 0,
            most_at_once: 0,
        };
        world.configure(plans, servers);
        world
    }

    fn configure(&mut self, plans: Vec<Plan>, servers: &[u8]) {
        let keys: Vec<ServiceKey> = plans.iter().map(|plan| plan.key).collect();
        self.monitor.configure(plans, self.now);
        for place in 0..keys.len() {
            let targets: Vec<Target> =
                servers.iter().map(|number| Target { endpoint: server(*number), weight: 1 }).collect();
            self.monitor.observe(place, &targets, true, self.now);
        }
        self.monitor.settle(self.now);
    }

    /// Lets time pass, as a loop does that sleeps until the next deadline.
    fn run(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        loop {
            self.monitor.tick(self.now);
            while let Some(start) = self.monitor.start(self.now) {
                self.probes += 1;
                let IpAddr::V4(addr) = start.target.addr else { panic!("{}", start.target) };
                let (outcome, takes) = self.answers.get(&addr.octets()[3]).cloned().unwrap_or_else(well);
                self.running.push((self.now + Duration::from_millis(takes), start.id, outcome));
            }
            self.most_at_once = self.most_at_once.max(self.running.len());
            self.running.sort_by_key(|(at, id, _)| Reverse((*at, *id)));
            let next = self.running.last().map(|(at, _, _)| *at);
            let next = next.into_iter().chain(self.monitor.next_deadline()).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                self.now = until;
                self.monitor.tick(self.now);
                return;
            };
            self.now = self.now.max(next);
            while self.running.last().is_some_and(|(at, _, _)| *at <= self.now) {
                let Some((_, id, outcome)) = self.running.pop() else { break };
                self.monitor.end(id, outcome, self.now);
            }
        }
    }

    fn masks(&self, service: usize) -> Vec<Mask> {
        self.monitor.judgements(service, self.now).1.iter().map(|(_, judgement)| judgement.mask).collect()
    }

    fn lost(&self) -> bool {
        self.monitor.plan(0).1
    }

    /// Milliseconds until the first server of the first service is masked as wanted.
    fn until_masked(&mut self, wanted: bool) -> u64 {
        let begun = self.now;
        while (self.masks(0)[0] == Mask::Failed) != wanted {
            self.run(10);
            assert!(self.now.since(begun) < Duration::from_secs(60), "never");
        }
        self.now.since(begun).as_millis() as u64
    }
}

#[test]
fn a_hang_is_noticed_within_5_s_and_a_refusal_within_4_s() {
    for (fault, limit) in [(hangs(), 5500), (refused(), 4400)] {
        for settled in (10..20).map(|tenths| tenths * 1000 + tenths * 37) {
            let mut world = World::new(vec![plan(1)], &[1, 2]);
            world.run(settled);
            assert_eq!(world.masks(0), [Mask::None, Mask::None]);
            world.answers.insert(1, fault.clone());
            let took = world.until_masked(true);
            // The jitter of 10 % is on top of the reference's figure.
            assert!(took <= limit, "{took} ms");
            assert_eq!(world.masks(0), [Mask::Failed, Mask::None], "and nobody else");
            world.answers.clear();
            let took = world.until_masked(false);
            assert!(took <= 5500 + 1100 + 20, "{took} ms to come back");
        }
    }
}

#[test]
fn unchecked_servers_serve_until_one_is_known_to_be_up() {
    let mut world = World::new(vec![plan(1)], &[1, 2, 3]);
    world.answers.extend([(1, hangs()), (2, hangs()), (3, hangs())]);
    assert_eq!(world.masks(0), [Mask::None; 3], "nothing is known, so all serve");
    assert!(!world.lost());
    world.run(3100);
    assert_eq!(world.masks(0), [Mask::Failed; 3], "one failure is the first verdict");
    assert!(world.lost());
    let mut world = World::new(vec![plan(1)], &[1]);
    world.run(3000);
    world.configure(vec![plan(1)], &[1, 2]);
    assert_eq!(world.masks(0), [Mask::None, Mask::Unchecked], "a newcomer waits for its first success");
    world.run(2100);
    assert_eq!(world.masks(0), [Mask::None, Mask::None]);
}

#[test]
fn what_an_earlier_process_held_counts_until_the_probes_have_spoken() {
    let mut world = World::new(vec![plan(1)], &[1, 2, 3]);
    let drain = Drain { until: None, then: OnDown::Keep };
    let down = Standing { verdict: Verdict::Down, ..Standing::default() };
    let drained = Standing { verdict: Verdict::Up, drain: Some(drain), ..Standing::default() };
    world.monitor.recall(key(1), server(1), (down, Duration::ZERO), world.now);
    world.monitor.recall(key(1), server(2), (drained, Duration::ZERO), world.now);
    assert_eq!(world.masks(0), [Mask::Failed, Mask::Drained, Mask::None]);
    let held: Vec<Standing> = world.monitor.standings(0).map(|(_, _, standing)| standing).collect();
    assert_eq!(held, [down, drained, Standing::default()]);
    world.run(5_000);
    assert_eq!(world.masks(0), [Mask::None, Mask::Drained, Mask::None], "all answer");
}

/// Intervals of 2 s, of 5 s while a server is down: three of them, and nobody knows any more. An agent's word, or none, is
/// no probe.
#[test]
fn a_verdict_that_is_older_than_three_intervals_is_none_any_more() {
    use Verdict::{Down, Unknown, Up};
    let agent = check(Kind::Agent);
    for (held, unseen, wanted) in [(Up, 6000, Up), (Up, 6001, Unknown), (Down, 15_000, Down), (Down, 15_001, Unknown)] {
        for checks in [vec![check(Kind::Tcp)], vec![agent.clone(), check(Kind::Tcp)]] {
            let mut world = World::new(vec![Plan { checks, ..plan(1) }], &[1, 2]);
            let drain = Some(Drain { until: None, then: OnDown::Keep });
            let standing = Standing { verdict: held, forced: Forced::Up, drain };
            world.monitor.recall(key(1), server(1), (standing, Duration::from_millis(unseen)), world.now);
            let (_, _, kept) = world.monitor.standings(0).next().unwrap();
            assert_eq!(kept, Standing { verdict: wanted, ..standing }, "{held:?} after {unseen} ms");
        }
    }
    // It serves as one that was never probed, and its first probe decides.
    let mut world = World::new(vec![plan(1)], &[1, 2]);
    let down = Standing { verdict: Down, ..Standing::default() };
    world.monitor.recall(key(1), server(1), (down, Duration::from_secs(60)), world.now);
    assert_eq!(world.masks(0), [Mask::None; 2]);
    world.answers.insert(1, refused());
    world.run(2100);
    assert_eq!(world.masks(0), [Mask::Failed, Mask::None]);
}

#[test]
fn the_quorum_counts_weight_that_is_up() {
    let quorum = Quorum { least: 2, hysteresis: 0 };
    let policy = Policy { quorum, ..Policy::default() };
    let mut world = World::new(vec![Plan { policy, ..plan(1) }], &[1, 2, 3]);
    world.run(3000);
    assert!(!world.lost());
    world.answers.insert(1, refused());
    world.run(10_000);
    assert!(!world.lost());
    world.answers.insert(2, refused());
    world.run(10_000);
    assert!(world.lost());
    assert_eq!(world.monitor.take_quorum_change(0), Some(false));
    assert_eq!(world.masks(0), [Mask::Failed, Mask::Failed, Mask::None], "the live one keeps its conns");
    world.answers.clear();
    world.run(20_000);
    assert_eq!((world.lost(), world.monitor.take_quorum_change(0)), (false, Some(true)));
}

#[test]
fn last_uses_all_when_none_is_up() {
    let policy = Policy { if_all_down: AllDown::Last, ..Policy::default() };
    let mut world = World::new(vec![Plan { policy, ..plan(1) }], &[1, 2]);
    world.answers.extend([(1, refused()), (2, refused())]);
    world.run(10_000);
    assert_eq!(world.masks(0), [Mask::None, Mask::None]);
    world.answers.remove(&2);
    world.run(20_000);
    assert_eq!(world.masks(0), [Mask::Failed, Mask::None]);
}

#[test]
fn a_server_that_flaps_changes_a_bounded_number_of_times() {
    let mut world = World::new(vec![plan(1)], &[1, 2]);
    world.run(5000);
    let before = world.monitor.report(0, world.now).unwrap().servers[0].probes[0].history.iter().count();
    let mut changes = 0;
    let mut masked = Mask::None;
    for second in 0..300 {
        world.answers.insert(1, if second % 2 == 0 { refused() } else { well() });
        for _ in 0..10 {
            world.run(100);
            let now = world.masks(0)[0];
            changes += u32::from(now != masked);
            masked = now;
        }
    }
    assert!(before <= 1 && changes <= 60, "{changes} changes in five minutes");
    assert_eq!(world.masks(0)[1], Mask::None);
}

/// The least patient check that one can write: each probe decides.
#[test]
fn a_flapping_server_that_each_probe_decides_on_changes_as_often_as_it_does() {
    let timing = Timing { interval: Duration::from_millis(100), rise: 1, fall: 1, ..Timing::default() };
    let timing = Timing { fast: timing.interval, down: timing.interval, ..timing };
    let mut world = World::new(vec![Plan { checks: vec![Check { timing, ..check(Kind::Tcp) }], ..plan(1) }], &[1, 2]);
    world.run(5000);
    let mut changes = Vec::new();
    for second in 0..300 {
        world.answers.insert(1, if second % 2 == 0 { refused() } else { well() });
        for _ in 0..50 {
            world.run(20);
            let mask = world.masks(0)[0];
            if changes.last().is_none_or(|(_, last)| *last != mask) {
                changes.push((second, mask));
            }
        }
    }
    assert!((290..=301).contains(&changes.len()), "{} changes in five minutes", changes.len());
    let report = world.monitor.report(0, world.now).unwrap();
    assert_eq!(report.servers[0].probes[0].history.iter().count(), 20, "what is kept of them");
    assert_eq!(world.masks(0)[1], Mask::None);
}

#[test]
fn shares_of_all_servers_change_at_most_once_a_second_whatever_agents_say() {
    let timing = Timing { interval: Duration::from_millis(100), ..Timing::default() };
    let servers: Vec<u8> = (1..=20).collect();
    let agent = Check { timing, ..check(Kind::Agent) };
    let mut world = World::new(vec![Plan { checks: vec![agent], ..plan(1) }], &servers);
    let shares = |world: &World| -> Vec<Share> {
        world.monitor.judgements(0, world.now).1.iter().map(|(_, judgement)| judgement.share).collect()
    };
    let (mut before, mut changed) = (shares(&world), Vec::new());
    for round in 0..600 {
        for number in &servers {
            let share = Share::Percent(1 + (round * 7 + u32::from(*number)) % 100);
            world.answers.insert(*number, (Outcome::Agent(Agent { share: Some(share), ..Agent::default() }), 1));
        }
        world.run(50);
        if shares(&world) != before {
            (before, changed) = (shares(&world), [changed, vec![world.now]].concat());
        }
    }
    assert!((25..=31).contains(&changed.len()), "{} changes in half a minute", changed.len());
    let gaps = changed.windows(2).map(|pair| pair[1].since(pair[0]));
    assert!(gaps.clone().all(|gap| gap >= Duration::from_millis(950)), "{:?}", gaps.min());
    assert!(before.iter().all(|share| *share != Share::default()), "each agent is heard: {before:?}");
}
