//! Checks that are configured anew, shared, or very many.

use super::*;

/// When the probes of the first service are due, and what they say.
fn probes_of(world: &World) -> Vec<(Instant, Verdict)> {
    let report = world.monitor.report(0, world.now).unwrap();
    report.servers.iter().flat_map(|server| &server.probes).map(|probe| (probe.due, probe.verdict)).collect()
}

#[test]
fn a_reload_keeps_what_did_not_change() {
    let mut world = World::new(vec![plan(1), plan(2)], &[1, 2]);
    world.answers.insert(1, refused());
    world.run(10_000);
    let before = probes_of(&world);
    world.configure(vec![plan(2), plan(1)], &[2, 1]);
    assert_eq!(world.masks(0), [Mask::None, Mask::Failed]);
    assert_eq!(world.masks(1), [Mask::None, Mask::Failed]);
    let mut after = probes_of(&world);
    after.reverse();
    assert_eq!(after, before, "due times too");

    let other = check(Kind::Http(crate::health::Http::default()));
    world.configure(vec![Plan { checks: vec![other], ..plan(1) }], &[1, 2]);
    assert_eq!(world.masks(0), [Mask::Failed, Mask::None], "the old verdicts, until the new checks have spoken");
    world.answers.clear();
    world.run(2100);
    assert_eq!(world.masks(0), [Mask::None, Mask::None], "the first word of a new check decides");
    world.configure(vec![], &[]);
    world.run(60_000);
    assert!(world.monitor.is_empty() && world.monitor.next_deadline().is_none() && world.running.is_empty());
}

/// Two worlds with the same seed, one of which is reloaded without a change again and again: in whatever state that comes
/// (unknown, falling, down, rising, up, a probe under way, a slow start, drained, forced, weighed by an agent), what follows
/// is the same to the millisecond.
#[test]
fn a_reload_in_any_state_changes_nothing() {
    let plans = || {
        let policy = Policy { slow_start: Duration::from_secs(20), on_down: OnDown::Reset, ..Policy::default() };
        // One agent for all servers.
        let address = Some(server(9).addr);
        let agent = Plan { checks: vec![check(Kind::Tcp), Check { address, ..check(Kind::Agent) }], ..plan(2) };
        vec![Plan { policy, ..plan(1) }, agent]
    };
    let servers = [1, 2, 3, 4];
    let mut worlds = [World::new(plans(), &servers), World::new(plans(), &servers)];
    let mut seen = std::collections::HashSet::new();
    for step in 0..1200u64 {
        for (number, world) in worlds.iter_mut().enumerate() {
            if step % 40 == 0 {
                let well_now = (step / 40) % 3 != 0;
                world.answers.insert(1, if well_now { well() } else { hangs() });
                world.answers.insert(2, if step < 600 { refused() } else { well() });
                let share = Some(Share::Percent(10 + step as u32 / 40));
                world.answers.insert(9, (Outcome::Agent(Agent { share, ..Agent::default() }), 5));
            }
            let (now, drain) =
                (world.now, Drain { until: Some(world.now + Duration::from_secs(9)), then: OnDown::Reset });
            match step {
                300 => world.monitor.drain(key(1), server(3), Some(drain), now).unwrap(),
                500 => world.monitor.force(key(1), server(4), Forced::Down, now).unwrap(),
                800 => world.monitor.force(key(1), server(4), Forced::Up, now).unwrap(),
                _ => {}
            }
            if number == 1 {
                world.configure(plans(), &servers);
            }
            world.run(50);
        }
        let state = |world: &World, place| {
            let report = world.monitor.report(place, world.now).unwrap();
            let probe = |probe: &crate::health::ProbeReport| {
                (probe.verdict, probe.since, probe.due, probe.took, probe.history.iter().cloned().collect::<Vec<_>>())
            };
            let servers = report.servers.iter().map(|server| {
                let probes: Vec<_> = server.probes.iter().map(probe).collect();
                (server.verdict, server.since, server.forced, server.drain, server.judgement, probes)
            });
            (report.lost, servers.collect::<Vec<_>>())
        };
        for place in 0..2 {
            let [left, right] = [&worlds[0], &worlds[1]].map(|world| state(world, place));
            assert_eq!(left, right, "service {place} at step {step}");
            seen.extend(
                left.1.iter().map(|server| format!("{:?} {:?} {:?}", server.0, server.4.mask, server.4.ending)),
            );
        }
    }
    assert!(seen.len() >= 7, "states that it came in: {seen:?}");
}

