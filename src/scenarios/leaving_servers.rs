//! Servers of weight 0, servers and services that are removed, and what becomes of their conns.

use super::steps::{NAT, establish, secs, served_by, syn_from};
use super::{CLIENT, RS2, VIP};
use crate::director::Settings;
use crate::testing::{Kind, Lab, Packet, ROUTER, endpoint, expect, mac_of};

#[test]
fn a_server_of_weight_0_keeps_its_conns_and_gets_no_new_ones() {
    let mut lab = Lab::new(NAT);
    assert_eq!(establish(&mut lab, 4000), 22);
    lab.rules("-e -t 198.51.100.1:80 -r 10.0.0.22:8080 -m -w 0");
    let data = Packet::tcp(CLIENT, VIP, "AP").carrying("GET");
    expect(&lab.client(&data), &[(mac_of(endpoint(RS2).addr), data.clone().to(RS2).one_hop_on())]);
    for port in 4001..4004 {
        assert_eq!(served_by(&mut lab, &syn_from(port)), 21);
    }
    lab.rules("-e -t 198.51.100.1:80 -r 10.0.0.21:8080 -m -w 0");
    lab.client(&syn_from(4005));
    assert_eq!(lab.take_moved(), "dropped.no-server=1");
}

#[test]
fn a_syn_to_a_server_of_weight_0_is_scheduled_anew_where_that_is_set() {
    for (expire, wanted) in [(false, 22), (true, 21)] {
        let settings = Settings { expire_nodest_conn: expire, ..Settings::default() };
        let mut lab = Lab::with(settings, NAT);
        assert_eq!(establish(&mut lab, 4000), 22);
        lab.rules("-e -t 198.51.100.1:80 -r 10.0.0.22:8080 -m -w 0");
        assert_eq!(served_by(&mut lab, &syn_from(4000)), wanted, "expire_nodest_conn {expire}");
    }
}

#[test]
fn packets_of_a_removed_server_are_dropped_in_silence_and_go_on_when_it_is_back() {
    let mut lab = Lab::new(NAT);
    establish(&mut lab, 4000);
    lab.rules("-d -t 198.51.100.1:80 -r 10.0.0.22:8080");
    let data = Packet::tcp(CLIENT, VIP, "AP").carrying("GET");
    assert!(lab.client(&data).is_empty());
    assert_eq!(lab.take_moved(), "dropped.dest-gone=1");
    // Replies are translated all the same.
    let reply = Packet::tcp(RS2, CLIENT, "AP").carrying("200");
    expect(&lab.real(&reply), &[(ROUTER, reply.clone().from(VIP).one_hop_on())]);
    lab.rules("-a -t 198.51.100.1:80 -r 10.0.0.22:8080 -m");
    assert_eq!(lab.counts(RS2), (1, 0), "revived with its conn");
    expect(&lab.client(&data), &[(mac_of(endpoint(RS2).addr), data.clone().to(RS2).one_hop_on())]);
}

#[test]
fn with_expire_nodest_conn_a_removed_servers_conn_ends_at_its_next_packet() {
    let mut lab = Lab::with(Settings { expire_nodest_conn: true, ..Settings::default() }, NAT);
    establish(&mut lab, 4000);
    lab.rules("-d -t 198.51.100.1:80 -r 10.0.0.22:8080");
    let sent = lab.client(&Packet::tcp(CLIENT, VIP, "A"));
    assert_eq!(sent[0].packet().kind, Kind::Tcp("R"), "a reset, as from a host that knows nothing of it");
    assert_eq!(lab.take_moved(), "dropped.local-closed=1");
}

#[test]
fn conns_of_a_removed_service_are_dropped_in_silence_and_revived_with_it() {
    // With the last service of a family IPVS is out of the way altogether, so there is another.
    let mut lab = Lab::new(&format!("{NAT}-A -t 198.51.100.1:81 -s rr"));
    establish(&mut lab, 4000);
    lab.rules("-D -t 198.51.100.1:80");
    let data = Packet::tcp(CLIENT, VIP, "AP").carrying("GET");
    assert!(lab.client(&data).is_empty());
    assert_eq!(lab.take_moved(), "dropped.dest-gone=1");
    lab.rules(NAT);
    expect(&lab.client(&data), &[(mac_of(endpoint(RS2).addr), data.clone().to(RS2).one_hop_on())]);
}

#[test]
fn a_removed_server_is_forgotten_two_minutes_after_its_last_conn() {
    let mut lab = Lab::new(&NAT.replace("-t", "-u"));
    let datagram = |port: u16| Packet::udp(&format!("192.0.2.7:{port}"), VIP);
    lab.client(&datagram(4000));
    lab.rules("-d -u 198.51.100.1:80 -r 10.0.0.22:8080");
    // The conn ends after 300 s; what is removed is looked at once a minute, and must be idle for two.
    for (seconds, conns, what) in [(300, 1, "revived"), (300 + 60 + 120 + 60 + 1, 0, "a new one")] {
        lab.advance(secs(seconds));
        lab.rules("-a -u 198.51.100.1:80 -r 10.0.0.22:8080 -m");
        let dest = lab.director.flows.services.iter().next().unwrap().dests[0];
        assert_eq!(lab.director.flows.services.dest(dest).stats.conns, conns, "{what}");
        lab.rules("-d -u 198.51.100.1:80 -r 10.0.0.22:8080");
    }
    lab.advance(secs(300));
    assert_eq!(lab.director.flows.services.trash_due(), None, "nobody is woken for nothing");
}
