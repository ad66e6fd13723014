//! Packets inside packets: what a tunnel device on the same host leaves to be done on the inner one.
//!
//! Never a tunnel of the director's own (`methods`).

use super::CLIENT;
use super::lab::{DIRECTOR, Lab, ROUTER, expect, mac_of};
use super::packet::{Packet, endpoint};
use crate::base::Mac;
use crate::wire::Vnet;

const RULES: &str = "-A -u 198.51.100.1:4789 -s rr\n-a -u 198.51.100.1:4789 -r 10.0.0.21:4789 -m\n";

fn outer(inside: &Packet) -> Packet {
    Packet::udp(CLIENT, "198.51.100.1:4789").carrying([&b"between!"[..], &inside.bytes()].concat())
}

/// A kernel (6.17 and later) gives a TAP the unfinished checksum of a packet that its tunnel device has wrapped, with an
/// outer checksum that is already right for the finished one.
#[test]
fn an_unfinished_checksum_inside_is_finished() {
    let rs1: Mac = mac_of(endpoint("10.0.0.21:0").addr);
    let inside = Packet::tcp("10.77.0.1:4000", "10.77.0.2:80", "S").carrying(b"odd".to_vec());
    let mut frame = outer(&inside).frame(ROUTER, DIRECTOR);
    // Ethernet 14, IPv4 20, UDP 8, what is between 8: 50; inner IPv4 20.
    let (l4, field) = (70, 86);
    let pseudo = [&frame[62..70], &[0, 6, 0, (frame.len() - l4) as u8]].concat();
    frame[field..field + 2].copy_from_slice(&super::methods::checksum_over(&pseudo).to_be_bytes());
    let vnet = Vnet { needs_csum: true, csum_start: l4 as u16, csum_offset: 16, ..Vnet::default() };
    let mut lab = Lab::new(RULES);

    let sent = lab.frame_with(&frame, vnet);

    let wanted = outer(&inside).to("10.0.0.21:4789").one_hop_on();
    expect(&sent, &[(rs1, wanted)]);
    assert_eq!(sent[0].vnet, Vnet::default());
    assert_eq!(lab.take_moved(), "");
}

#[test]
fn a_promise_that_no_packet_keeps_is_no_frame() {
    let frame = outer(&Packet::udp("10.77.0.1:1", "10.77.0.2:2")).frame(ROUTER, DIRECTOR);
    let mut lab = Lab::new(RULES);
    for (csum_start, csum_offset) in
        [(14, 6), (34, 16), (70, frame.len() as u16), (frame.len() as u16, 0), (u16::MAX, 16)]
    {
        let vnet = Vnet { needs_csum: true, csum_start, csum_offset, ..Vnet::default() };
        assert_eq!(lab.frame_with(&frame, vnet), [], "{csum_start} {csum_offset}");
        assert_eq!(lab.take_moved(), "dropped.offload=1");
    }
}