#[test]
fn services_share_a_probe_of_the_same_check() {
    let mut world = World::new((1..=50).map(plan).collect(), &[1, 2]);
    world.run(20_000);
    assert!((16..=24).contains(&world.probes), "{} probes of two servers in 20 s", world.probes);
    world.answers.insert(1, refused());
    world.run(10_000);
    assert!((0..50).all(|service| world.masks(service) == [Mask::Failed, Mask::None]));
    let exec = |number| Plan {
        checks: vec![check(Kind::Exec(crate::health::Exec { command: vec!["/x".into()], dynamic: false, user: None }))],
        ..plan(number)
    };
    let world = World::new(vec![exec(1), exec(2)], &[1]);
    assert_eq!(world.monitor.probes.len(), 2, "a program is told its service");
}

#[test]
fn ten_thousand_servers_are_probed_in_turn() {
    let mut monitor = Monitor::new(1);
    monitor.configure((1..=100).map(plan).collect(), Instant(0));
    let endpoint = |number: u32| Endpoint::new(IpAddr::from((0x0a00_0000 + number).to_be_bytes()), 80);
    for service in 1..=100u8 {
        let numbers = (0..100u32).map(|number| u32::from(service) * 100 + number);
        let targets: Vec<Target> = numbers.map(|number| Target { endpoint: endpoint(number), weight: 1 }).collect();
        monitor.observe(usize::from(service) - 1, &targets, true, Instant(0));
    }
    monitor.settle(Instant(0));
    let mut heard = std::collections::HashSet::new();
    let mut running: Vec<ProbeId> = Vec::new();
    for millis in 0..4000 {
        let now = Instant(millis);
        // Each takes a millisecond.
        running.drain(..).for_each(|id| monitor.end(id, Outcome::Passed, now));
        monitor.tick(now);
        while let Some(start) = monitor.start(now) {
            heard.insert(start.target);
            running.push(start.id);
        }
        assert!(running.len() <= AT_A_TIME);
        let overdue = monitor.next_deadline().is_some_and(|due| now.since(due) > Duration::from_millis(100));
        assert!(!overdue, "at {millis}");
    }
    assert_eq!(heard.len(), 10_000);
    assert!(monitor.probes.values().all(|entry| entry.probe.running || entry.probe.due.0 > 0));
}

/// A rack goes down: news of one after the other would have the whole service judged and handed out each time.
#[test]
fn ten_thousand_servers_of_one_service_fail_in_a_bounded_number_of_judgements() {
    let endpoint = |number: u32| Endpoint::new(IpAddr::from((0x0a00_0000 + number).to_be_bytes()), 80);
    let targets: Vec<Target> = (0..10_000).map(|number| Target { endpoint: endpoint(number), weight: 1 }).collect();
    let mut monitor = Monitor::new(1);
    monitor.configure(vec![plan(1)], Instant(0));
    let (mut running, mut judged): (Vec<ProbeId>, u32) = (Vec::new(), 0);
    for millis in 0..16_000 {
        let now = Instant(millis);
        if millis % 4000 == 0 {
            // Other services change: the servers are looked at again.
            monitor.observe(0, &targets, true, now);
            monitor.settle(now);
            judged += u32::from(monitor.changed().is_some());
        }
        let outcome = if millis < 5000 { Outcome::Passed } else { refused().0 };
        running.drain(..).for_each(|id| monitor.end(id, outcome.clone(), now));
        monitor.tick(now);
        judged += u32::from(monitor.changed().is_some());
        while let Some(start) = monitor.start(now) {
            running.push(start.id);
        }
    }
    let (_, judgements) = monitor.judgements(0, Instant(16_000));
    assert!(judgements.iter().all(|(_, judgement)| judgement.mask == Mask::Failed), "all are down");
    assert!((20..=85).contains(&judged), "judged {judged} times in 16 s, once in 200 ms at most");
}
