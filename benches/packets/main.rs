//! Nanoseconds of the director's own work per packet: no system calls, no payload touched.
//!
//! ```text
//! cargo bench --bench packets                  a minute
//! cargo bench --bench packets -- --quick       up to 100,000 flows
//! cargo bench --bench packets -- --one WORK FLOWS FRAME COUNT      one row, for a profiler (scripts/instructions)
//! ```
//! Flows are met in random order. Each time is the best of five runs over a million packets (the first also warms up).
//! It includes the copy of the headers into the buffer, which stands for the read; the first row says what that costs.

use std::hint::black_box;
use std::time::Instant as Clock;

use tapvs::inside::base::{DropReason, Family, Instant, Rng};
use tapvs::inside::conn::Side;
use tapvs::inside::director::{Batch, Director};
use tapvs::inside::router::Turn;
use tapvs::inside::service::command::{Method, Tunnel};
use tapvs::inside::testing::load::{self, ACK, Head, LINK, PLAIN, SEGMENTS, SUPER, SYN, Sink};
use tapvs::inside::wire::{self, PacketBuf, Parsed};

const PACKETS: usize = 1 << 20;
const RUNS: usize = 5;
const NOW: Instant = Instant(1_000);

/// What happens to each packet.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Work {
    Copy,
    Parse,
    Lookup,
    /// The whole path of an established flow's packet.
    Ingress(Family, Method, Side),
    /// The whole path of a flow's first packet.
    NewConn(Family, Method),
}

impl Work {
    fn family(self) -> Family {
        match self {
            Work::Copy | Work::Parse | Work::Lookup => Family::V4,
            Work::Ingress(family, ..) | Work::NewConn(family, _) => family,
        }
    }
}

const METHODS: [(&str, Method); 4] = [
    ("nat", Method::Nat),
    ("fullnat", Method::FullNat),
    ("direct", Method::Direct),
    ("tunnel", Method::Tunnel(Tunnel::Ipip)),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => table(&[1, 100_000, 1_000_000, 4_000_000]),
        ["--quick"] => table(&[1, 100_000]),
        ["--list"] => works().for_each(|(name, _)| println!("{name}")),
        ["--one", work, flows, frame, count] => one(work, number(flows), frame, number(count)),
        _ => {
            eprintln!("packets: takes --quick, or --one WORK FLOWS plain|super COUNT with WORK one of");
            works().for_each(|(name, _)| eprintln!("  {name}"));
            std::process::exit(2);
        }
    }
}

fn number(word: &str) -> usize {
    word.parse().expect("a number")
}

/// All rows: name and work.
fn works() -> impl Iterator<Item = (String, Work)> {
    let single = [("copy", Work::Copy), ("parse", Work::Parse), ("lookup", Work::Lookup)];
    let ingress = |side: Side| METHODS.map(|(name, method)| (name, Work::Ingress(Family::V4, method, side)));
    let requests = ingress(Side::Request).map(|(name, work)| (format!("{name}-request"), work));
    let replies = ingress(Side::Reply).map(|(name, work)| (format!("{name}-reply"), work));
    let new = METHODS.map(|(name, method)| (format!("{name}-new"), Work::NewConn(Family::V4, method)));
    // Replies of direct routing and tunnels do not come this way.
    let replies = replies.into_iter().take(2);
    let ipv6 = [
        ("nat-request-v6", Work::Ingress(Family::V6, Method::Nat, Side::Request)),
        ("nat-reply-v6", Work::Ingress(Family::V6, Method::Nat, Side::Reply)),
        ("nat-new-v6", Work::NewConn(Family::V6, Method::Nat)),
    ];
    let named = |rows: [(&str, Work); 3]| rows.map(|(name, work)| (name.to_owned(), work));
    named(single).into_iter().chain(requests).chain(replies).chain(new).chain(named(ipv6))
}

/// One row by its name, for a profiler: as little else as possible.
fn one(name: &str, flows: usize, frame: &str, count: usize) {
    let (_, work) = works().find(|(known, _)| known == name).expect("a work by name");
    let payload = if frame == "super" { SUPER } else { PLAIN };
    if let Work::NewConn(family, method) = work {
        println!("{:.1} ns", open(family, method, count).1);
        return;
    }
    let mut bench = Bench::new(work, flows);
    let heads = bench.heads(work, payload);
    println!("{:.1} ns", bench.run(work, &heads, count));
}

fn table(flows: &[usize]) {
    println!("nanoseconds per packet: plain frame / superframe of {SEGMENTS} segments\n");
    print!("| flows ");
    flows.iter().for_each(|count| print!("| {count} "));
    println!("|\n|---{}|", "|---".repeat(flows.len()));
    for (name, work) in works() {
        print!("| {name} ");
        // What looks at no flow is the same for any number of them.
        let columns = if matches!(work, Work::Copy | Work::Parse) { &flows[..1] } else { flows };
        for &flows in columns {
            print!("| {} ", cell(work, flows));
        }
        println!("{}|", "| ".repeat(flows.len() - columns.len()));
    }
}

