//! Which service a packet belongs to, and which of its servers takes the conn.

use super::steps::{NAT, establish, secs, served_by, syn_from};
use super::{CLIENT, RS1, VIP};
use crate::testing::{Kind, Lab, Packet, ROUTER, endpoint, expect};

#[test]
fn the_server_added_last_comes_first() {
    let mut lab = Lab::new(NAT);
    let order: Vec<u8> = (0..4).map(|port| served_by(&mut lab, &syn_from(4000 + port))).collect();
    assert_eq!(order, [22, 21, 22, 21]);
}

#[test]
fn without_a_server_tcp_too_is_told_port_unreachable() {
    let mut lab = Lab::new("-A -t 198.51.100.1:80 -s rr");
    let sent = lab.client(&syn_from(4000));
    assert_eq!(lab.take_moved(), "dropped.no-server=1");
    let error = sent[0].packet();
    assert_eq!(error.kind, Kind::Icmp(3, 3, [0; 4]), "port unreachable");
    assert_eq!(error.src, endpoint("198.51.100.1"), "from the virtual address");
}

#[test]
fn the_limit_counts_active_and_inactive_and_is_reached_not_passed() {
    let mut lab = Lab::new("-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21:8080 -m -x 4");
    for port in 4000..4004 {
        establish(&mut lab, port);
    }
    lab.client(&syn_from(4004));
    assert_eq!(lab.take_moved(), "dropped.no-server=1");
    // The mark goes below three quarters: with 2 left, not with 3.
    let reset = |port: u16| Packet::tcp(RS1, &format!("192.0.2.7:{port}"), "R");
    lab.real(&reset(4000));
    lab.advance(secs(12));
    lab.client(&syn_from(4005));
    assert_eq!((lab.counts(RS1), lab.take_moved()), ((3, 0), "dropped.no-server=1".into()));
    lab.real(&reset(4001));
    lab.advance(secs(12));
    assert_eq!(served_by(&mut lab, &syn_from(4006)), 21);
}

#[test]
fn a_mark_wins_over_the_exact_service() {
    let mut lab = Lab::new(&format!("{NAT}-A -f 7 -s rr\n-a -f 7 -r 10.0.0.23:0 -m\n"));
    let rule = crate::service::MarkRule {
        proto: None,
        src: None,
        dst: Some("198.51.100.1/32".parse().unwrap()),
        ports: None,
        mark: 7,
    };
    lab.director.flows.services.add_mark(rule);
    assert_eq!(served_by(&mut lab, &syn_from(4000)), 23);
}

#[test]
fn a_mark_of_a_net_gives_its_service_every_address_of_it_and_no_other_packet() {
    let rules = "-A -f 7 -s rr\n-a -f 7 -r 10.0.0.21 -m\n-A -f 8 -6 -s rr\n-a -f 8 -6 -r [2001:db8::21]:0 -m\n";
    let mut lab = Lab::new(rules);
    for rule in ["7=udp/198.51.100.0/24:53", "8=udp/2001:db8:51::/64", "9=udp/203.0.113.0/24"] {
        lab.director.flows.services.add_mark(rule.parse().unwrap());
    }
    for (src, dst, conns) in [
        ("192.0.2.7:4000", "198.51.100.7:53", 1),
        ("192.0.2.7:4000", "198.51.100.254:53", 2),
        ("[2001:db8:c::7]:4000", "[2001:db8:51::7]:9", 3),
        // Another port, another net, and a net whose mark has no service: these are only forwarded.
        ("192.0.2.7:4000", "198.51.100.7:54", 3),
        ("192.0.2.7:4000", "198.51.101.7:53", 3),
        ("192.0.2.7:4000", "203.0.113.7:53", 3),
    ] {
        let sent = lab.client(&Packet::udp(src, dst));
        assert_eq!((sent.len(), lab.director.flows.conns.len()), (1, conns), "{dst}");
    }
    assert!(!lab.director.owns("198.51.100.7".parse().unwrap()), "a net is neither announced nor answered for");
}

#[test]
fn the_exact_service_comes_before_ftps_and_that_before_the_one_of_all_ports() {
    let mut rules = String::new();
    for (port, server) in [("80", "21"), ("21", "22"), ("0", "23")] {
        rules += &format!("-A -t 198.51.100.1:{port} -s rr -p 60\n-a -t 198.51.100.1:{port} -r 10.0.0.{server} -g\n");
    }
    let mut lab = Lab::new(&rules);
    for (port, wanted) in [(80, 21), (21, 22), (20, 22), (2000, 22), (443, 23)] {
        // A client of its own for each: FTP's service and that of all ports have their templates in common.
        let syn = Packet::tcp(&format!("192.0.2.{}:4000", port % 250), &format!("198.51.100.1:{port}"), "S");
        assert_eq!(served_by(&mut lab, &syn), wanted, "port {port}");
    }
}

#[test]
fn one_packet_scheduling_leaves_nothing_behind() {
    let mut lab = Lab::new(&NAT.replace("-t", "-u").replace("-s rr", "-s rr -o"));
    let datagram = Packet::udp(CLIENT, VIP);
    assert_eq!((served_by(&mut lab, &datagram), served_by(&mut lab, &datagram)), (22, 21));
    assert_eq!((lab.director.flows.conns.len(), lab.counts(RS1)), (0, (0, 0)));
    // So nobody translates the reply.
    let reply = Packet::udp(RS1, CLIENT);
    expect(&lab.real(&reply), &[(ROUTER, reply.clone().one_hop_on())]);
}

#[test]
fn an_address_without_service_is_not_ours_and_is_routed() {
    let mut lab = Lab::new(NAT);
    let past = Packet::tcp(CLIENT, "203.0.113.5:80", "S");
    expect(&lab.client(&past), &[(ROUTER, past.clone().one_hop_on())]);
    assert_eq!(lab.director.flows.conns.len(), 0);
}

#[test]
fn replies_without_a_conn_leave_as_they_came() {
    let mut lab = Lab::new(NAT);
    let reply = Packet::tcp(RS1, CLIENT, "SA");
    expect(&lab.real(&reply), &[(ROUTER, reply.clone().one_hop_on())]);
}
