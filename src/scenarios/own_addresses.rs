//! The director's own addresses: nobody else may send from them, and not every address can be one.

use std::net::IpAddr;

use super::{CLIENT, RS1, RS2, VIP};
use crate::base::{Endpoint, Proto};
use crate::service::command::{Command, Refused, ServiceKey};
use crate::testing::{Lab, Packet, endpoint, expect, mac_of};

const RULES: &str =
    "-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21:8080 -m\n-P -t 198.51.100.1:80 -z 10.0.0.30\n";

fn key() -> ServiceKey {
    ServiceKey::Address(Proto::TCP, endpoint(VIP))
}

#[test]
fn a_packet_from_an_own_or_a_broadcast_address_is_a_martian() {
    let mut lab = Lab::new(RULES);
    for own in ["198.51.100.1:7", "10.0.0.2:7", "10.0.0.30:7", "10.0.0.255:7"] {
        for to in [VIP, "198.51.100.1:99", "203.0.113.9:80", "10.0.0.21:80"] {
            let sent = lab.client(&Packet::tcp(own, to, "S"));
            assert_eq!((sent.len(), &*lab.take_moved()), (0, "dropped.martian=1"), "{own} -> {to}");
        }
    }
    let own6 = Packet::udp("[2001:db8::2]:7", "[2001:db8::21]:7");
    assert_eq!((lab.client(&own6).len(), &*lab.take_moved()), (0, "dropped.martian=1"));
    assert_eq!(lab.director.flows.conns.len(), 0);
}

#[test]
fn a_server_behind_direct_routing_answers_from_the_virtual_address() {
    let mut lab = Lab::new("-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21:80 -g\n");
    lab.client(&Packet::tcp(CLIENT, VIP, "S"));
    let reply = Packet::tcp(VIP, CLIENT, "SA");
    expect(&lab.real(&reply), &[(crate::testing::ROUTER, reply.one_hop_on())]);
}

#[test]
fn a_local_address_is_one_that_the_director_can_have() {
    let mut lab = Lab::new(RULES);
    let mut add = |addr: &str| {
        let local: IpAddr = addr.parse().unwrap();
        let done = lab.director.apply(&Command::AddLocalAddress(key(), local), lab.turn.now);
        (done, lab.advance(std::time::Duration::ZERO).len())
    };
    let server = endpoint(RS1).addr.to_string();
    for bad in ["0.0.0.0", "224.0.0.1", "127.0.0.1", "255.255.255.255", "10.0.0.255", "ff02::1", "::1", "::", &server] {
        assert_eq!(add(bad), (Err(Refused::NotLocal), 0), "{bad} is neither taken nor announced");
    }
    for good in ["10.0.0.31", "2001:db8::31", "198.51.100.1"] {
        assert_eq!(add(good).0, Ok(()), "{good}");
    }
}

#[test]
fn servers_see_all_local_addresses_in_turn_or_not() {
    let mut lab = Lab::new(&format!(
        "-A -t {VIP} -s rr\n-a -t {VIP} -r {RS1} -b\n-a -t {VIP} -r {RS2} -b\n-P -t {VIP} -z 10.0.0.30\n-P -t {VIP} -z 10.0.0.31\n"
    ));
    let mut seen = std::collections::BTreeSet::new();
    for port in 4000..4040 {
        let sent = lab.client(&Packet::tcp(&format!("192.0.2.7:{port}"), VIP, "S"));
        let Packet { src, dst, .. } = sent[0].packet();
        seen.insert((src.addr, dst.addr));
    }
    assert_eq!(seen.len(), 4, "each server sees each address: {seen:?}");
}

#[test]
fn a_server_whose_ports_are_used_up_is_not_chosen() {
    let settings = crate::director::Settings { max_flows: 70_000, ..Default::default() };
    let rules = format!("-A -t {VIP} -s fo\n-a -t {VIP} -r {RS1} -b -w 9\n-a -t {VIP} -r {RS2} -b -w 1\n");
    let mut lab = Lab::with(settings, &rules);
    let mut server_of = |number: u32| {
        let client =
            Endpoint::new(IpAddr::from([172, 16, (number >> 8) as u8, number as u8]), 4000 + (number >> 16) as u16);
        let sent = lab.client(&Packet::tcp(&client.to_string(), VIP, "S"));
        sent.first().map(|frame| frame.to())
    };
    let ports = crate::forward::LocalPorts::PER_POOL as u32;
    assert!((0..ports).all(|number| server_of(number) == Some(mac_of(endpoint(RS1).addr))));
    assert!((ports..ports + 5).all(|number| server_of(number) == Some(mac_of(endpoint(RS2).addr))));
}

#[test]
fn one_packet_scheduling_and_fullnat_exclude_each_other() {
    let udp = "198.51.100.1:53";
    let mut lab = Lab::new(&format!(
        "-A -u {udp} -s rr -o\n-A -u 198.51.100.1:54 -s rr\n-a -u 198.51.100.1:54 -r {RS1} -b\n-a -u {udp} -r {RS2} -m\n"
    ));
    for rule in [
        "-a -u 198.51.100.1:53 -r 10.0.0.21:53 -b",
        "-e -u 198.51.100.1:53 -r 10.0.0.22:8080 -b",
        "-E -u 198.51.100.1:54 -s rr -o",
    ] {
        let (_, command) = crate::ipvsadm::parse_rules(rule).unwrap().remove(0);
        assert_eq!(lab.director.apply(&command, lab.turn.now), Err(Refused::OnePacket), "{rule}");
    }
}
