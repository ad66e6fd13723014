//! IPv6 extension headers: what passes, what ends, and what its sender is told.

use super::{CLIENT6, LIP, RS1, RS6, VIP6};
use crate::base::DropReason;
use crate::testing::{DIRECTOR, Frame, Kind, Lab, Packet, ROUTER, endpoint, mac_of};

const NAT6: &str = "-A -t [2001:db8:51::1]:80 -s rr\n-a -t [2001:db8:51::1]:80 -r [2001:db8::21]:8080 -m\n";

pub const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION: u8 = 60;
/// Where the fixed header of IPv6 ends in a frame.
const END: usize = 54;

/// The frame of an IPv6 packet with these headers between the fixed one and layer 4; the first byte of each is set.
pub fn behind(headers: &[(u8, &[u8])], packet: &Packet) -> Vec<u8> {
    let plain = packet.frame(ROUTER, DIRECTOR);
    let mut frame = plain[..END].to_vec();
    let mut name_at = 20;
    for (kind, bytes) in headers {
        let last = std::mem::replace(&mut frame[name_at], *kind);
        name_at = frame.len();
        frame.extend_from_slice(bytes);
        frame[name_at] = last;
    }
    frame.extend_from_slice(&plain[END..]);
    let len = (frame.len() - END) as u16;
    frame[18..20].copy_from_slice(&len.to_be_bytes());
    frame
}

fn syn() -> Packet {
    Packet::tcp(CLIENT6, VIP6, "S")
}

/// One error to the client: type, code and the place that it points to.
#[track_caller]
fn told(sent: &[Frame]) -> (u8, u8, u32) {
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].to(), ROUTER);
    match sent[0].packet().kind {
        Kind::Icmp(kind, code, word) => (kind, code, u32::from_be_bytes(word)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_need_not_be_known_passes_and_is_rewritten_behind_it() {
    for headers in [
        &[(HOP_BY_HOP, &[0, 0, 5, 2, 0, 0, 1, 0][..]), (DESTINATION, &[0, 0, 0x1e, 4, 9, 9, 9, 9])][..],
        &[(ROUTING, &[0, 2, 4, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9])],
        // What the destination may not know is the destination's to say, and that is the real server.
        &[(DESTINATION, &[0, 0, 0x9e, 4, 9, 9, 9, 9])],
    ] {
        let mut lab = Lab::new(NAT6);
        let sent = lab.frame(&behind(headers, &syn()));
        let mut wanted = behind(headers, &syn().to(RS6).one_hop_on());
        wanted[..6].copy_from_slice(&mac_of(endpoint(RS6).addr).0);
        wanted[6..12].copy_from_slice(&DIRECTOR.0);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].bytes, wanted, "{headers:?}");
    }
}

#[test]
fn every_method_carries_them() {
    let headers: &[(u8, &[u8])] =
        &[(HOP_BY_HOP, &[0, 0, 5, 2, 0, 0, 1, 0]), (DESTINATION, &[0, 0, 0x1e, 4, 9, 9, 9, 9])];
    for (method, rewritten, outer) in [
        ("-g", syn().to(VIP6), 0),
        ("--fullnat", syn().to(RS6).from("[2001:db8::30]:5000"), 0),
        ("-i", syn(), 40),
        ("-i --tun-type gre", syn(), 44),
    ] {
        let port = if method == "--fullnat" { 8080 } else { 80 };
        let real = format!("[2001:db8::21]:{port}");
        let mut lab = Lab::new(&format!(
            "-A -t {VIP6} -s rr\n-a -t {VIP6} -r {real} {method}\n--add-laddr -z 2001:db8::30 -t {VIP6}\n"
        ));
        let sent = lab.frame(&behind(headers, &syn()));
        assert_eq!(sent.len(), 1, "{method}");
        let mut wanted = behind(headers, &rewritten.one_hop_on())[14..].to_vec();
        let bytes = &sent[0].bytes;
        assert_eq!(sent[0].to(), mac_of(endpoint(RS6).addr));
        if method == "--fullnat" {
            // The local port is the director's choice; it moves the checksum.
            wanted[56..58].copy_from_slice(&bytes[70..72]);
            wanted[72..74].copy_from_slice(&bytes[86..88]);
        }
        assert_eq!(bytes[14 + outer..], wanted, "{method}");
    }
}

#[test]
fn every_node_on_the_way_reads_hop_by_hop_options() {
    let mut lab = Lab::new(NAT6);
    let sent = lab.frame(&behind(&[(HOP_BY_HOP, &[0, 0, 1, 0, 0x9e, 2, 9, 9])], &syn()));
    assert_eq!(told(&sent), (4, 2, 44), "parameter problem, unrecognized option, where it stands");
    assert_eq!(lab.frame(&behind(&[(HOP_BY_HOP, &[0, 0, 0x5e, 4, 9, 9, 9, 9])], &syn())), []);
    assert_eq!(lab.turn.ledger().dropped(DropReason::ExtensionHeader), 2);
    assert_eq!(lab.director.flows.conns.len(), 0);
}

#[test]
fn the_director_as_destination_reads_the_rest() {
    let mut lab = Lab::new(NAT6);
    let ping = Packet::new("2001:db8:c::7", "2001:db8:51::1", Kind::Icmp(128, 0, [0, 1, 0, 1]));
    let answer = lab.frame(&behind(&[(DESTINATION, &[0, 0, 0x1e, 4, 9, 9, 9, 9])], &ping));
    assert_eq!(
        (answer.len(), answer[0].packet().kind),
        (1, Kind::Icmp(129, 0, [0, 1, 0, 1])),
        "an option that may be passed over"
    );
    let sent = lab.frame(&behind(&[(DESTINATION, &[0, 0, 0x9e, 4, 9, 9, 9, 9])], &ping));
    assert_eq!(told(&sent), (4, 2, 42));
    let onward = [&[0, 2, 0, 1, 0, 0, 0, 0][..], &[0x20; 16]].concat();
    assert_eq!(told(&lab.frame(&behind(&[(ROUTING, &onward)], &ping))), (4, 0, 42), "nobody is led on from here");
    let unknown = Packet { kind: Kind::Other(200), ..ping }.carrying([0; 8]);
    let sent = lab.frame(&behind(&[(DESTINATION, &[0, 0, 1, 4, 0, 0, 0, 0])], &unknown));
    assert_eq!(told(&sent), (4, 1, 40), "where the unknown protocol is named");
}

#[test]
fn a_packet_that_is_to_be_led_elsewhere_does_not_change_its_family() {
    let rules = format!("-A -t {VIP6} -s rr\n-a -t {VIP6} -r {RS1} --fullnat\n--add-laddr -z {LIP} -t {VIP6}\n");
    let mut lab = Lab::new(&rules);
    let header = |left: u8| [&[0, 2, 4, left, 0, 0, 0, 0][..], &[0x20; 16]].concat();
    assert_eq!(told(&lab.frame(&behind(&[(ROUTING, &header(1))], &syn()))), (4, 0, 43), "segments left");
    let sent = lab.frame(&behind(&[(ROUTING, &header(0))], &syn()));
    assert_eq!((sent.len(), sent[0].packet().dst), (1, endpoint(RS1)), "led to its end already");
}
