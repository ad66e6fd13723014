//! The PROXY protocol in front of datagrams through FULL-NAT.

use super::{CLIENT, CLIENT6, RS1, RS6, VIP, VIP6};
use crate::base::{DropReason, Proto, Rng};
use crate::director::Settings;
use crate::settings::Datagrams;
use crate::testing::{DIRECTOR, Frame, Kind, Lab, Packet, ROUTER};
use crate::wire::{Gso, Vnet, checksum, ip_packet};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x0f\xa0\0\x50";

fn lab(virt: &str, real: &str, proxy_datagrams: Datagrams) -> Lab {
    let local = if real == RS6 { "2001:db8::30" } else { "10.0.0.30" };
    let rules =
        format!("-A -u {virt} -s rr\n-a -u {virt} -r {real} -b --client-address proxy-v2\n-P -u {virt} -z {local}\n");
    Lab::with(Settings { icmp_rate: 0, proxy_datagrams, ..Settings::default() }, &rules)
}

/// The sum of a datagram with its pseudo-header, which is 0xffff if the checksum is right.
fn sum(sent: &Frame) -> u16 {
    let ip = ip_packet(&sent.bytes).unwrap();
    checksum::with_pseudo(ip.src, ip.dst, Proto::UDP, &sent.bytes[ip.l4_at..ip.end])
}

#[test]
fn each_datagram_carries_it_or_those_before_the_first_answer() {
    for (mode, afterwards) in [(Datagrams::Each, V2), (Datagrams::UntilAnswered, b"")] {
        let mut lab = lab(VIP, RS1, mode);
        let asked = Packet::udp(CLIENT, VIP).carrying("question");
        for _ in 0..2 {
            let sent = lab.client(&asked).remove(0);
            assert_eq!((sum(&sent), sent.packet().payload), (0xffff, [V2, b"question"].concat()));
        }
        let peer = lab.client(&asked)[0].packet().src;
        let answer = Packet { dst: peer, ..Packet::udp(RS1, "0.0.0.0:0") }.carrying("answer");
        let told = lab.real(&answer).remove(0);
        assert_eq!((sum(&told), told.packet().payload), (0xffff, b"answer".to_vec()), "nothing of it comes back");
        let sent = lab.client(&asked).remove(0);
        assert_eq!((sum(&sent), sent.packet().payload), (0xffff, [afterwards, b"question"].concat()));
        let conn = lab.conn_of(&asked).unwrap();
        assert_eq!(lab.director.flows.conns.get(conn).is_helped(), mode == Datagrams::Each, "the fast path waits");
        lab.recount().unwrap();
    }
}

#[test]
fn servers_of_either_family_learn_the_clients_own() {
    for (client, virt, real, len) in [(CLIENT6, VIP6, RS6, 52), (CLIENT6, VIP6, RS1, 52), (CLIENT, VIP, RS6, 28)] {
        let sent = lab(virt, real, Datagrams::Each).client(&Packet::udp(client, virt).carrying("x")).remove(0);
        let payload = sent.packet().payload;
        assert_eq!((payload.len(), sum(&sent)), (len + 1, 0xffff), "{client} to {real}");
        assert_eq!((payload[13], payload[15]), if len == 52 { (0x22, 36) } else { (0x12, 12) });
    }
}

#[test]
fn a_datagram_that_does_not_fit_with_it_is_refused_by_its_size_or_cut() {
    let mut lab = lab(VIP, RS1, Datagrams::Each);
    // 1,500 bytes less 20 of IP, 8 of UDP and 28 of the header.
    for (len, fits) in [(1444, true), (1445, false)] {
        let asked = Packet { dont_fragment: true, ..Packet::udp(CLIENT, VIP) }.carrying(vec![7; len]);
        let sent = lab.client(&asked).remove(0).packet();
        match fits {
            true => assert_eq!(sent.payload.len(), 28 + len),
            false => assert_eq!(sent.kind, Kind::Icmp(3, 4, 1472_u32.to_be_bytes()), "the largest that fits"),
        }
    }
    assert_eq!(lab.turn.ledger().dropped(DropReason::TooBig), 1);
    let asked = Packet { dont_fragment: false, ..Packet::udp(CLIENT, VIP) }.carrying(vec![7; 1472]);
    let pieces = lab.client(&asked);
    let total: usize = pieces.iter().map(|piece| piece.bytes.len() - 34).sum();
    assert_eq!((pieces.len(), total), (2, 8 + 28 + 1472));
    assert!(pieces.iter().all(|piece| piece.bytes.len() <= 1514));
    lab.recount().unwrap();
}