fn cell(work: Work, flows: usize) -> String {
    if let Work::NewConn(family, method) = work {
        // FULL-NAT towards a few servers ends with the local ports.
        return format!("{:.0}", open(family, method, flows.max(10_000)).1);
    }
    let mut bench = Bench::new(work, flows);
    let times = [PLAIN, SUPER].map(|payload| {
        let heads = bench.heads(work, payload);
        (0..RUNS).map(|_| bench.run(work, &heads, PACKETS)).fold(f64::INFINITY, f64::min)
    });
    match work {
        // A superframe is many packets once it is in a tunnel: say what one costs.
        Work::Ingress(_, Method::Tunnel(_), _) => {
            format!("{:.0} / {:.0} ({:.0} a segment)", times[0], times[1], times[1] / SEGMENTS as f64)
        }
        _ => format!("{:.0} / {:.0}", times[0], times[1]),
    }
}

/// A director with so many new conns; nanoseconds for each.
fn open(family: Family, method: Method, flows: usize) -> (Director, f64) {
    let mut director = load::director(family, method, flows.max(10_000));
    let (mut turn, mut batch) = (load::turn(NOW), Batch::default());
    let mut clients: Vec<u32> = (0..flows as u32).collect();
    shuffle(&mut clients);
    let syn = |client: &u32| load::segment(load::client(family, *client), load::vip(family), SYN, 0);
    let syns: Vec<Head> = clients.iter().map(syn).collect();
    let start = Clock::now();
    for syn in &syns {
        feed(&mut batch, syn, &mut director, &mut turn);
    }
    load::handle(&mut director, &mut batch, LINK, &mut turn);
    let spent = start.elapsed();
    assert_eq!(director.flows.conns.len(), flows, "every SYN opens a conn");
    (director, spent.as_nanos() as f64 / flows as f64)
}

/// One more frame, as if it had been read; a full batch is handled first.
#[inline]
fn feed(batch: &mut Batch, head: &Head, director: &mut Director, turn: &mut Turn<Sink>) {
    if batch.room().is_none() {
        load::handle(director, batch, LINK, turn);
    }
    if let Some(buf) = batch.room() {
        load::load(buf, head);
        batch.add();
    }
}

fn shuffle(list: &mut [u32]) {
    let mut rng = Rng::seeded(3);
    for at in (1..list.len()).rev() {
        list.swap(at, rng.below(at as u64 + 1) as usize);
    }
}

/// A director full of established conns.
struct Bench {
    director: Director,
    flows: usize,
    /// Two by turns: what was written is read a packet later, as it is after a system call, not from the store buffer.
    bufs: [PacketBuf; 2],
    batch: Batch,
    turn: Turn<Sink>,
}

impl Bench {
    fn new(work: Work, flows: usize) -> Bench {
        let method = if let Work::Ingress(_, method, _) = work { method } else { Method::Nat };
        let family = work.family();
        let (director, _) = open(family, method, flows);
        let mut bench =
            Bench { director, flows, bufs: Default::default(), batch: Batch::default(), turn: load::turn(NOW) };
        for number in 0..flows as u32 {
            load::load(&mut bench.bufs[0], &load::segment(load::client(family, number), load::vip(family), ACK, 0));
            bench.director.ingress(LINK, &mut bench.bufs[0], &mut bench.turn);
        }
        bench
    }

    /// Frames of random flows: many where there are many flows, few where all else is to be hot too.
    fn heads(&self, work: Work, payload: usize) -> Vec<Head> {
        let count = if self.flows == 1 { 64 } else { PACKETS };
        let family = work.family();
        let mut rng = Rng::seeded(5);
        let head = |_| {
            let client = load::client(family, rng.below(self.flows as u64) as u32);
            let (src, dst) = match work {
                Work::Ingress(_, _, Side::Reply) => load::reply_ends(&self.director, client),
                _ => (client, load::vip(family)),
            };
            load::segment(src, dst, ACK, payload)
        };
        (0..count).map(head).collect()
    }

    /// Nanoseconds per packet.
    fn run(&mut self, work: Work, heads: &[Head], count: usize) -> f64 {
        let before = self.turn.out.frames;
        let start = Clock::now();
        load::load(&mut self.bufs[0], &heads[heads.len() - 1]);
        for head in heads.iter().cycle().take(count) {
            self.step(work, head);
        }
        load::handle(&mut self.director, &mut self.batch, LINK, &mut self.turn);
        let spent = start.elapsed().as_nanos() as f64 / count as f64;
        if let Work::Ingress(..) = work {
            let ledger = &self.turn.ledger();
            assert!(DropReason::ALL.iter().all(|why| ledger.dropped(*why) == 0), "nothing is dropped: {ledger}");
            assert!(self.turn.out.frames - before >= count as u64, "every packet leaves");
        }
        spent
    }

    #[inline]
    fn step(&mut self, work: Work, head: &Head) {
        match work {
            Work::Copy => drop(black_box(self.next(head).frame())),
            Work::Parse => drop(black_box(wire::parse(self.next(head)))),
            Work::Lookup => {
                let Ok(Parsed::Ip(ip)) = wire::parse(self.next(head)) else { panic!("a sound frame") };
                let tuple = ip.tuple().expect("a packet with ports");
                assert!(black_box(self.director.conn_of(&tuple)).is_some());
            }
            Work::Ingress(..) | Work::NewConn(..) => feed(&mut self.batch, head, &mut self.director, &mut self.turn),
        }
    }

    /// The frame before, while this one is put where the next read will find it.
    #[inline]
    fn next(&mut self, head: &Head) -> &PacketBuf {
        self.bufs.swap(0, 1);
        load::load(&mut self.bufs[0], head);
        &self.bufs[1]
    }
}
