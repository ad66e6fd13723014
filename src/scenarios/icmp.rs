//! The director as a host and a router: echo, ICMP errors of its own, ICMP errors that it translates.

use super::steps::{NAT, syn_from};
use super::{CLIENT, RS2, VIP};
use crate::testing::{Kind, Lab, Packet, ROUTER, endpoint, expect};

#[test]
fn a_ping_is_answered_not_balanced() {
    let mut lab = Lab::new(NAT);
    let ping = Packet::new("192.0.2.7", "198.51.100.1", Kind::Icmp(8, 0, [0, 1, 0, 2])).carrying("abc");
    let sent = lab.client(&ping);
    assert_eq!(lab.take_moved(), "consumed.echo-request=1");
    let answer = sent[0].packet();
    assert_eq!((answer.kind, answer.payload), (Kind::Icmp(0, 0, [0, 1, 0, 2]), b"abc".to_vec()));
    assert_eq!((answer.src, answer.dst, sent[0].to()), (ping.dst, ping.src, ROUTER));
}

#[test]
fn a_spent_ttl_is_told_by_the_virtual_address() {
    let mut lab = Lab::new(NAT);
    let sent = lab.client(&Packet { ttl: 1, ..syn_from(4000) });
    assert_eq!(lab.take_moved(), "dropped.ttl-exceeded=1");
    let error = sent[0].packet();
    assert_eq!((error.kind, error.src), (Kind::Icmp(11, 0, [0; 4]), endpoint("198.51.100.1")));
}

#[test]
fn what_does_not_fit_into_a_tunnel_is_told_with_the_size_that_does() {
    let mut lab = Lab::new("-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21 -i");
    lab.client(&syn_from(4000));
    let sent = lab.client(&Packet::tcp(CLIENT, VIP, "A").carrying(vec![0; 1460]));
    assert_eq!(lab.take_moved(), "dropped.too-big=1");
    assert_eq!(sent[0].packet().kind, Kind::Icmp(3, 4, 1480u32.to_be_bytes()));
    assert_eq!(sent[0].ip().len(), 576, "quoting as much as fits into 576 bytes");
}

#[test]
fn an_error_of_a_router_behind_the_director_comes_from_the_virtual_address() {
    let mut lab = Lab::new(NAT);
    lab.client(&syn_from(4000));
    let about = syn_from(4000).to(RS2).one_hop_on();
    let sent = lab.real(&Packet::icmp_about("10.0.0.29", "192.0.2.7", (3, 4, 1300), &about));
    let error = sent[0].packet();
    assert_eq!((error.src, error.dst), (endpoint("198.51.100.1"), endpoint("192.0.2.7")));
}

#[test]
fn only_unreachable_quench_and_time_exceeded_are_translated() {
    for (kind, translated) in [(3, true), (4, true), (11, true), (12, false)] {
        let mut lab = Lab::new(NAT);
        lab.client(&syn_from(4000));
        let about = syn_from(4000).to(RS2).one_hop_on();
        let error = Packet::icmp_about("10.0.0.22", "192.0.2.7", (kind, 0, 0), &about);
        let sent = lab.real(&error);
        if translated {
            assert_eq!(sent[0].packet().src, endpoint("198.51.100.1"), "type {kind}");
            continue;
        }
        expect(&sent, &[(ROUTER, error.clone().one_hop_on())]);
    }
}
