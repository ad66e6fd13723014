//! How the states of a TCP conn follow its segments, and which segments open one.

use super::steps::{NAT, establish, secs, served_by, syn_from};
use super::{CLIENT, RS2, VIP};
use crate::director::Settings;
use crate::testing::{Lab, Packet};

#[test]
fn a_segment_without_conn_falls_to_the_host_which_resets() {
    let mut lab = Lab::new(NAT);
    let sent = lab.client(&Packet::tcp(CLIENT, VIP, "A"));
    let reset = sent[0].packet();
    let wanted = Packet { seq: 2000, ack: 0, id: reset.id, ..Packet::tcp(VIP, CLIENT, "R") };
    assert_eq!(reset, wanted);
    assert_eq!(lab.take_moved(), "dropped.local-closed=1");
}

#[test]
fn sloppy_tcp_takes_any_segment_but_a_reset() {
    let mut lab = Lab::with(Settings { sloppy_tcp: true, ..Settings::default() }, NAT);
    assert_eq!(served_by(&mut lab, &Packet::tcp(CLIENT, VIP, "A")), 22);
    lab.client(&Packet::tcp("192.0.2.7:4001", VIP, "R"));
    assert_eq!(lab.director.flows.conns.len(), 1);
}

#[test]
fn not_every_syn_is_scheduled_and_a_syn_with_ack_is() {
    let mut lab = Lab::new(NAT);
    for not in [Packet::tcp("192.0.2.7:20", VIP, "S"), Packet::tcp(CLIENT, VIP, "SR")] {
        lab.client(&not);
        assert_eq!(lab.director.flows.conns.len(), 0, "{not:?}");
    }
    lab.client(&Packet::tcp(CLIENT, VIP, "SA"));
    assert_eq!(lab.director.flows.conns.len(), 1);
}

#[test]
fn a_syn_on_a_closed_conn_is_scheduled_anew_and_on_an_open_one_not() {
    let mut lab = Lab::new(NAT);
    assert_eq!(establish(&mut lab, 4000), 22);
    assert_eq!(served_by(&mut lab, &syn_from(4000)), 22, "an open one keeps its server");
    lab.real(&Packet::tcp(RS2, CLIENT, "R"));
    assert_eq!(lab.state_of(&syn_from(4000)), "CLOSE");
    assert_eq!(served_by(&mut lab, &syn_from(4000)), 21, "a closed one is over");
}

#[test]
fn half_open_conns_count_as_active_and_udp_as_inactive() {
    let mut lab = Lab::new(NAT);
    lab.client(&syn_from(4000));
    assert_eq!((lab.state_of(&syn_from(4000)), lab.counts(RS2)), ("SYN_RECV", (1, 0)));
    let mut lab = Lab::new(&NAT.replace("-t", "-u"));
    let datagram = Packet::udp(CLIENT, VIP);
    lab.client(&datagram);
    lab.real(&Packet::udp(RS2, CLIENT));
    assert_eq!(lab.counts(RS2), (0, 1));
}

#[test]
fn a_clients_reset_leaves_a_half_open_conn_as_it_is() {
    let mut lab = Lab::new(NAT);
    lab.client(&syn_from(4000));
    lab.client(&Packet::tcp(CLIENT, VIP, "R"));
    assert_eq!(lab.state_of(&syn_from(4000)), "SYN_RECV");
}

#[test]
fn direct_routing_sees_one_side_only() {
    let mut lab = Lab::new("-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21 -g");
    for (flags, state) in [("S", "SYN_RECV"), ("A", "ESTABLISHED"), ("FA", "FIN_WAIT")] {
        lab.client(&Packet::tcp(CLIENT, VIP, flags));
        assert_eq!(lab.state_of(&syn_from(4000)), state);
    }
}

#[test]
fn a_segment_without_flags_closes() {
    let mut lab = Lab::new(NAT);
    establish(&mut lab, 4000);
    lab.client(&Packet::tcp(CLIENT, VIP, ""));
    assert_eq!(lab.state_of(&syn_from(4000)), "CLOSE");
    lab.advance(secs(11));
    assert_eq!(lab.director.flows.conns.len(), 0);
}

#[test]
fn sequence_numbers_are_not_looked_at() {
    let mut lab = Lab::new(NAT);
    establish(&mut lab, 4000);
    lab.client(&Packet { seq: 0xdead_beef, ..Packet::tcp(CLIENT, VIP, "R") });
    assert_eq!(lab.state_of(&syn_from(4000)), "CLOSE");
}
