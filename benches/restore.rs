//! What a start with state costs: `cargo bench --bench restore [-- FLOWS]` (default 100,000 and 1,000,000).
//!
//! The flows are idle conns of NAT in a file of the state, as a worker leaves them. Asserted: 100,000 are back in 100 ms,
//! a million in a second. A worker that takes over from another one makes a draft before, and then takes less.

use std::fs::File;
use std::net::IpAddr;
use std::time::{Duration, Instant as Clock};

use argh::FromArgs;
use nix::sys::memfd::{MFdFlags, memfd_create};
use tapvs::RunArgs;
use tapvs::inside::base::{Endpoint, Instant, Method, Proto};
use tapvs::inside::config::Plan;
use tapvs::inside::conn::{Kind, NewConn};
use tapvs::inside::daemon::try_restore;
use tapvs::inside::director::Director;
use tapvs::inside::state::State;

const VIP: Endpoint = Endpoint { addr: IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)), port: 80 };

fn main() {
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    let asked: Vec<usize> = words.map(|word| word.parse().expect("a number of flows")).collect();
    let flows = if asked.is_empty() { vec![100_000, 1_000_000] } else { asked };
    for flows in flows {
        start_with(flows);
    }
}

fn plan() -> Plan {
    let words = "--bridge br0 --address 10.0.0.2/24 --service tcp/198.51.100.1:80 --server 10.0.0.21:8080,nat \
                 --server 10.0.0.22:8080,nat";
    let words: Vec<&str> = words.split_whitespace().collect();
    Plan::from_args(&RunArgs::from_args(&["run"], &words).expect("flags")).expect("a plan")
}

fn start_with(flows: usize) {
    let file = File::from(memfd_create("tapvs-bench", MFdFlags::MFD_CLOEXEC).expect("memory"));
    // A table that is full has most conns in its overflow index, as no operator runs one.
    let room = 2 * flows;
    let plan = plan();
    let mut director = plan.rehearse().expect("a director");
    let mut state = try_restore(&mut director, &plan, file.try_clone().expect("a file"), room, None).expect("a state");
    fill(&mut director, flows);
    state.save_counters(&director);
    drop((state, director));

    // A microsecond for each, and no less than the smaller promise.
    let allowed = Duration::from_micros(flows as u64).max(Duration::from_millis(100));
    let whole = median(&format!("{flows} conns are back"), || go_on(&plan, &file, (room, flows), false));
    assert!(whole < allowed, "{flows} conns took {whole:?}, more than {allowed:?}");
    median(&format!("{flows} conns are taken over"), || go_on(&plan, &file, (room, flows), true));
}

/// How long a start takes that goes on with the file; with a draft, the part of it after the other worker has stopped.
fn go_on(plan: &Plan, file: &File, (room, flows): (usize, usize), drafted: bool) -> Duration {
    let mut director = plan.rehearse().expect("a director");
    let file = file.try_clone().expect("a file");
    let draft = drafted.then(|| State::draft(&file, &director).expect("a draft"));
    let began = Clock::now();
    let state = try_restore(&mut director, plan, file, room, draft).expect("a state");
    let took = began.elapsed();
    assert_eq!(director.flows.conns.len(), flows, "conns that are back");
    drop((state, director));
    took
}

fn median(what: &str, work: impl Fn() -> Duration) -> Duration {
    let rounds = 5;
    let mut times: Vec<Duration> = (0..rounds).map(|_| work()).collect();
    times.sort();
    let [least, median, most] = [0, rounds / 2, rounds - 1].map(|place| times[place]);
    println!("{what} after {median:.1?} (of {rounds}: {least:.1?} to {most:.1?})");
    median
}

fn fill(director: &mut Director, flows: usize) {
    let dests = director.flows.services.iter().next().expect("a service").dests.clone();
    let reals: Vec<_> = dests.iter().map(|dest| director.flows.services.server(*dest).endpoint).collect();
    for number in 0..flows as u32 {
        let which = number as usize % dests.len();
        let client =
            Endpoint::new(IpAddr::from((0x0b00_0000 + number / 16).to_be_bytes()), 4000 + (number % 16) as u16);
        let real = director.flows.conns.intern(reals[which].addr).expect("an address");
        let new = NewConn {
            proto: Proto::TCP,
            client,
            virt: VIP,
            real,
            dport: reals[which].port,
            local: None,
            dest: dests[which],
            method: Method::Nat,
            kind: Kind::Flow,
        };
        director
            .flows
            .conns
            .insert(&new, Instant(1000), Duration::from_secs(900 + u64::from(number % 64)))
            .expect("room");
    }
}
