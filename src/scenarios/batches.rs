//! Frames that are handled together: the same leave as if each had come alone, in the same order, and what was fetched from
//! memory is what they needed.

use super::{LIP, VIP};
use crate::base::{Rng, prefetched};
use crate::director::Batch;
use crate::testing::{DIRECTOR, LINK, Lab, Packet, ROUTER, mac_of};

/// More than a processor keeps near.
const MANY: u64 = 33_000;
const RULES: &str = "\
-A -t 198.51.100.1:80 -s rr
-a -t 198.51.100.1:80 -r 10.0.0.21:8080 -m
-A -t 198.51.100.1:81 -s rr
-a -t 198.51.100.1:81 -r 10.0.0.22:8080 --fullnat
";

/// The address and port of the n-th client.
fn client(number: u64) -> String {
    format!("192.0.2.{}:{}", 1 + number % 200, 2_000 + number / 200)
}

fn service(number: u64) -> &'static str {
    if number.is_multiple_of(3) { "198.51.100.1:81" } else { VIP }
}

fn lab(conns: u64) -> Lab {
    let mut lab = Lab::new(RULES);
    lab.rules(&format!("-P -t 198.51.100.1:81 -z {LIP}"));
    for number in 0..conns {
        let sent = lab.client(&Packet::tcp(&client(number), service(number), "S"));
        assert_eq!(sent.len(), 1);
    }
    lab
}

/// What a client or a real server sends, or noise.
fn frame(lab: &Lab, rng: &mut Rng) -> Vec<u8> {
    let number = rng.below(MANY + 500);
    let request = Packet::tcp(&client(number), service(number), if rng.below(4) == 0 { "S" } else { "A" });
    match (rng.below(8), lab.conn_of(&request)) {
        (0..3, Some(id)) => {
            let conns = &lab.director.flows.conns;
            let conn = conns.get(id);
            let (src, dst) = (conns.real(conn), conns.local(conn).unwrap_or(conn.client()));
            Packet { src, dst, ..Packet::tcp(VIP, VIP, "A") }.frame(mac_of(src.addr), DIRECTOR)
        }
        (3, _) => (0..rng.below(60)).map(|_| rng.below(256) as u8).collect(),
        _ => request.frame(ROUTER, DIRECTOR),
    }
}

/// Has a batch handled; whether anything was fetched, and how many frames left.
fn fetches(lab: &mut Lab, batch: &mut Batch, frames: &[Vec<u8>]) -> (bool, usize) {
    prefetched::take();
    let left = lab.together(batch, frames).len();
    (!prefetched::take().is_empty(), left)
}

#[test]
fn what_leaves_is_the_same_in_the_same_order() {
    let (mut alone, mut together) = (lab(MANY), lab(MANY));
    let (mut batch, mut rng) = (Batch::default(), Rng::seeded(9));
    for _ in 0..300 {
        let frames: Vec<_> = (0..rng.below(17)).map(|_| frame(&alone, &mut rng)).collect();
        let expected: Vec<_> = frames.iter().flat_map(|frame| alone.frame(frame)).collect();
        assert_eq!(together.together(&mut batch, &frames), expected);
        assert_eq!(together.take_moved(), alone.take_moved());
    }
}

#[test]
fn a_batch_ends_with_many_frames_or_a_large_one() {
    let mut batch = Batch::default();
    let mut taken = |len: usize| {
        let mut frames = 0;
        while let Some(buf) = batch.room() {
            buf.set(&vec![0; len]);
            batch.add();
            frames += 1;
        }
        let mut lab = Lab::new(RULES);
        assert_eq!(batch.handle(&mut lab.director, LINK, &mut lab.turn), frames);
        frames
    };
    assert_eq!([taken(60), taken(1_514), taken(20_000), taken(40_000), taken(60)], [16, 16, 2, 1, 16]);
}

#[test]
fn the_records_of_packets_are_fetched() {
    let mut lab = lab(MANY);
    let (mut batch, mut rng, mut found) = (Batch::default(), Rng::seeded(4), 0);
    for number in (0..MANY).step_by(61) {
        let request = Packet::tcp(&client(number), service(number), "A");
        let Some(id) = lab.conn_of(&request) else { continue };
        let frames = [request.frame(ROUTER, DIRECTOR), frame(&lab, &mut rng)];
        prefetched::take();
        lab.together(&mut batch, &frames);
        let record = (&raw const *lab.director.flows.conns.get(id)).addr();
        found += usize::from(prefetched::take().contains(&record));
    }
    // All but guests, for whom their clients' sets had no room.
    assert!(found >= 535, "{found} of 541");
}

#[test]
fn nothing_is_fetched_for_few_conns_or_a_single_frame() {
    let acks = |numbers: std::ops::Range<u64>| -> Vec<_> {
        numbers.map(|n| Packet::tcp(&client(n), service(n), "A").frame(ROUTER, DIRECTOR)).collect()
    };
    let mut batch = Batch::default();
    assert_eq!(fetches(&mut lab(10), &mut batch, &acks(0..10)), (false, 10));
    let mut many = lab(MANY);
    assert_eq!(fetches(&mut many, &mut batch, &acks(0..1)), (false, 1));
    assert_eq!(fetches(&mut many, &mut batch, &acks(0..2)), (true, 2));
}

#[test]
fn nothing_is_fetched_for_few_conns_among_many_once_that_has_shown() {
    let mut lab = lab(MANY);
    let mut batch = Batch::default();
    // For how many of 600 packets something was fetched; of so many conns, and others each time.
    let mut first = 0;
    let mut fetched = |conns: u64| {
        let mut fetched = 0;
        for start in (0..600).step_by(10) {
            let acks: Vec<_> = (start..start + 10)
                .map(|number| first + number % conns)
                .map(|number| Packet::tcp(&client(number), service(number), "A").frame(ROUTER, DIRECTOR))
                .collect();
            fetched += 10 * u32::from(fetches(&mut lab, &mut batch, &acks).0);
        }
        first += 600;
        fetched
    };
    assert_eq!(fetched(600), 600);
    // The first judgement is of some packets of before too.
    let few = fetched(10);
    assert!((250..=520).contains(&few), "{few}");
    // That holds for a while.
    (0..13).for_each(|_| assert_eq!(fetched(600), 0));
    fetched(600);
    assert_eq!(fetched(600), 600);
}
