//! Many services: what is done between two packets is bounded, and nothing is found by walking.

use std::net::IpAddr;
use std::time::Duration;

use super::command::{Command, DestOptions, Method, ServiceKey, ServiceOptions};
use super::{Services, trash::Place};
use crate::base::{Endpoint, Family, Instant, Proto};
use crate::sched;

const MANY: u32 = 5000;

fn key(number: u32) -> ServiceKey {
    ServiceKey::Address(Proto::TCP, Endpoint::new(IpAddr::from((0x0a64_0000 + number).to_be_bytes()), 80))
}

fn real(last: u8) -> Endpoint {
    Endpoint::new(IpAddr::from([10, 0, 0, last]), 80)
}

/// So many services with two dests each.
fn services(count: u32) -> Services {
    let mut services = Services::new(sched::Settings::default(), 1);
    for number in 0..count {
        add(&mut services, number);
    }
    services
}

fn add(services: &mut Services, number: u32) {
    let options = DestOptions { method: Method::Nat, ..DestOptions::default() };
    let service = Command::AddService(key(number), ServiceOptions::defaults(Family::V4));
    for command in
        [service, Command::AddDest(key(number), real(21), options), Command::AddDest(key(number), real(22), options)]
    {
        services.apply(&command, Instant::START).unwrap();
    }
}

#[test]
fn slots_are_used_again_the_lowest_first() {
    let mut services = services(3);
    for number in [1, 0] {
        services.apply(&Command::DeleteService(key(number)), Instant::START).unwrap();
    }
    assert!(!services.owns(IpAddr::from([10, 100, 0, 0])) && services.owns(IpAddr::from([10, 100, 0, 2])));
    for number in [7, 8, 9] {
        add(&mut services, number);
    }
    let keys: Vec<ServiceKey> = services.iter().map(|service| service.key).collect();
    assert_eq!(keys, [7, 8, 2, 9].map(key));
    let (slot, _) = services.slots_from(3).next().unwrap();
    assert_eq!((slot, services.slots_from(9).count()), (3, 0));
}

#[test]
fn a_dest_that_was_removed_is_found_by_its_name_and_forgotten_in_parts() {
    let mut services = services(MANY);
    let (first, gone) = (services.by_key(&key(0)).unwrap().dests[1], key(0));
    services.dests[first.index()].stats.conns = 7;
    services.apply(&Command::DeleteDest(gone, real(21)), Instant::START).unwrap();
    services.apply(&Command::AddDest(gone, real(21), DestOptions::default()), Instant::START).unwrap();
    assert_eq!(services.by_key(&gone).unwrap().dests[0], first, "the same slot");
    assert_eq!(services.dest(first).stats.conns, 7, "with its counters");

    services.apply(&Command::Clear, Instant::START).unwrap();
    assert_eq!(services.dest(first).stats.conns, 0, "which go with the service");
    let removed = |services: &Services| services.dests.iter().filter(|dest| dest.place != Place::Free).count();
    let (mut now, mut turns) = (Instant::START, 0);
    while let Some(due) = services.trash_due() {
        now = now.max(due);
        let before = removed(&services);
        services.empty_trash(now);
        assert!(before - removed(&services) <= 4096);
        turns += 1;
    }
    assert_eq!((removed(&services), turns), (0, 3 * 3), "three looks in three parts");
    add(&mut services, 1);
    assert_eq!(services.dests.len(), 2 * MANY as usize, "the slots are free again");
}

#[test]
fn meters_that_moved_are_read_in_parts_and_the_others_are_not_read() {
    let mut services = services(MANY);
    let dests: Vec<_> = services.iter().map(|service| service.dests[0]).collect();
    services.read_meters(Instant::START);
    for dest in &dests {
        services.count_in(*dest, 1000);
    }
    let now = Instant::START + Duration::from_secs(2);
    let rated = |services: &Services| {
        dests.iter().filter(|dest| services.rates(&services.dest(**dest).meter).in_bytes == 125).count()
    };
    services.read_meters(now);
    let mut turns = 1;
    while services.meters_due() == Some(Instant::START) {
        assert!(rated(&services) <= turns * 4096);
        services.read_meters(now);
        turns += 1;
    }
    assert_eq!((rated(&services), turns), (MANY as usize, 3), "5,000 services and as many dests");
    assert_eq!(services.meters_due(), None, "nobody is woken for what rests");
    services.read_meters(now + Duration::from_secs(2));
    assert_eq!(services.rates(&services.dest(dests[0]).meter).in_bytes, 94, "which sinks all the same");
    let other = services.by_key(&key(0)).unwrap().dests[1];
    assert_eq!(services.rates(&services.dest(other).meter).in_bytes, 0);
}

#[test]
fn local_addresses_of_each_family_are_one_list_in_their_order() {
    let mut services = services(1);
    let addr = |text: &str| text.parse::<IpAddr>().unwrap();
    for text in ["2001:db8::2", "10.0.0.31", "2001:db8::1", "10.0.0.30"] {
        services.apply(&Command::AddLocalAddress(key(0), addr(text)), Instant::START).unwrap();
    }
    let id = services.slot_of(&key(0)).unwrap();
    assert_eq!(services.locals_of_family(id, Family::V4), [addr("10.0.0.31"), addr("10.0.0.30")]);
    assert_eq!(services.locals_of_family(id, Family::V6), [addr("2001:db8::2"), addr("2001:db8::1")]);
}
