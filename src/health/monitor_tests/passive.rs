//! What follows from what clients are answered, with probes and without.

use super::*;

/// Clients are refused by the first server all the time.
fn under_traffic(world: &mut World, servers: &[u8], millis: u64) {
    for _ in 0..millis / 50 {
        servers
            .iter()
            .for_each(|number| world.monitor.accuse(key(1), server(*number), "clients are refused", world.now));
        world.run(50);
    }
}

#[test]
fn under_traffic_a_refusal_is_noticed_within_a_second() {
    for settled in (10..20).map(|tenths| tenths * 1000 + tenths * 37) {
        let mut world = World::new(vec![plan(1)], &[1, 2]);
        world.run(settled);
        world.answers.insert(1, refused());
        under_traffic(&mut world, &[1], 1000);
        assert_eq!(world.masks(0), [Mask::Failed, Mask::None]);
    }
}

#[test]
fn a_probe_that_passes_acquits_and_is_not_made_too_often() {
    let mut world = World::new(vec![plan(1)], &[1, 2, 3]);
    world.run(10_000);
    let before = world.probes;
    under_traffic(&mut world, &[1], 60_000);
    assert_eq!(world.masks(0), [Mask::None; 3]);
    // Five a second for the one that is accused, beside the usual ones of the others.
    assert!(world.probes - before < 60 * 5 + 80, "{}", world.probes - before);
    world.monitor.accuse(key(9), server(1), "clients are refused", world.now);
    world.monitor.accuse(key(1), server(9), "clients are refused", world.now);
}

#[test]
fn where_most_servers_refuse_clients_probes_alone_decide() {
    let mut world = World::new(vec![plan(1)], &[1, 2, 3]);
    world.run(10_000);
    world.answers.extend([(1, refused()), (2, refused()), (3, refused())]);
    under_traffic(&mut world, &[1, 2, 3], 200);
    assert_eq!(world.masks(0)[1..], [Mask::None; 2], "not yet");
    let off = Plan { policy: Policy { passive: false, ..Policy::default() }, ..plan(1) };
    let mut world = World::new(vec![off], &[1, 2, 3]);
    world.run(10_000);
    let before = world.probes;
    under_traffic(&mut world, &[1], 1000);
    assert!(world.probes - before < 6, "nobody listens to clients");
}

/// Nobody probes its servers.
fn unprobed() -> Plan {
    Plan { checks: Vec::new(), ..plan(1) }
}

fn accuse(world: &mut World, number: u8) {
    world.monitor.accuse(key(1), server(number), "clients are refused", world.now);
    world.run(10);
}

/// Seconds for which the first server is masked that is accused now.
fn masked_for(world: &mut World) -> u64 {
    let begun = world.now;
    accuse(world, 1);
    assert_eq!(world.masks(0), [Mask::Failed, Mask::None, Mask::None]);
    while world.masks(0)[0] == Mask::Failed {
        assert!(world.monitor.next_deadline().is_some(), "it would be masked for ever");
        world.run(500);
    }
    world.now.since(begun).as_secs()
}

#[test]
fn without_probes_a_server_that_refuses_is_masked_for_longer_each_time_and_for_less_after_peace() {
    let mut world = World::new(vec![unprobed()], &[1, 2, 3]);
    let pauses: Vec<u64> = (0..8).map(|_| masked_for(&mut world)).collect();
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
    world.run(301_000);
    assert_eq!(masked_for(&mut world), 300, "half of it, twice");
    world.run(460_000);
    assert_eq!(masked_for(&mut world), 150, "a quarter, twice");
    world.run(300_000);
    assert_eq!(masked_for(&mut world), 5, "forgotten");
    // Those that are accused while they are masked are masked no longer.
    accuse(&mut world, 1);
    (0..40).for_each(|_| {
        world.run(300);
        world.monitor.accuse(key(1), server(1), "clients are refused", world.now);
    });
    let reason = world.monitor.report(0, world.now).unwrap().servers[0].accused.unwrap().to_string();
    assert_eq!(reason, "connect: clients are refused; tried again in 20 s", "10 s, then the next");
    assert_eq!(world.probes, 0);
}

