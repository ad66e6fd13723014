//! A flow table that is full: which conns make room, and who gets it.

use super::steps::secs;
use super::{CLIENT, RS1, RS2, VIP};
use crate::director::Settings;
use crate::testing::{Lab, Packet};

const RULES: &str = "-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21:8080 -m\n\
    -A -u 198.51.100.1:53 -s rr\n-a -u 198.51.100.1:53 -r 10.0.0.21:53 -m\n\
    -A -t 198.51.100.3:80 -s rr\n-a -t 198.51.100.3:80 -r 10.0.0.22 -g\n";
const DNS: &str = "198.51.100.1:53";
const DIRECT: &str = "198.51.100.3:80";

fn lab(max_flows: usize) -> Lab {
    Lab::with(Settings { max_flows, icmp_rate: 0, ..Settings::default() }, RULES)
}

/// A client's segments, and the server's in angle brackets: `S <SA A`.
fn talk(lab: &mut Lab, client: &str, segments: &str) {
    for segment in segments.split(' ') {
        match segment.strip_prefix('<') {
            Some("SA") => _ = lab.real(&Packet::tcp(RS1, client, "SA")),
            Some(_) => _ = lab.real(&Packet::tcp(RS1, client, "FA")),
            None => _ = lab.client(&Packet::tcp(client, VIP, Packet::flags(segment).unwrap())),
        }
    }
}

fn evicted(lab: &Lab) -> String {
    let counts = lab.director.flows.evicted().filter(|(_, count)| *count > 0);
    counts.map(|(worth, count)| format!("{}={count}", worth.name())).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_worth_least_makes_room_first_and_a_busy_conn_never() {
    let mut lab = lab(7);
    talk(&mut lab, CLIENT, "S <SA A AP");
    for _ in 0..9 {
        lab.client(&Packet::udp("192.0.2.8:1", DNS));
    }
    lab.advance(secs(70));
    lab.client(&Packet::tcp("192.0.2.9:1", DIRECT, "S"));
    lab.client(&Packet::tcp("192.0.2.9:1", DIRECT, "A"));
    talk(&mut lab, "192.0.2.10:1", "S");
    lab.client(&Packet::udp("192.0.2.11:1", DNS));
    talk(&mut lab, "192.0.2.12:1", "S <SA A FA <FA A");
    talk(&mut lab, "192.0.2.13:1", "S <SA A R");
    assert_eq!((lab.director.flows.conns.len(), evicted(&lab)), (7, String::new()));
    let mut before = String::new();
    for (number, worth) in ["closed", "time-wait", "answered", "half-open", "no-data", "idle"].iter().enumerate() {
        talk(&mut lab, &format!("192.0.2.{}:1", 20 + number), "S <SA A AP");
        before = format!("{before} {worth}=1");
        assert_eq!(evicted(&lab), before.trim());
    }
    lab.take_moved();
    talk(&mut lab, "192.0.2.40:1", "S");
    assert_eq!(lab.take_moved(), "dropped.flow-table-full=1", "all are busy");
    assert_eq!(lab.state_of(&Packet::tcp(CLIENT, VIP, "A")), "ESTABLISHED");
}

#[test]
fn invented_handshakes_by_direct_routing_shut_nobody_out() {
    let mut lab = lab(1000);
    talk(&mut lab, CLIENT, "S <SA A AP");
    for number in 0..5000 {
        let client = format!("203.0.{}.{}:{}", number % 200, number % 250, 1024 + number);
        lab.client(&Packet::tcp(&client, DIRECT, "S"));
        lab.client(&Packet::tcp(&client, DIRECT, "A"));
    }
    lab.take_moved();
    (0..100).for_each(|port| talk(&mut lab, &format!("192.0.2.9:{}", 1000 + port), "S <SA A AP"));
    assert_eq!(lab.take_moved(), "");
    assert_eq!(lab.state_of(&Packet::tcp(CLIENT, VIP, "A")), "ESTABLISHED");
}

#[test]
fn datagrams_of_ever_new_clients_shut_nobody_out() {
    let mut lab = lab(1000);
    (0..5000).for_each(|number| {
        _ = lab.client(&Packet::udp(&format!("203.0.{}.{}:{}", number % 200, number % 250, 1024 + number), DNS));
    });
    lab.take_moved();
    (0..100).for_each(|port| talk(&mut lab, &format!("192.0.2.9:{}", 1000 + port), "S <SA A AP"));
    assert_eq!(lab.take_moved(), "");
    assert_eq!(evicted(&lab), "answered=4100");
}

#[test]
fn a_service_whose_conns_are_all_busy_leaves_the_last_eighth_to_others() {
    let mut lab = lab(800);
    // The other service has a conn, so that there is somebody to share with.
    lab.client(&Packet::tcp("192.0.2.7:1", DIRECT, "S"));
    (0..900).for_each(|number| talk(&mut lab, &format!("203.0.{}.1:{}", number % 200, 1 + number), "S <SA A AP"));
    assert_eq!(lab.director.flows.conns.len(), 700, "seven eighths");
    lab.take_moved();
    for number in 0..90 {
        let client = format!("203.0.{number}.1:1");
        ["S", "A", "AP"].iter().for_each(|flags| _ = lab.client(&Packet::tcp(&client, DIRECT, flags)));
    }
    assert_eq!(lab.take_moved(), "");
}

#[test]
fn a_net_of_clients_whose_conns_are_all_busy_leaves_the_last_eighth_to_others() {
    let mut lab = lab(800);
    talk(&mut lab, "203.0.1.1:1", "S <SA A AP");
    (0..900).for_each(|number| talk(&mut lab, &format!("192.0.2.9:{}", 1 + number), "S <SA A AP"));
    assert_eq!(lab.director.flows.conns.len(), 700);
    lab.take_moved();
    (0..90).for_each(|number| talk(&mut lab, &format!("203.0.{}.1:1", 2 + number), "S <SA A AP"));
    assert_eq!(lab.take_moved(), "");
}

#[test]
fn half_open_conns_are_bounded_however_large_the_table_is() {
    let mut lab = lab(1 << 20);
    for number in 0..80_000u32 {
        let client =
            format!("203.{}.{}.{}:{}", number >> 16, number >> 8 & 0xff, number & 0xff, 1024 + number % 60_000);
        lab.client(&Packet::tcp(&client, VIP, "S"));
    }
    assert_eq!((lab.director.flows.conns.len(), evicted(&lab).as_str()), (1 << 16, "half-open=14464"));
}

#[test]
fn drop_entry_ends_datagrams_without_successor_too() {
    let settings = Settings { drop_entry: 3, icmp_rate: 0, ..Settings::default() };
    let mut lab = Lab::with(settings, RULES);
    for number in 0..64 {
        lab.client(&Packet::udp(&format!("192.0.2.7:{}", 1000 + number), DNS));
        (0..9).for_each(|_| _ = lab.client(&Packet::udp(&format!("192.0.2.8:{}", 1000 + number), DNS)));
    }
    lab.advance(secs(70));
    assert_eq!(lab.director.flows.conns.len(), 64, "those of nine datagrams");
}

#[test]
fn persistent_clients_are_templates_too_and_make_room() {
    let rules = format!("-A -t {VIP} -s rr -p 300\n-a -t {VIP} -r {RS2} -m\n");
    let mut lab = Lab::with(Settings { max_flows: 100, icmp_rate: 0, ..Settings::default() }, &rules);
    for number in 0..1000 {
        let client = format!("203.0.{}.{}:1", number % 200, number % 250);
        assert_eq!(lab.client(&Packet::tcp(&client, VIP, "S")).len(), 1, "client {number}");
    }
}
