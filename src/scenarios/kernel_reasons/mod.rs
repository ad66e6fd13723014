//! Why the program of the fast path leaves packets to the director: each reason by a packet that has it, and one that all but
//! has it and is taken.

use std::collections::HashSet;

use super::kernel_program::{CASES, Established, established};
use super::{RS1, VIP};
use crate::base::{Mac, Proto};
use crate::fastpath::abi::{Key, Neighbour, Passed, Station};
use crate::testing::fast::{Fate, Run};
use crate::testing::{DIRECTOR, Kind, LINK, Packet, ROUTER, with_options};
use crate::wire::{Gso, Vnet, checksum};

const NAT: (&str, bool, bool, bool) = CASES[0];
const NAT_UDP: (&str, bool, bool, bool) = CASES[1];
const NAT6: (&str, bool, bool, bool) = CASES[2];
const FULL_NAT: (&str, bool, bool, bool) = CASES[4];
const DIRECT: (&str, bool, bool, bool) = CASES[7];
const IPIP: (&str, bool, bool, bool) = CASES[9];

impl Established {
    fn fate_of(&mut self, packet: &Packet) -> Fate {
        let frame = self.frame(packet);
        self.fast.run(&frame, Vnet::default())
    }

    #[track_caller]
    fn takes(&mut self, packet: &Packet) {
        let fate = self.fate_of(packet);
        assert!(matches!(fate, Fate::Taken(_)), "{fate:?} {packet:?}");
    }

    #[track_caller]
    fn leaves(&mut self, packet: &Packet, reason: Passed) {
        assert_eq!(self.fate_of(packet), Fate::Left(reason), "{packet:?}");
    }