#[test]
fn without_probes_half_of_the_servers_go_on_and_the_last_that_serves() {
    use Mask::{Drained, Failed, None};
    let all = |servers: &[u8], plan: Plan| {
        let mut world = World::new(vec![plan], servers);
        world.run(2100);
        for _ in 0..3 {
            servers.iter().for_each(|number| accuse(&mut world, *number));
            world.run(300);
        }
        world.masks(0)
    };
    assert_eq!(all(&[1], unprobed()), [None]);
    assert_eq!(all(&[1, 2], unprobed()), [Failed, None]);
    assert_eq!(all(&[1, 2, 3], unprobed()), [Failed, None, None]);
    assert_eq!(all(&[1, 2, 3, 4], unprobed()), [Failed, Failed, None, None]);
    let sorry = Some((server(9), crate::service::command::Method::Nat));
    let with_sorry = Plan { policy: Policy { sorry, ..Policy::default() }, ..unprobed() };
    assert_eq!(all(&[1], with_sorry), [Failed], "there is somebody else");
    let off = Plan { policy: Policy { passive: false, ..Policy::default() }, ..unprobed() };
    assert_eq!(all(&[1, 2], off), [None, None]);
    let own = vec![(server(2), vec![check(Kind::Tcp)])];
    assert_eq!(all(&[1, 2], Plan { own, ..unprobed() }), [Failed, None], "the other one is probed");
    // The only one that is not drained stays.
    let mut world = World::new(vec![unprobed()], &[1, 2]);
    world.monitor.drain(key(1), server(2), Some(Drain { until: Option::None, then: OnDown::Keep }), world.now).unwrap();
    accuse(&mut world, 1);
    assert_eq!(world.masks(0), [None, Drained]);
    // A service that is known because a server of it was drained has asked for nothing.
    let mut world = World::new(Vec::new(), &[]);
    let targets = [1, 2].map(|number| Target { endpoint: server(number), weight: 1 });
    world.monitor.know(key(1), &targets, world.now);
    accuse(&mut world, 1);
    assert_eq!(world.masks(0), [None, None]);
}

#[test]
fn without_probes_conns_of_a_masked_server_go_on_and_the_administrator_has_the_last_word() {
    let policy = Policy { on_down: OnDown::Reset, grace: Duration::ZERO, ..Policy::default() };
    let mut world = World::new(vec![Plan { policy, ..unprobed() }], &[1, 2]);
    accuse(&mut world, 1);
    let ending = |world: &World| world.monitor.judgements(0, world.now).1[0].1.ending;
    assert_eq!((world.masks(0)[0], ending(&world)), (Mask::Failed, Ending::Reschedule));
    world.monitor.force(key(1), server(1), Forced::Up, world.now).unwrap();
    assert_eq!((world.masks(0)[0], ending(&world)), (Mask::None, Ending::None));
    world.monitor.force(key(1), server(1), Forced::Down, world.now).unwrap();
    world.run(5000);
    assert_eq!(ending(&world), Ending::Reset, "that is no word of clients");

    // A reload keeps it, unless clients are not to be heard any more; a restart has it masked for a while.
    let mut world = World::new(vec![unprobed()], &[1, 2]);
    accuse(&mut world, 1);
    let (_, _, held) = world.monitor.standings(0).next().unwrap();
    world.configure(vec![unprobed()], &[1, 2]);
    assert_eq!(world.masks(0), [Mask::Failed, Mask::None]);
    let off = Plan { policy: Policy { passive: false, ..Policy::default() }, ..unprobed() };
    world.configure(vec![off], &[1, 2]);
    assert_eq!(world.masks(0), [Mask::None; 2]);
    let mut world = World::new(vec![unprobed()], &[1, 2]);
    world.monitor.recall(key(1), server(1), (held, Duration::from_secs(1)), world.now);
    assert_eq!(world.masks(0), [Mask::Failed, Mask::None]);
    world.run(5000);
    assert_eq!(world.masks(0), [Mask::None; 2]);
}
