//! What restarts the timer of a conn, and what its end looks like from both sides.

use super::steps::{NAT, establish, secs, syn_from};
use super::{CLIENT, RS1, RS2, VIP};
use crate::testing::{Kind, Lab, Packet};

#[test]
fn every_packet_of_either_side_restarts_the_timer() {
    let mut lab = Lab::new(NAT);
    establish(&mut lab, 4000);
    lab.advance(secs(800));
    lab.real(&Packet::tcp(RS2, CLIENT, "A"));
    lab.advance(secs(899));
    assert_eq!(lab.director.flows.conns.len(), 1);
    lab.advance(secs(3));
    assert_eq!(lab.director.flows.conns.len(), 0);
    assert_eq!(lab.counts(RS2), (0, 0));
}

#[test]
fn an_error_does_not_restart_the_timer() {
    let mut lab = Lab::new(NAT);
    establish(&mut lab, 4000);
    lab.advance(secs(890));
    lab.real(&Packet::icmp_about("10.0.0.22", "192.0.2.7", (3, 1, 0), &syn_from(4000).to(RS2)));
    lab.advance(secs(12));
    assert_eq!(lab.director.flows.conns.len(), 0);
}

#[test]
fn idle_established_conns_are_reset_at_both_ends_in_fullnat_and_in_silence_in_nat() {
    for (method, resets) in [("--fullnat", 2), ("-m", 0)] {
        let rules = format!("-A -t {VIP} -s rr\n-a -t {VIP} -r {RS1} {method}\n");
        let mut lab = Lab::new(&rules);
        let sent = lab.client(&syn_from(4000));
        let seen = sent[0].packet().src;
        let seen = format!("{}:{}", seen.addr, seen.port);
        lab.real(&Packet { seq: 9000, ack: 1001, ..Packet::tcp(RS1, &seen, "SA") });
        lab.client(&Packet { seq: 1001, ack: 9001, ..Packet::tcp(CLIENT, VIP, "A") });
        let sent = lab.advance(secs(1000));
        let packets = sent.iter().filter(|frame| frame.bytes[12..14] == [8, 0]).map(|frame| frame.packet());
        let sent: Vec<Packet> =
            packets.filter(|packet| packet.kind == Kind::Tcp("R")).map(|packet| Packet { id: 0, ..packet }).collect();
        // Each end takes it for its peer's: exactly what it expects next, or it would be ignored (RFC 5961 3.2).
        let reset = |src: &str, dst: &str, seq| Packet { seq, ack: 0, id: 0, ..Packet::tcp(src, dst, "R") };
        let wanted = [reset(VIP, CLIENT, 9001), reset(&seen, RS1, 1001)];
        assert_eq!(sent, wanted[..resets], "{method}");
        assert_eq!(lab.director.flows.conns.len(), 0);
    }
}
