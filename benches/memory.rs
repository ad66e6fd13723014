//! Memory per flow, and what it costs to hold many: `cargo bench --bench memory [-- FLOWS]` (default 4,000,000).
//!
//! Bytes are those asked of the allocator for records, index, wheel and local ports together, and the resident set that
//! the kernel counts. Then time passes with nothing due, and last all flows end.

#[allow(dead_code)]
mod counting;

use std::time::{Duration, Instant as Clock};

use tapvs::inside::base::{Family, Instant, Rng, Tuple};
use tapvs::inside::director::Director;
use tapvs::inside::service::command::Method;
use tapvs::inside::testing::load::{self, ACK, LINK, PLAIN, SYN};
use tapvs::inside::wire::PacketBuf;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

const START: Instant = Instant(1_000_000);

fn main() {
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    let flows: usize = words.map(|word| word.parse().expect("a number of flows")).next().unwrap_or(4_000_000);
    for method in [Method::Nat, Method::FullNat, Method::Direct] {
        // Towards eight servers and from 32 local addresses there are 15 million local ports.
        hold(method, flows);
    }
}

fn hold(method: Method, flows: usize) {
    let (bytes, resident) = (counting::bytes(), resident_bytes());
    let mut director = load::director(Family::V4, method, flows);
    let (mut buf, mut turn) = (PacketBuf::new(), load::turn(START));
    for number in 0..flows as u32 {
        for flags in [SYN, ACK] {
            load::load(&mut buf, &load::segment(load::client(Family::V4, number), load::vip(Family::V4), flags, 0));
            director.ingress(LINK, &mut buf, &mut turn);
        }
    }
    assert_eq!(director.flows.conns.len(), flows, "every flow has its conn");
    let per_flow = |bytes: i64| bytes as f64 / flows as f64;
    println!(
        "{method:?}, {flows} flows: {:.1} bytes a flow asked for, {:.1} resident",
        per_flow(counting::bytes() - bytes),
        per_flow(resident_bytes() - resident),
    );
    println!(
        "  lookup {:.0} ns, packet {:.0} ns, in random order",
        lookups(&director, flows),
        packets(&mut director, flows)
    );
    let mut now = START;
    let idle = timed(|| {
        for _ in 0..600 {
            now = now + Duration::from_secs(1);
            turn.now = now;
            director.tick(&mut turn);
        }
    });
    assert_eq!(director.flows.conns.len(), flows, "nothing was due");
    println!("  a second that passes with nothing due: {:.1} us", idle.as_micros() as f64 / 600.0);
    let end = timed(|| {
        for _ in 0..600 {
            now = now + Duration::from_secs(1);
            turn.now = now;
            director.tick(&mut turn);
        }
    });
    assert_eq!(director.flows.conns.len(), 0, "all have ended");
    println!("  the end of a flow: {:.0} ns", end.as_nanos() as f64 / flows as f64);
}

fn lookups(director: &Director, flows: usize) -> f64 {
    const COUNT: usize = 1 << 20;
    let mut rng = Rng::seeded(5);
    let clients: Vec<u32> = (0..COUNT).map(|_| rng.below(flows as u64) as u32).collect();
    let spent = timed(|| {
        for client in &clients {
            let tuple = Tuple {
                proto: tapvs::inside::base::Proto::TCP,
                src: load::client(Family::V4, *client),
                dst: load::vip(Family::V4),
            };
            assert!(director.conn_of(&tuple).is_some());
        }
    });
    spent.as_nanos() as f64 / COUNT as f64
}

fn packets(director: &mut Director, flows: usize) -> f64 {
    const COUNT: usize = 1 << 20;
    let mut rng = Rng::seeded(6);
    let (mut buf, mut turn) = (PacketBuf::new(), load::turn(START));
    let client = |rng: &mut Rng| load::client(Family::V4, rng.below(flows as u64) as u32);
    let heads: Vec<load::Head> =
        (0..COUNT).map(|_| load::segment(client(&mut rng), load::vip(Family::V4), ACK, PLAIN)).collect();
    let spent = timed(|| {
        for head in &heads {
            load::load(&mut buf, head);
            director.ingress(LINK, &mut buf, &mut turn);
        }
    });
    spent.as_nanos() as f64 / COUNT as f64
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Clock::now();
    work();
    began.elapsed()
}

/// What the kernel counts for this process.
fn resident_bytes() -> i64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: i64 = text.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a number of pages");
    pages * 4096
}
