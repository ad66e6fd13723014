//! What is known of a packet's ends: its entry, the station that it is for, the neighbour that it goes to.

use super::super::kernel_program::{Established, established};
use super::super::{CLIENT, VIP};
use super::{DIRECT, NAT};
use crate::base::{Mac, Proto};
use crate::fastpath::abi::{Key, Neighbour, Passed, Station};
use crate::testing::fast::Fate;
use crate::testing::{DIRECTOR, Kind, LINK, Packet, ROUTER};
use crate::wire::Vnet;

#[test]
fn packets_between_other_ends_are_the_directors() {
    let Some(mut conn) = established(NAT) else { return };
    let (request, reply) = (conn.request.clone(), conn.reply.clone());
    for port in ["192.0.2.7:4001", "192.0.2.8:4000"] {
        conn.leaves(&request.clone().from(port), Passed::NoEntry);
    }
    for other in ["198.51.100.1:81", "198.51.100.2:80"] {
        conn.leaves(&request.clone().to(other), Passed::OtherEnd);
    }
    for other in ["10.0.0.21:8081", "10.0.0.22:8080"] {
        conn.leaves(&reply.clone().from(other), Passed::OtherEnd);
    }
    conn.leaves(&Packet { kind: Kind::Udp, ..request.clone() }, Passed::NoEntry);
    conn.takes(&request);
    conn.takes(&reply);
    conn.fast.maps.take(&Key { proto: Proto::TCP, endpoint: request.src }).unwrap().unwrap();
    conn.leaves(&request, Passed::NoEntry);
    conn.leaves(&reply, Passed::NoEntry);
}

#[test]
fn the_order_of_the_ports_does_not_matter() {
    let Some(mut conn) = established(NAT) else { return };
    let mut entry = conn.fast.entry(Proto::TCP, conn.request.src).unwrap();
    for port in [1, 80, 65_535] {
        let client = format!("192.0.2.9:{port}");
        let endpoint = crate::testing::endpoint(&client);
        entry.other = endpoint;
        conn.fast.maps.add(&Key { proto: Proto::TCP, endpoint }, &entry).unwrap();
        conn.takes(&conn.request.clone().from(&client));
        conn.takes(&conn.reply.clone().to(&client));
    }
}

#[test]
fn replies_of_direct_routing_are_the_directors() {
    let Some(mut conn) = established(DIRECT) else { return };
    let reply = conn.request.clone().from(VIP).to(CLIENT);
    conn.leaves(&reply, Passed::OtherEnd);
    let mut entry = conn.fast.entry(Proto::TCP, conn.request.src).unwrap();
    entry.request.neighbour = 0;
    let key = Key { proto: Proto::TCP, endpoint: conn.request.src };
    conn.fast.maps.take(&key).unwrap();
    conn.fast.maps.add(&key, &entry).unwrap();
    conn.leaves(&conn.request.clone(), Passed::OneWay);
}

#[test]
fn frames_to_other_stations_are_the_directors_and_those_to_its_virtual_routers_are_not() {
    let Some(mut conn) = established(NAT) else { return };
    let to = |conn: &mut Established, mac| conn.fast.run(&conn.request.frame(ROUTER, mac), Vnet::default());
    let (four, six) = (Mac([0, 0, 0x5e, 0, 1, 200]), Mac([0, 0, 0x5e, 0, 2, 7]));
    let others = [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]), four, six];
    for mac in others {
        assert_eq!(to(&mut conn, mac), Fate::Left(Passed::Station), "{mac}");
    }
    let mut station = Station { mac: Some(DIRECTOR), ..Station::default() };
    (station.routers4[3], station.routers6[0]) = (1 << (200 - 192), 1 << 7);
    conn.fast.maps.set_station(LINK, &station).unwrap();
    for mac in others {
        let taken = mac == four || mac == six;
        assert_eq!(matches!(to(&mut conn, mac), Fate::Taken(_)), taken, "{mac}");
    }
    conn.fast.maps.set_station(LINK, &Station { mac: None, ..station }).unwrap();
    assert_eq!(to(&mut conn, DIRECTOR), Fate::Left(Passed::Station), "the director rests");
}

#[test]
fn a_neighbour_that_moves_or_is_lost_takes_all_its_flows_along() {
    let Some(mut conn) = established(NAT) else { return };
    let (request, reply) = (conn.request.clone(), conn.reply.clone());
    let place = conn.fast.entry(Proto::TCP, request.src).unwrap().request.neighbour;
    let at = |mac, is_host| Neighbour { mac, is_host, link_mac: DIRECTOR, ifindex: 1 };
    let moved = Mac([2, 9, 9, 9, 9, 9]);
    conn.fast.maps.set_neighbour(place, &at(Some(moved), false)).unwrap();
    let Fate::Taken(frame) = conn.fate_of(&request) else { panic!("not taken") };
    assert_eq!((&frame[..6], &frame[6..12]), (moved.0.as_slice(), DIRECTOR.0.as_slice()));
    for lost in [at(None, false), at(Some(Mac::ZERO), true), Neighbour::default()] {
        conn.fast.maps.set_neighbour(place, &lost).unwrap();
        conn.leaves(&request, Passed::Neighbour);
        conn.takes(&reply);
    }
}

/// A conn has ended and its entry was forgotten in the kernel: neither another conn of the same client nor its own server is
/// taken for it.
#[test]
fn an_entry_that_is_stale_takes_no_packet_of_another_conn() {
    let second = "198.51.100.2:80";
    let Some(mut conn) = established(NAT) else { return };
    conn.lab.rules(&format!("-A -t {second}\n-a -t {second} -r 10.0.0.22:8080 -m"));
    let request = conn.request.clone().to(second);
    for flags in ["S", "A", "AP"] {
        let packet = Packet { kind: Kind::Tcp(flags), ..request.clone() };
        let left = if flags == "S" { Passed::Flags } else { Passed::OtherEnd };
        conn.leaves(&packet, left);
        assert_eq!(conn.lab.client(&packet).len(), 1, "the director forwards it");
    }
    conn.leaves(&conn.reply.clone().from("10.0.0.22:8080"), Passed::OtherEnd);
}
