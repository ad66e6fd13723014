//! Frames that wait while memory brings their conns: the same frames leave, in the same order, and what was fetched is
//! what they needed.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use super::lab::{DIRECTOR, LINK, Lab, ROUTER, mac_of};
use super::packet::Packet;
use super::{LIP, VIP};
use crate::base::Rng;
use crate::director::Lookahead;
use crate::wire::PacketBuf;

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
            let conns = &lab.director.conns;
            let conn = conns.get(id);
            let (src, dst) = (conns.real(conn), conns.local(conn).unwrap_or(conn.client()));
            Packet { src, dst, ..Packet::tcp(VIP, VIP, "A") }.frame(mac_of(src.addr), DIRECTOR)
        }
        (3, _) => (0..rng.below(60)).map(|_| rng.below(256) as u8).collect(),
        _ => request.frame(ROUTER, DIRECTOR),
    }
}

thread_local! {
    static FETCHED: RefCell<HashSet<usize>> = RefCell::default();
}

fn remember(at: *const ()) {
    FETCHED.with_borrow_mut(|fetched| _ = fetched.insert(at.addr()));
}

#[test]
fn what_leaves_is_the_same_in_the_same_order() {
    let (mut at_once, mut ahead) = (lab(MANY), lab(MANY));
    let (mut lookahead, mut rng) = (Lookahead::new(remember), Rng::seeded(9));
    for _ in 0..300 {
        let frames: Vec<_> = (0..rng.below(6)).map(|_| frame(&at_once, &mut rng)).collect();
        let expected: Vec<_> = frames.iter().flat_map(|frame| at_once.frame(frame)).collect();
        let mut left: Vec<_> = frames.iter().flat_map(|frame| ahead.frame_ahead(&mut lookahead, frame)).collect();
        left.extend(ahead.rest_of(&mut lookahead));
        assert_eq!(left, expected);
        assert_eq!(ahead.take_moved(), at_once.take_moved());
    }
}

#[test]
fn the_records_of_packets_are_fetched_before_they_are_needed() {
    let mut lab = lab(MANY);
    let (mut lookahead, mut rng, mut found) = (Lookahead::new(remember), Rng::seeded(4), 0);
    for number in (0..MANY).step_by(61) {
        let request = Packet::tcp(&client(number), service(number), "A");
        let Some(id) = lab.conn_of(&request) else { continue };
        FETCHED.with_borrow_mut(HashSet::clear);
        lab.frame_ahead(&mut lookahead, &request.frame(ROUTER, DIRECTOR));
        let next = frame(&lab, &mut rng);
        lab.frame_ahead(&mut lookahead, &next);
        let record = (&raw const *lab.director.conns.get(id)).addr();
        found += usize::from(FETCHED.with_borrow(|fetched| fetched.contains(&record)));
        lab.rest_of(&mut lookahead);
    }
    // All but guests, for whom their clients' sets had no room.
    assert!(found >= 535, "{found} of 541");
}

#[test]
fn few_conns_keep_no_frame_waiting() {
    let mut lab = lab(10);
    let (mut lookahead, mut buf) = (Lookahead::new(remember), PacketBuf::new());
    let frame = Packet::tcp(&client(1), VIP, "A").frame(ROUTER, DIRECTOR);
    buf.set(&frame);
    assert_eq!(lookahead.exchange(&lab.director, LINK, &mut buf), Some(LINK));
    assert_eq!(buf.frame(), frame);
    assert_eq!(lookahead.take(&lab.director, &mut buf), None);
    assert_eq!(lab.frame_ahead(&mut lookahead, &frame).len(), 1);
}

#[test]
fn few_conns_among_many_keep_no_frame_waiting_once_that_has_shown() {
    let mut lab = lab(MANY);
    let mut lookahead = Lookahead::new(remember);
    // How many of 600 packets leave when they come; of so many conns, and others each time.
    let mut first = 0;
    let mut at_once = |conns: u64| {
        let mut left = 0;
        for number in 0..600 {
            let number = first + number % conns;
            let ack = Packet::tcp(&client(number), service(number), "A").frame(ROUTER, DIRECTOR);
            left += lab.frame_ahead(&mut lookahead, &ack).len();
            lab.rest_of(&mut lookahead);
        }
        first += 600;
        left
    };
    assert_eq!(at_once(600), 0);
    // The first judgement is of some packets of before too.
    let left = at_once(10);
    assert!((80..=350).contains(&left), "{left}");
    // That holds for a while.
    (0..13).for_each(|_| assert_eq!(at_once(600), 600));
    at_once(600);
    assert_eq!(at_once(600), 0);
}

#[test]
fn frames_that_wait_while_conns_end_keep_their_order() {
    let mut lab = lab(MANY);
    let mut lookahead = Lookahead::new(remember);
    let mut from = |lab: &mut Lab, port: u16| {
        let syn = Packet::tcp(&format!("192.0.2.250:{port}"), VIP, "S").frame(ROUTER, DIRECTOR);
        lab.frame_ahead(&mut lookahead, &syn)
    };
    assert!(from(&mut lab, 1_001).is_empty());
    lab.advance(Duration::from_secs(1_000));
    assert!(lab.director.conns.is_empty());
    let mut left = [1_002, 1_003, 1_004].into_iter().flat_map(|port| from(&mut lab, port)).collect::<Vec<_>>();
    left.extend(lab.rest_of(&mut lookahead));
    let ports: Vec<_> = left.iter().map(|frame| u16::from_be_bytes([frame.bytes[34], frame.bytes[35]])).collect();
    assert_eq!(ports, [1_001, 1_002, 1_003, 1_004]);
}
