//! What is counted of conns that the kernel forwards, and how long they live by it.

use std::time::Duration;

use super::super::steps::{NAT, establish, secs};
use super::super::{CLIENT, RS2, VIP};
use super::{entries, lab, read_here, taken};
use crate::testing::{DIRECTOR, LINK, Packet, ROUTER, endpoint, expect, mac_of};
use crate::wire::Vnet;

#[test]
fn a_conn_of_some_packets_is_the_kernels_and_counts_as_before() {
    let mut lab = lab(NAT);
    let data = taken(&mut lab, 4000);
    let read = read_here(&mut lab);
    let reply = Packet::tcp(RS2, CLIENT, "AP").carrying("answer");
    for _ in 0..100 {
        expect(&lab.client(&data), &[(mac_of(endpoint(RS2).addr), data.clone().to(RS2).one_hop_on())]);
        expect(&lab.real(&reply), &[(ROUTER, reply.clone().from(VIP).one_hop_on())]);
    }
    assert_eq!(read_here(&mut lab), read, "the director has read none of them");
    let conn = lab.conn_of(&data).unwrap();
    lab.director.fast().read_all();
    assert_eq!(lab.director.flows.conns.get(conn).in_pkts, 2 + 16 + 100);
    let dest = lab.director.flows.conns.get(conn).dest;
    let stats = lab.director.flows.services.dest(dest).stats;
    assert_eq!((stats.in_pkts, stats.out_pkts), (118, 101));
    assert_eq!(stats.out_bytes, 40 + 100 * 46);
    assert_eq!(lab.director.flows.services.total.in_bytes, stats.in_bytes);
    lab.director.fast().account(&mut lab.turn);
    assert!(lab.turn.ledger().balances() && lab.turn.ledger().fast() > 200);
}

#[test]
fn a_conn_lives_by_what_the_kernel_has_forwarded_and_ends_without() {
    let mut lab = lab(NAT);
    let data = taken(&mut lab, 4000);
    for _ in 0..4 {
        lab.advance(secs(800));
        lab.client(&data);
    }
    lab.advance(secs(899));
    assert!(lab.conn_of(&data).is_some());
    assert_eq!(entries(&lab), 1);
    lab.advance(secs(2));
    assert_eq!((lab.conn_of(&data), entries(&lab)), (None, 0));
}

#[test]
fn after_a_long_silence_of_the_director_what_was_forwarded_meanwhile_counts() {
    let mut lab = lab(NAT);
    let data = taken(&mut lab, 4000);
    // The loop stands still: nobody reads.
    lab.turn.now = lab.turn.now + secs(1500);
    lab.client(&data);
    lab.turn.now = lab.turn.now + secs(600);
    lab.director.tick(&mut lab.turn);
    assert!(lab.conn_of(&data).is_some(), "its last packet is ten minutes old");
    lab.advance(secs(301));
    assert!(lab.conn_of(&data).is_none());
}

#[test]
fn persistent_clients_conns_are_taken_and_their_template_lives_on() {
    let mut lab = lab(&NAT.replace("-s rr", "-s rr -p 300"));
    let data = taken(&mut lab, 4000);
    lab.advance(secs(290));
    lab.client(&data);
    lab.advance(secs(301));
    assert_eq!(lab.director.flows.conns.len(), 2, "a template lives as long as its conns");
}

#[test]
fn an_entry_is_made_when_all_that_was_read_is_written() {
    let mut lab = lab(NAT);
    establish(&mut lab, 4000);
    let data = Packet::tcp(CLIENT, VIP, "A").frame(ROUTER, DIRECTOR);
    let mut batch = crate::director::Batch::default();
    for _ in 0..2 {
        for _ in 0..8 {
            batch.room().unwrap().set(&data);
            batch.add();
        }
        batch.handle(&mut lab.director, LINK, &mut lab.turn);
    }
    assert!(entries(&lab) == 0 && lab.director.fast.is_asked());
    lab.frame_with(&data, Vnet::default());
    assert_eq!(entries(&lab), 1);
}

#[test]
fn the_deadline_after_it_has_left_is_that_of_its_last_packet() {
    let mut lab = lab(NAT);
    let data = taken(&mut lab, 4000);
    lab.advance(Duration::from_millis(400));
    lab.client(&data);
    let at = lab.turn.now;
    lab.advance(Duration::from_millis(300));
    lab.director.fast().leave_all();
    let conns = &lab.director.flows.conns;
    let left = conns.deadline(conns.get(lab.conn_of(&data).unwrap())).since(at);
    assert!(left >= secs(900) && left < secs(900) + Duration::from_millis(129), "{left:?}");
}
