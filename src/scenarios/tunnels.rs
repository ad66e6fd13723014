//! What tunnels and direct routing leave as it is, and the headers that tunnels add.

use super::VIP;
use super::steps::syn_from;
use crate::testing::{Kind, Lab, Packet, endpoint};

#[test]
fn direct_routing_and_tunnels_cannot_change_the_port() {
    for method in ["-g", "-i"] {
        let mut lab = Lab::new(&format!("-A -t {VIP} -s rr\n-a -t {VIP} -r 10.0.0.21:8080 {method}"));
        let sent = lab.client(&syn_from(4000));
        let packet = if method == "-i" { sent[0].inner() } else { sent[0].packet() };
        assert_eq!(packet.dst, endpoint(VIP), "{method}");
    }
}

#[test]
fn a_packet_that_may_be_cut_gets_a_tunnel_header_that_may_be_cut() {
    let mut lab = Lab::new(&format!("-A -t {VIP} -s rr\n-a -t {VIP} -r 10.0.0.21 -i"));
    let sent = lab.client(&Packet { dont_fragment: false, ..syn_from(4000) });
    let outer = sent[0].packet();
    assert!(!outer.dont_fragment, "DF is the inner one");
    assert_ne!(outer.id, 0, "an identification, for it may be cut");
}

#[test]
fn gue_leaves_its_udp_checksum_out_unless_told() {
    for (flag, there) in [("--tun-nocsum", false), ("--tun-csum", true), ("--tun-remcsum", true)] {
        let rules =
            format!("-A -t {VIP} -s rr\n-a -t {VIP} -r [2001:db8::21]:80 -i --tun-type gue --tun-port 6080 {flag}");
        let mut lab = Lab::new(&rules);
        let sent = lab.client(&syn_from(4000));
        let outer = sent[0].packet();
        assert_eq!(outer.kind, if there { Kind::Udp } else { Kind::UdpWithout }, "{flag}");
        // The packet's own checksum is finished, so there is nothing to leave to the other end: no option.
        let (gue, inner) = outer.payload.split_at(4);
        assert_eq!(gue, [0, 4, 0, 0], "{flag}: no private flags, IPv4 inside");
        assert_eq!(inner, syn_from(4000).one_hop_on().bytes(), "{flag}");
    }
}