#[test]
fn a_narrow_path_takes_as_much_less_of_a_client() {
    let mut lab = lab(VIP, RS1, Datagrams::UntilAnswered);
    let asked = Packet { dont_fragment: true, ..Packet::udp(CLIENT, VIP) }.carrying(vec![7; 1400]);
    let sent = lab.client(&asked)[0].packet();
    let about = |size: u32| Packet::icmp_about("10.0.0.99", "10.0.0.30", (3, 4, size), &sent);
    let kind = |size: u32| Kind::Icmp(3, 4, size.to_be_bytes());
    assert_eq!(lab.client(&about(1400))[0].packet().kind, kind(1372));
    lab.real(&Packet { dst: sent.src, ..Packet::udp(RS1, "0.0.0.0:0") }.carrying("answer"));
    assert_eq!(lab.client(&about(1400))[0].packet().kind, kind(1400), "no header any more");
}

#[test]
fn every_datagram_of_a_superframe_has_one() {
    let mut lab = lab(VIP, RS1, Datagrams::Each);
    let vnet =
        Vnet { needs_csum: true, gso: Gso::Udp, gso_size: 500, csum_start: 34, csum_offset: 6, ..Vnet::default() };
    let mut frame = Packet::udp(CLIENT, VIP).carrying(vec![7; 1200]).frame(ROUTER, DIRECTOR);
    let pseudo = |frame: &[u8], len| {
        let ip = ip_packet(frame).unwrap();
        checksum::pseudo(ip.src, ip.dst, Proto::UDP, len)
    };
    let open = pseudo(&frame, 1208).to_be_bytes();
    frame[40..42].copy_from_slice(&open);
    let sent = lab.frame_with(&frame, vnet);
    let sizes: Vec<usize> = sent.iter().map(|datagram| datagram.packet().payload.len()).collect();
    assert_eq!(sizes, [528, 528, 228]);
    assert!(sent.iter().all(|datagram| sum(datagram) == 0xffff && datagram.packet().payload.starts_with(V2)));
    // One datagram whose checksum is open stays so.
    let mut frame = Packet::udp(CLIENT, VIP).carrying("x").frame(ROUTER, DIRECTOR);
    let open = pseudo(&frame, 9).to_be_bytes();
    frame[40..42].copy_from_slice(&open);
    let sent = lab.frame_with(&frame, Vnet { gso: Gso::None, gso_size: 0, ..vnet }).remove(0);
    assert!(sent.vnet.needs_csum);
    assert_eq!(sent.bytes[40..42], pseudo(&sent.bytes, 8 + 28 + 1).to_be_bytes());
    // A superframe of datagrams that do not fit with it: its sender is told.
    let mut frame =
        Packet { dont_fragment: true, ..Packet::udp(CLIENT, VIP) }.carrying(vec![7; 2900]).frame(ROUTER, DIRECTOR);
    let open = pseudo(&frame, 2908).to_be_bytes();
    frame[40..42].copy_from_slice(&open);
    let told = lab.frame_with(&frame, Vnet { gso_size: 1450, ..vnet }).remove(0).packet();
    assert_eq!(told.kind, Kind::Icmp(3, 4, 1472_u32.to_be_bytes()));
    lab.recount().unwrap();
}

#[test]
fn checksums_are_kept_right_or_wrong() {
    let (mut rng, mut lab) = (Rng::seeded(5), lab(VIP, RS1, Datagrams::Each));
    for _ in 0..500 {
        let payload: Vec<u8> = (0..rng.below(1400)).map(|_| rng.below(256) as u8).collect();
        let mut frame = Packet::udp(CLIENT, VIP).carrying(payload.clone()).frame(ROUTER, DIRECTOR);
        let kind = rng.below(3);
        match kind {
            0 => {}
            1 => frame[40..42].fill(0),
            _ => frame[41] ^= 1,
        }
        let sent = lab.frame(&frame).remove(0);
        assert_eq!(sent.bytes[42..], [V2, &payload].concat());
        match kind {
            // Where there was none, one is made, as by the kernel's NAT.
            0 | 1 => assert_eq!(sum(&sent), 0xffff),
            _ => assert_ne!(sum(&sent), 0xffff, "damage is not vouched for"),
        }
    }
}
