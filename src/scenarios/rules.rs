//! What people get wrong about IPVS, and what else a director owes: one test a rule.

use super::steps::{NAT, establish, secs, served_by, syn_from};
use super::{CLIENT, RS1, RS2, VIP};
use crate::director::Settings;
use crate::testing::{Kind, Lab, Packet, ROUTER, endpoint, expect, mac_of};

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
    let frame = &sent[0].bytes;
    assert_eq!((frame[34], frame[35]), (3, 3), "port unreachable");
    assert_eq!(frame[26..30], [198, 51, 100, 1], "from the virtual address");
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
    assert_eq!(sent[0].bytes[47] & 0x04, 0x04, "a reset, as from a host that knows nothing of it");
    assert_eq!(lab.take_moved(), "dropped.local-closed=1");
}

#[test]
fn a_segment_without_conn_falls_to_the_host_which_resets() {
    let mut lab = Lab::new(NAT);
    let sent = lab.client(&Packet::tcp(CLIENT, VIP, "A"));
    let reset = Packet { seq: 2000, ack: 0, ..Packet::tcp(VIP, CLIENT, "R") };
    let sent = &sent[0].bytes;
    assert_eq!(sent[34..47], reset.frame(crate::testing::DIRECTOR, ROUTER)[34..47]);
    assert_eq!(lab.take_moved(), "dropped.local-closed=1");
}

#[test]
fn sloppy_tcp_takes_any_segment_but_a_reset() {
    let mut lab = Lab::with(Settings { sloppy_tcp: true, ..Settings::default() }, NAT);
    assert_eq!(served_by(&mut lab, &Packet::tcp(CLIENT, VIP, "A")), 22);
    lab.client(&Packet::tcp("192.0.2.7:4001", VIP, "R"));
    assert_eq!(lab.director.conns.len(), 1);
}

