//! What a packet's own headers say.

use super::super::kernel_program::established;
use super::super::{CLIENT, RS1, VIP};
use super::{DIRECT, FULL_NAT, NAT, NAT_UDP, NAT6};
use crate::fastpath::abi::Passed;
use crate::testing::fast::Fate;
use crate::testing::{Kind, Packet, with_options};
use crate::wire::Vnet;

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
    let (request, reply) = (Packet::tcp(CLIENT, VIP, "A"), Packet::tcp(RS1, "10.0.0.30:5000", "A"));
    let odd = [[5, 10].as_slice(), &block, &[1, 1]].concat();
    assert_eq!(fate(&odd, reply.clone()), Fate::Left(Passed::TcpOptions));
    assert_eq!(fate(&[2, 4, 5, 180], reply.clone()), Fate::Left(Passed::TcpOptions));
    assert!(matches!(fate(&odd, request), Fate::Taken(_)), "only what acknowledges the director's numbers is moved");
    assert!(matches!(fate(&[[1, 1, 5, 10].as_slice(), &block].concat(), reply), Fate::Taken(_)));
}
