//! Nanoseconds for a pick, by scheduler and number of servers, and the time to build an mh table.
//!
//! `cargo bench --bench sched`; a few seconds, no options. Loads are random, so that scans cannot predict.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant as Clock};

use tapvs::inside::base::{DestId, Endpoint, Instant, Proto, Rng};
use tapvs::inside::sched::{ALL, Change, Context, Flags, Flow, MH_TABLE_SIZES, Server, Servers, Settings, create};

const PICKS: usize = 20_000;

fn main() {
    println!("{:<8}{:>10}{:>10}{:>10}   ns per pick, by number of servers", "", 10, 100, 1_000);
    for known in ALL {
        let times = [10, 100, 1_000].map(|count| pick_time(known.name, count));
        println!("{:<8}{:>10}{:>10}{:>10}", known.name, times[0], times[1], times[2]);
    }
    println!("\nmh table of 1,000 servers, in microseconds");
    for size in MH_TABLE_SIZES {
        println!("{size:>8} slots{:>10}", build_time(size).as_micros());
    }
}

fn farm(count: u32, rng: &mut Rng) -> (Vec<DestId>, Vec<Server>) {
    let server = |number: u32| {
        let addr = IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + number));
        let weight = 1 + rng.below(100) as u32;
        Server { active: rng.below(1_000) as u32, ..Server::new(Endpoint::new(addr, 80), weight) }
    };
    ((0..count).rev().map(DestId).collect(), (0..count).map(server).collect())
}

/// The best of five runs.
fn pick_time(name: &str, count: u32) -> u128 {
    let mut rng = Rng::seeded(1);
    let (order, slab) = farm(count, &mut rng);
    let (servers, settings) = (Servers::new(&order, &slab), Settings::default());
    let mut scheduler = create(name, Flags::default(), &servers, &settings).expect("a name of the table");
    let flows: Vec<Flow> = (0..PICKS).map(|_| flow(&mut rng)).collect();
    let mut run = || {
        let start = Clock::now();
        for flow in &flows {
            let mut context = Context { now: Instant::START, rng: &mut rng, settings: &settings };
            black_box(scheduler.pick(&servers, flow, &mut context));
        }
        start.elapsed().as_nanos() / PICKS as u128
    };
    (0..5).map(|_| run()).min().unwrap_or_default()
}

/// A client anywhere, one of 256 virtual addresses.
fn flow(rng: &mut Rng) -> Flow {
    let bits = rng.next_u64();
    let endpoint = |addr: u32, port| Endpoint::new(IpAddr::V4(Ipv4Addr::from(addr)), port);
    Flow {
        proto: Proto::TCP,
        src: endpoint(bits as u32, (bits >> 32) as u16),
        dst: endpoint(0xc633_6400 | (bits >> 56) as u32, 80),
    }
}

/// A weight changed and one pick, which builds the table; the best of three.
fn build_time(size: u32) -> Duration {
    let mut rng = Rng::seeded(1);
    let settings = Settings { mh_table_size: size, ..Settings::default() };
    let (order, mut slab) = farm(1_000.min(size), &mut rng);
    let flow = flow(&mut rng);
    let servers = Servers::new(&order, &slab);
    let mut scheduler = create("mh", Flags::default(), &servers, &settings).expect("a name of the table");
    let mut run = |weight| {
        slab[0].set_weight(weight);
        let servers = Servers::new(&order, &slab);
        scheduler.changed(&servers, Change::Edited(DestId(0)), &settings);
        let mut context = Context { now: Instant::START, rng: &mut rng, settings: &settings };
        let start = Clock::now();
        black_box(scheduler.pick(&servers, &flow, &mut context));
        start.elapsed()
    };
    [150, 250, 350].map(&mut run).into_iter().min().unwrap_or_default()
}
