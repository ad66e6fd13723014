//! What agents and operators say of servers, and what follows for their conns.

use super::*;

#[test]
fn an_agent_weighs_drains_and_judges_but_its_silence_changes_nothing() {
    let agent = |share, admin, verdict| (Outcome::Agent(Agent { share, admin, verdict }), 1);
    let checks = [check(Kind::Tcp), Check { port: Some(9), ..check(Kind::Agent) }];
    let mut world = World::new(vec![Plan { checks: vec![checks[1].clone()], ..plan(1) }], &[1]);
    let judgement = |world: &World| world.monitor.judgements(0, world.now).1[0].1;
    world.answers.insert(1, hangs());
    world.run(5000);
    assert_eq!(judgement(&world).mask, Mask::None, "nobody there");
    world.answers.insert(1, agent(Some(Share::Percent(50)), None, None));
    world.run(3000);
    assert_eq!((judgement(&world).mask, judgement(&world).share), (Mask::None, Share::Percent(50)));
    world.answers.insert(1, agent(None, Some(AgentAdmin::Drain), None));
    world.run(3000);
    assert_eq!((judgement(&world).mask, judgement(&world).share), (Mask::Drained, Share::Percent(50)));
    world.answers.insert(1, agent(None, None, Some(Ok(()))));
    world.run(3000);
    assert_eq!(judgement(&world).mask, Mask::Drained, "up does not undo drain");
    world.answers.insert(1, agent(None, Some(AgentAdmin::Ready), Some(Err(Reason::new(Stage::Answer, "down")))));
    world.run(3000);
    assert_eq!(judgement(&world).mask, Mask::Failed);
    world.answers.insert(1, hangs());
    world.run(10_000);
    assert_eq!(judgement(&world).mask, Mask::Failed, "its silence changes nothing");
    world.answers.insert(1, agent(None, None, Some(Ok(()))));
    world.run(6000);
    assert_eq!(judgement(&world).mask, Mask::None);
    world.configure(vec![Plan { checks: vec![checks[0].clone()], ..plan(1) }], &[1]);
    assert_eq!(judgement(&world).share, Share::default(), "without an agent nothing of what one said holds");
}

#[test]
fn conns_of_a_failed_server_wait_for_its_return_and_then_end() {
    let policy = Policy { on_down: OnDown::Reset, grace: Duration::from_secs(10), ..Policy::default() };
    let mut world = World::new(vec![Plan { policy, ..plan(1) }], &[1, 2]);
    world.run(3000);
    world.answers.insert(1, refused());
    world.until_masked(true);
    let ending = |world: &World| world.monitor.judgements(0, world.now).1[0].1.ending;
    let handed_out = |world: &mut World| std::iter::from_fn(|| world.monitor.changed()).count();
    assert!(handed_out(&mut world) > 0);
    world.run(9_900);
    assert_eq!(ending(&world), Ending::Reschedule);
    world.run(200);
    assert_eq!((ending(&world), handed_out(&mut world)), (Ending::Reset, 1));
    world.answers.clear();
    world.run(20_000);
    assert_eq!(ending(&world), Ending::None);
}

#[test]
fn the_operators_word_stands_over_verdicts() {
    let mut world = World::new(vec![plan(1)], &[1, 2]);
    world.run(3000);
    let now = world.now;
    world.monitor.force(key(1), server(1), Forced::Down, now).unwrap();
    assert_eq!(world.masks(0), [Mask::Failed, Mask::None]);
    world.monitor.force(key(1), server(1), Forced::Auto, now).unwrap();
    world.monitor.drain(key(1), server(2), Some(Drain { until: None, then: OnDown::Keep }), now).unwrap();
    assert_eq!(world.masks(0), [Mask::None, Mask::Drained]);
    world.answers.insert(2, refused());
    world.run(20_000);
    world.monitor.drain(key(1), server(2), None, world.now).unwrap();
    assert_eq!(world.masks(0), [Mask::None, Mask::Failed], "it was probed all the while");
    assert!(world.monitor.force(key(9), server(1), Forced::Up, world.now).is_err());
    assert!(world.monitor.force(key(1), server(9), Forced::Up, world.now).is_err());
    assert_eq!(world.monitor.check_now(world.now), 2);
    let probes = world.probes;
    world.run(0);
    assert_eq!(world.probes, probes + 2);
}

#[test]
fn faults_of_this_host_mask_nobody() {
    let mut world = World::new(vec![plan(1)], &[1, 2]);
    world.run(3000);
    let local = (Outcome::Local(Reason::new(Stage::Connect, "no file descriptor")), 1);
    world.answers.extend([(1, local.clone()), (2, local)]);
    world.run(60_000);
    assert_eq!(world.masks(0), [Mask::None, Mask::None]);
    assert!(!world.lost());
    assert_eq!(world.monitor.report(0, world.now).unwrap().servers[0].verdict, Verdict::Unknown, "and that is said");
}

#[test]
fn services_that_fail_together_point_at_this_host() {
    let mut world = World::new(vec![plan(1), plan(2)], &[1, 2]);
    world.run(10_000);
    world.answers.insert(1, refused());
    world.run(10_000);
    assert_eq!(world.monitor.lost_together(world.now), None, "one server of each");
    world.answers.insert(2, refused());
    let mut most = None;
    for _ in 0..100 {
        world.run(100);
        most = most.max(world.monitor.lost_together(world.now));
    }
    assert_eq!(most, Some(2));
    world.run(60_000);
    assert_eq!(world.monitor.lost_together(world.now), None, "they have been down for long");
}
