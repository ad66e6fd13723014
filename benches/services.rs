//! Many services: `cargo bench --bench services [-- SERVICES]` (default 10,000 and 100,000), five servers each.
//!
//! How long it takes to make them, list them and take them away, in the parts in which the loop does it, and the longest
//! part: no packet waits longer than that. Times are this machine's; the bound of a part is a count.

use std::net::IpAddr;
use std::time::{Duration, Instant as Clock};

use tapvs::inside::base::{Chance, Endpoint, Family, Instant, Proto};
use tapvs::inside::director::{Director, Settings};
use tapvs::inside::service::command::{Command, DestOptions, Method, ServiceKey, ServiceOptions};

const SERVERS: u8 = 5;
/// As `daemon/work.rs` has it.
const COMMANDS_A_TURN: usize = 64;
const NOW: Instant = Instant(1_000);

fn main() {
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    let counts: Vec<u32> = words.map(|word| word.parse().expect("a number of services")).collect();
    for count in if counts.is_empty() { vec![10_000, 100_000] } else { counts } {
        println!("{count} services of {SERVERS} servers");
        with(count);
    }
}

fn with(count: u32) {
    let mut director = Director::new(Settings { max_flows: 1, ..Settings::default() }, Chance::KNOWN);
    let rules: Vec<Command> = (0..count).flat_map(rules).collect();
    in_parts("made", rules.chunks(COMMANDS_A_TURN), |part| {
        part.iter().for_each(|command| director.apply(command, NOW).expect("a sound command"));
    });
    let services = &mut director.flows.services;
    let dests: Vec<_> = services.iter().flat_map(|service| service.dests.clone()).collect();
    services.read_meters(NOW);
    dests.iter().for_each(|dest| services.count_in(*dest, 100));
    let due = NOW + Duration::from_secs(2);
    in_parts("meters read", 0..dests.len() / 4096 + 2, |_| services.read_meters(due));
    let keys: Vec<ServiceKey> = services.iter().map(|service| service.key).collect();
    in_parts("removed", keys.chunks(COMMANDS_A_TURN), |part| {
        part.iter()
            .for_each(|key| director.apply(&Command::DeleteService(*key), NOW).expect("a service that is there"));
    });
    let (mut now, services) = (NOW, &mut director.flows.services);
    in_parts("forgotten", 0..4000, |_| {
        now = services.trash_due().map_or(now, |due| due.max(now));
        services.empty_trash(now);
    });
}

fn rules(number: u32) -> Vec<Command> {
    let key = ServiceKey::Address(Proto::TCP, Endpoint::new(IpAddr::from((0x0a64_0000 + number).to_be_bytes()), 80));
    let options = DestOptions { method: Method::Nat, ..DestOptions::default() };
    let dest = |last| Command::AddDest(key, Endpoint::new(IpAddr::from([10, 77, 0, last]), 8080), options);
    let service =
        Command::AddService(key, ServiceOptions { scheduler: "rr".into(), ..ServiceOptions::defaults(Family::V4) });
    std::iter::once(service).chain((100..100 + SERVERS).map(dest)).collect()
}

/// Does the parts, and prints how long all of them took and the longest one.
fn in_parts<T>(what: &str, parts: impl Iterator<Item = T>, mut each: impl FnMut(T)) {
    let (began, mut longest) = (Clock::now(), Duration::ZERO);
    for part in parts {
        let part_began = Clock::now();
        each(part);
        longest = longest.max(part_began.elapsed());
    }
    println!("  {what}: {:?}, the longest part {longest:?}", began.elapsed());
}
