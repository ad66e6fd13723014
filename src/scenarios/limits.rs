//! Full tables, used up ports, and the defences against floods.

use super::steps::{NAT, establish, secs, syn_from};
use super::{CLIENT, RS1, VIP};
use crate::director::Settings;
use crate::testing::{Frame, Kind, Lab, Packet, endpoint};

#[test]
fn drop_entry_ends_half_open_conns_early_and_no_busy_ones() {
    for (mode, left) in [(0, 2), (3, 1)] {
        let mut lab = Lab::with(Settings { drop_entry: mode, ..Settings::default() }, NAT);
        establish(&mut lab, 4000);
        lab.client(&syn_from(4001));
        for _ in 0..35 {
            lab.advance(secs(1));
            lab.client(&Packet::tcp(CLIENT, VIP, "A"));
        }
        assert_eq!(
            (lab.director.flows.conns.len(), lab.state_of(&syn_from(4000))),
            (left, "ESTABLISHED"),
            "mode {mode}"
        );
    }
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
    assert_eq!(lab.director.flows.conns.len(), 4);
    assert_eq!(lab.take_moved(), "");
    for port in [4001, 4002, 4003] {
        establish(&mut lab, port);
    }
    lab.client(&syn_from(6000));
    assert_eq!(lab.take_moved(), "dropped.flow-table-full=1");
}

#[test]
fn a_local_address_without_a_free_port_is_said_and_no_wrong_packet_leaves() {
    let rules = format!("-A -u {VIP} -s rr\n-a -u {VIP} -r {RS1} --fullnat\n-P -u {VIP} -z 10.0.0.30\n");
    let mut lab = Lab::with(Settings { max_flows: 100_000, ..Settings::default() }, &rules);
    let datagram = |n: u32| Packet::udp(&format!("192.0.{}.7:{}", 2 + n / 50_000, 1000 + n % 50_000), VIP);
    let mut ports = std::collections::HashSet::new();
    let mut number = 0;
    loop {
        let sent = lab.client(&datagram(number));
        // The one that finds no port is told so.
        let Some(sent) = sent.first().map(Frame::packet).filter(|sent| sent.kind == Kind::Udp) else { break };
        let local = sent.src;
        assert_eq!(local.addr, endpoint("10.0.0.30").addr);
        assert!(ports.insert(local.port), "a port is given to two conns");
        number += 1;
    }
    assert_eq!(lab.take_moved(), "dropped.no-local-port=1");
    assert!(ports.len() > 50_000, "{} ports", ports.len());
    // The conns end, and there is room again.
    lab.advance(secs(400));
    assert_eq!(lab.client(&datagram(number)).len(), 1);
}

#[test]
fn conn_max_bounds_conns_below_the_size_of_the_table() {
    let mut lab = Lab::with(
        Settings { conn_max: 1, ..Settings::default() },
        "-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21:8080 -m",
    );
    assert_eq!(lab.client(&Packet::tcp(super::CLIENT, super::VIP, "S")).len(), 1);
    lab.take_moved();
    assert_eq!(lab.client(&Packet::tcp("192.0.2.8:4000", super::VIP, "S")), []);
    assert_eq!(lab.take_moved(), "dropped.flow-table-full=1");
    assert_eq!(lab.client(&Packet::tcp(super::CLIENT, super::VIP, "S")).len(), 1, "the conn that there is goes on");
}

#[test]
fn servers_beyond_those_that_a_table_can_name_are_served_all_the_same() {
    // Far from full, so that nobody is refused for what one net may have of the last eighth.
    let settings = Settings { max_flows: 100_000, icmp_rate: 0, ..Settings::default() };
    let mut lab = Lab::with(settings, "");
    for service in 0..66 {
        let mut rules = format!("-A -u 198.51.100.{service}:53 -s rr\n");
        for server in 0..1000 {
            rules += &format!(
                "-a -u 198.51.100.{service}:53 -r 172.{}.{}.{}:53 -m\n",
                16 + service,
                server / 250,
                server % 250 + 1
            );
        }
        lab.rules(&rules);
        lab.advance(secs(1));
    }
    let mut served = 0;
    for number in 0..66_000_u32 {
        let client = format!("192.0.2.7:{}", 1000 + number % 50_000);
        let sent = lab.client(&Packet::udp(&client, &format!("198.51.100.{}:53", number / 1000)));
        served += sent.len();
    }
    // A search looks at a part of the conns only: where it ends none, a new one is refused.
    assert!(served > 65_900, "{served} of 66,000");
    assert!((60_000..=65_536).contains(&lab.director.flows.conns.len()), "{}", lab.director.flows.conns.len());
    assert_eq!(lab.recount(), Ok(()));
}