#[test]
fn not_every_syn_is_scheduled_and_a_syn_with_ack_is() {
    let mut lab = Lab::new(NAT);
    for not in [Packet::tcp("192.0.2.7:20", VIP, "S"), Packet::tcp(CLIENT, VIP, "SR")] {
        lab.client(&not);
        assert_eq!(lab.director.conns.len(), 0, "{not:?}");
    }
    lab.client(&Packet::tcp(CLIENT, VIP, "SA"));
    assert_eq!(lab.director.conns.len(), 1);
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
fn every_packet_of_either_side_restarts_the_timer() {
    let mut lab = Lab::new(NAT);
    establish(&mut lab, 4000);
    lab.advance(secs(800));
    lab.real(&Packet::tcp(RS2, CLIENT, "A"));
    lab.advance(secs(899));
    assert_eq!(lab.director.conns.len(), 1);
    lab.advance(secs(3));
    assert_eq!(lab.director.conns.len(), 0);
    assert_eq!(lab.counts(RS2), (0, 0));
}

#[test]
fn an_error_does_not_restart_the_timer() {
    let mut lab = Lab::new(NAT);
    establish(&mut lab, 4000);
    lab.advance(secs(890));
    lab.real(&Packet::icmp_about("10.0.0.22", "192.0.2.7", (3, 1, 0), &syn_from(4000).to(RS2)));
    lab.advance(secs(12));
    assert_eq!(lab.director.conns.len(), 0);
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
fn a_template_ignores_weight_0_unless_told_otherwise() {
    for (expire, wanted) in [(false, 22), (true, 21)] {
        let settings = Settings { expire_quiescent_template: expire, ..Settings::default() };
        let mut lab = Lab::with(settings, &NAT.replace("-s rr", "-s rr -p 300"));
        assert_eq!(served_by(&mut lab, &syn_from(4000)), 22);
        lab.rules("-e -t 198.51.100.1:80 -r 10.0.0.22:8080 -m -w 0");
        assert_eq!(served_by(&mut lab, &syn_from(4001)), wanted, "expire_quiescent_template {expire}");
    }
}

#[test]
fn a_templates_time_is_restarted_by_new_conns_only() {
    let mut lab = Lab::new(&NAT.replace("-s rr", "-s rr -p 100"));
    let datagram = |port: u16| Packet::udp(&format!("192.0.2.7:{port}"), VIP);
    let mut udp = Lab::new(&NAT.replace("-t", "-u").replace("-s rr", "-s rr -p 100"));
    assert_eq!(served_by(&mut udp, &datagram(4000)), 22);
    // The conn itself lives for 300 s and keeps the template: a minute at a time from its own end on.
    udp.advance(secs(150));
    assert_eq!(served_by(&mut udp, &datagram(4001)), 22);
    // With the conns gone, so is the template.
    udp.advance(secs(500));
    assert_eq!(udp.director.conns.len(), 0);
    assert_eq!(served_by(&mut udp, &datagram(4002)), 21);
    assert_eq!(served_by(&mut lab, &syn_from(4000)), 22);
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
    lab.director.services.add_mark(rule);
    assert_eq!(served_by(&mut lab, &syn_from(4000)), 23);
}

#[test]
fn a_mark_of_a_net_gives_its_service_every_address_of_it_and_no_other_packet() {
    let rules = "-A -f 7 -s rr\n-a -f 7 -r 10.0.0.21 -m\n-A -f 8 -6 -s rr\n-a -f 8 -6 -r [2001:db8::21]:0 -m\n";
    let mut lab = Lab::new(rules);
    for rule in ["7=udp/198.51.100.0/24:53", "8=udp/2001:db8:51::/64", "9=udp/203.0.113.0/24"] {
        lab.director.services.add_mark(rule.parse::<crate::config::MarkSpec>().unwrap().0);
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
        assert_eq!((sent.len(), lab.director.conns.len()), (1, conns), "{dst}");
    }
    assert!(!lab.director.owns("198.51.100.7".parse().unwrap()), "a net is neither announced nor answered for");
}

#[test]
fn a_ping_is_answered_not_balanced() {
    let mut lab = Lab::new(NAT);
    let ping = Packet::new("192.0.2.7", "198.51.100.1", Kind::Icmp(8, 0, [0, 1, 0, 2])).carrying("abc");
    let sent = lab.client(&ping);
    assert_eq!(lab.take_moved(), "consumed.echo-request=1");
    assert_eq!((sent[0].bytes[34], &sent[0].bytes[38..]), (0, &[0, 1, 0, 2, b'a', b'b', b'c'][..]));
    assert_eq!(sent[0].bytes[..6], ROUTER.0);
}

#[test]
fn a_spent_ttl_is_told_by_the_virtual_address() {
    let mut lab = Lab::new(NAT);
    let sent = lab.client(&Packet { ttl: 1, ..syn_from(4000) });
    assert_eq!(lab.take_moved(), "dropped.ttl-exceeded=1");
    assert_eq!((sent[0].bytes[34], &sent[0].bytes[26..30]), (11, &[198, 51, 100, 1][..]));
}

#[test]
fn what_does_not_fit_into_a_tunnel_is_told_with_the_size_that_does() {
    let mut lab = Lab::new("-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21 -i");
    lab.client(&syn_from(4000));
    let sent = lab.client(&Packet::tcp(CLIENT, VIP, "A").carrying(vec![0; 1460]));
    assert_eq!(lab.take_moved(), "dropped.too-big=1");
    let frame = &sent[0].bytes;
    assert_eq!((frame[34], frame[35], &frame[40..42]), (3, 4, &1480u16.to_be_bytes()[..]));
    assert_eq!(frame.len(), 14 + 576, "quoting as much as fits into 576 bytes");
}

#[test]
fn one_packet_scheduling_leaves_nothing_behind() {
    let mut lab = Lab::new(&NAT.replace("-t", "-u").replace("-s rr", "-s rr -o"));
    let datagram = Packet::udp(CLIENT, VIP);
    assert_eq!((served_by(&mut lab, &datagram), served_by(&mut lab, &datagram)), (22, 21));
    assert_eq!((lab.director.conns.len(), lab.counts(RS1)), (0, (0, 0)));
    // So nobody translates the reply.
    let reply = Packet::udp(RS1, CLIENT);
    expect(&lab.real(&reply), &[(ROUTER, reply.clone().one_hop_on())]);
}

#[test]
fn drop_packet_drops_every_so_many_packets_that_would_open_a_conn() {
    let settings = Settings { drop_packet: 3, am_droprate: 3, ..Settings::default() };
    let mut lab = Lab::with(settings, NAT);
    lab.advance(secs(2));
    let sent: Vec<usize> = (0..6).map(|port| lab.client(&syn_from(4000 + port)).len()).collect();
    assert_eq!(sent, [0, 1, 1, 0, 1, 1]);
    assert_eq!(lab.take_moved(), "dropped.defence=2");
}

#[test]
fn a_full_table_gives_the_place_of_a_half_open_conn_and_never_of_an_established_one() {
    let mut lab = Lab::with(Settings { max_flows: 4, ..Settings::default() }, NAT);
    establish(&mut lab, 4000);
    for port in 5000..5050 {
        lab.client(&syn_from(port));
    }
    assert_eq!(lab.state_of(&syn_from(4000)), "ESTABLISHED");
    assert_eq!(lab.director.conns.len(), 4);
    assert_eq!(lab.take_moved(), "");
    for port in [4001, 4002, 4003] {
        establish(&mut lab, port);
    }
    lab.client(&syn_from(6000));
    assert_eq!(lab.take_moved(), "dropped.flow-table-full=1");
}

#[test]
fn idle_established_conns_are_reset_at_both_ends_in_fullnat_and_in_silence_in_nat() {
    for (method, resets) in [("--fullnat", 2), ("-m", 0)] {
        let rules = format!("-A -t {VIP} -s rr\n-a -t {VIP} -r {RS1} {method}\n");
        let mut lab = Lab::new(&rules);
        let sent = lab.client(&syn_from(4000));
        let local = u16::from_be_bytes([sent[0].bytes[34], sent[0].bytes[35]]);
        let seen = if resets == 2 { format!("10.0.0.2:{local}") } else { CLIENT.into() };
        lab.real(&Packet { seq: 9000, ack: 1001, ..Packet::tcp(RS1, &seen, "SA") });
        lab.client(&Packet { seq: 1001, ack: 9001, ..Packet::tcp(CLIENT, VIP, "A") });
        let sent = lab.advance(secs(1000));
        let to: Vec<u8> =
            sent.iter().filter(|f| f.bytes[23] == 6 && f.bytes[47] & 4 != 0).map(|f| f.bytes[5]).collect();
        assert_eq!(to.len(), resets, "{method}");
        assert_eq!(lab.director.conns.len(), 0);
    }
}