    /// A frame of a request after somebody has had a hand in it; the IPv4 header's checksum is made right.
    fn run(&mut self, change: impl FnOnce(&mut Vec<u8>)) -> Fate {
        let mut frame = self.frame(&self.request.clone().carrying("text"));
        change(&mut frame);
        if frame[12] == 8 {
            frame[24..26].fill(0);
            let sum = !checksum::sum(&frame[14..34]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        self.fast.run(&frame, Vnet::default())
    }
}

#[test]
fn segments_that_change_a_conns_state_are_the_directors() {
    let Some(mut conn) = established(NAT) else { return };
    for flags in ["S", "SA", "FA", "R", "RA", "P", "FRA"] {
        let packet = Packet { kind: Kind::Tcp(flags), ..conn.request.clone() };
        conn.leaves(&packet, Passed::Flags);
    }
    for flags in ["A", "AP", "AU", "AEC"] {
        let packet = Packet { kind: Kind::Tcp(flags), ..conn.reply.clone() };
        conn.takes(&packet);
    }
}

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
    let reply = conn.request.clone().from(VIP).to(super::CLIENT);
    conn.leaves(&reply, Passed::OtherEnd);
    let mut entry = conn.fast.entry(Proto::TCP, conn.request.src).unwrap();
    entry.request.neighbour = 0;
    let key = Key { proto: Proto::TCP, endpoint: conn.request.src };
    conn.fast.maps.take(&key).unwrap();
    conn.fast.maps.add(&key, &entry).unwrap();
    conn.leaves(&conn.request.clone(), Passed::OneWay);
}

#[test]
fn a_ttl_that_ends_here_is_the_directors() {
    for case in [NAT, NAT6, DIRECT] {
        let Some(mut conn) = established(case) else { return };
        for ttl in [0, 1] {
            conn.leaves(&Packet { ttl, ..conn.request.clone() }, Passed::Ttl);
        }
        conn.takes(&Packet { ttl: 2, ..conn.request.clone() });
    }
}

#[test]
fn what_does_not_fit_is_the_directors() {
    // The way takes 1,500 bytes, and a tunnel 20 of them.
    for (case, most) in [(NAT, 1460), (NAT6, 1440), (IPIP, 1440)] {
        let Some(mut conn) = established(case) else { return };
        conn.takes(&conn.request.clone().carrying(vec![7; most]));
        conn.leaves(&conn.request.clone().carrying(vec![7; most + 1]), Passed::TooBig);
    }
    let Some(mut conn) = established(NAT) else { return };
    let frame = conn.frame(&conn.request.clone().carrying(vec![7; 3000]));
    for (gso_size, taken) in [(1460, true), (1461, false)] {
        let vnet = Vnet { needs_csum: true, gso: Gso::Tcp4, gso_size, ..Vnet::default() };
        let fate = conn.fast.run(&frame, vnet);
        assert_eq!(matches!(fate, Fate::Taken(_)), taken, "{gso_size} {fate:?}");
        assert!(taken || fate == Fate::Left(Passed::TooBig), "{fate:?}");
    }
}

#[test]
fn superframes_that_are_not_usual_are_the_directors() {
    let Some(mut conn) = established(NAT) else { return };
    let frame = conn.frame(&conn.request.clone().carrying(vec![7; 3000]));
    let vnet = |gso_size| Vnet { needs_csum: true, gso: Gso::Tcp4, gso_size, ..Vnet::default() };
    let tiny = Run { frame: &frame, gso_size: 2, gso_segs: 1500, ..Run::default() };
    assert_eq!(conn.fast.fate(&tiny), Fate::Left(Passed::Superframe));
    let padded = [frame, vec![0; 2]].concat();
    assert_eq!(conn.fast.run(&padded, vnet(1000)), Fate::Left(Passed::Superframe), "with padding");
    let Some(mut conn) = established(NAT_UDP) else { return };
    let frame = conn.frame(&conn.request.clone().carrying(vec![7; 3000]));
    let run =
        |wire_len: usize| Run { frame: &frame, gso_size: 1000, gso_segs: 3, wire_len: wire_len as u32, repeat: 1 };
    assert!(matches!(conn.fast.fate(&run(3042 + 2 * 42)), Fate::Taken(_)));
    // The headers of the segments are larger: those of a tunnel inside.
    assert_eq!(conn.fast.fate(&run(3042 + 2 * 92)), Fate::Left(Passed::Superframe));
}

#[test]
fn fragments_options_and_other_protocols_are_the_directors() {
    let Some(mut conn) = established(NAT) else { return };
    let request = conn.request.clone();
    assert_eq!(conn.run(|frame| frame[20] = 0x60), Fate::Left(Passed::Fragment), "more fragments");
    assert_eq!(conn.run(|frame| frame[21] = 1), Fate::Left(Passed::Fragment), "a later one");
    assert_eq!(conn.run(|frame| frame[14] = 0x46), Fate::Left(Passed::Options));
    for proto in [1, 132, 47] {
        let packet = Packet { kind: Kind::Other(proto), ..request.clone() }.carrying(vec![0; 40]);
        conn.leaves(&packet, Passed::Protocol);
    }
    assert!(matches!(conn.run(|frame| frame[20] = 0x80), Fate::Taken(_)), "the bit without a meaning");
    let Some(mut conn) = established(NAT6) else { return };
    for header in [0, 43, 44, 60] {
        assert_eq!(conn.run(|frame| frame[20] = header), Fate::Left(Passed::Protocol), "extension header {header}");
    }
}

#[test]
fn what_is_malformed_is_the_directors() {
    let Some(mut conn) = established(NAT) else { return };
    for (what, at, byte) in [("IHL", 14, 0x44), ("version", 14, 0x55), ("a length beyond the frame", 16, 7)] {
        assert_eq!(conn.run(|frame| frame[at] = byte), Fate::Left(Passed::Malformed), "{what}");
    }
    assert_eq!(conn.run(|frame| frame[17] = 39), Fate::Left(Passed::Malformed), "no room for a TCP header");
    let mut frame = conn.frame(&conn.request.clone());
    frame[25] ^= 1;
    assert_eq!(conn.fast.run(&frame, Vnet::default()), Fate::Left(Passed::Malformed), "a header's checksum");
    let disguised = Packet::tcp("[::ffff:192.0.2.7]:4000", "[::ffff:198.51.100.1]:80", "A");
    conn.leaves(&disguised, Passed::Malformed);
    let Some(mut conn) = established(NAT6) else { return };
    assert_eq!(conn.run(|frame| frame[14] = 0x45), Fate::Left(Passed::Malformed), "version");
    assert_eq!(conn.run(|frame| frame[18] = 7), Fate::Left(Passed::Malformed), "a length beyond the frame");
    assert_eq!(conn.run(|frame| frame[19] = 0), Fate::Left(Passed::Malformed), "no length");
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

#[test]
fn frames_that_are_no_ip_packets_are_the_directors() {
    let Some(mut conn) = established(NAT) else { return };
    for ether_type in [0x0806_u16, 0x8100, 0x88cc] {
        let fate = conn.run(|frame| frame[12..14].copy_from_slice(&ether_type.to_be_bytes()));
        assert_eq!(fate, Fate::Left(Passed::EtherType), "{ether_type:04x}");
    }
}

#[test]
fn datagrams_that_need_a_checksum_are_the_directors() {
    let Some(mut conn) = established(NAT_UDP) else { return };
    conn.leaves(&Packet { kind: Kind::UdpWithout, ..conn.request.clone() }, Passed::Unsummed);
    conn.takes(&conn.request.clone());
}

#[test]
fn selective_acknowledgements_at_odd_places_are_the_directors() {
    let Some(mut conn) = established(FULL_NAT) else { return };
    let block = [0, 0, 0, 1, 0, 0, 0, 2];
    let mut fate = |options: &[u8], packet: Packet| {
        let frame = with_options(conn.frame(&packet), options);
        conn.fast.run(&frame, Vnet::default())
    };
    let (request, reply) = (Packet::tcp(super::CLIENT, VIP, "A"), Packet::tcp(RS1, "10.0.0.30:5000", "A"));
    let odd = [[5, 10].as_slice(), &block, &[1, 1]].concat();
    assert_eq!(fate(&odd, reply.clone()), Fate::Left(Passed::TcpOptions));
    assert_eq!(fate(&[2, 4, 5, 180], reply.clone()), Fate::Left(Passed::TcpOptions));
    assert!(matches!(fate(&odd, request), Fate::Taken(_)), "only what acknowledges the director's numbers is moved");
    assert!(matches!(fate(&[[1, 1, 5, 10].as_slice(), &block].concat(), reply), Fate::Taken(_)));
}

/// A superframe of which nothing says what its segments are: the kernel puts it into no tunnel.
#[test]
fn what_the_kernel_refuses_is_the_directors() {
    let Some(mut conn) = established(IPIP) else { return };
    let frame = conn.frame(&conn.request.clone().carrying(vec![7; 3000]));
    let run = Run { frame: &frame, gso_size: 1000, gso_segs: 3, wire_len: 3054 + 2 * 54, repeat: 1 };
    assert_eq!(conn.fast.fate(&run), Fate::Left(Passed::Refused));
}

#[test]
fn every_reason_has_a_packet_and_a_name_of_its_own() {
    let Some(mut nat) = established(NAT) else { return };
    for reason in Passed::ALL {
        let plain = nat.request.clone();
        let header = |at: usize, byte: u8| move |frame: &mut Vec<u8>| frame[at] = byte;
        let fate = match reason {
            Passed::Station => nat.run(header(5, 77)),
            Passed::EtherType => nat.run(header(13, 6)),
            Passed::Protocol => nat.run(header(23, 47)),
            Passed::Options => nat.run(header(14, 0x46)),
            Passed::Fragment => nat.run(header(21, 1)),
            Passed::Malformed => nat.run(header(14, 0x44)),
            Passed::Flags => nat.fate_of(&Packet { kind: Kind::Tcp("FA"), ..plain }),
            Passed::NoEntry => nat.fate_of(&plain.from("192.0.2.8:4000")),
            Passed::OtherEnd => nat.fate_of(&plain.to("198.51.100.2:80")),
            Passed::Ttl => nat.fate_of(&Packet { ttl: 1, ..plain }),
            Passed::TooBig => nat.fate_of(&plain.carrying(vec![7; 1461])),
            // Each has a test of its own, with a conn of another kind.
            Passed::OneWay | Passed::Neighbour | Passed::Superframe => continue,
            Passed::Unsummed | Passed::TcpOptions | Passed::Refused => continue,
        };
        assert_eq!(fate, Fate::Left(reason));
    }
    let names: HashSet<&str> = Passed::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names.len(), Passed::ALL.len());
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
