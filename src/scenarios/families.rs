//! FULL-NAT between families: the client speaks one, the real server the other.

use super::{CLIENT, CLIENT6, LIP, RS1, RS6, VIP, VIP6, rewriting};
use crate::base::{DropReason, Mac, Rng};
use crate::testing::{DIRECTOR, Frame, Kind, Lab, Packet, ROUTER, endpoint, expect, mac_of};
use crate::wire::translate::translate;
use crate::wire::{Gso, PacketBuf, Vnet, set_endpoint};

const LIP6: &str = "[2001:db8::30]:5000";
const LIP4: &str = "10.0.0.30:5000";

/// An IPv6 client and an IPv4 server.
fn six_to_four() -> Lab {
    Lab::new(&format!("-A -t {VIP6} -s rr\n-a -t {VIP6} -r {RS1} --fullnat\n--add-laddr -z {LIP} -t {VIP6}\n"))
}

/// An IPv4 client and an IPv6 server.
fn four_to_six() -> Lab {
    Lab::new(&format!("-A -t {VIP} -s rr\n-a -t {VIP} -r {RS6} --fullnat\n--add-laddr -z 2001:db8::30 -t {VIP}\n"))
}

fn mac(real: &str) -> Mac {
    mac_of(endpoint(real).addr)
}

/// As `expect`, for IPv4 packets whose identification is the director's choice: it and the header checksum may differ.
#[track_caller]
fn expect_four(sent: &[Frame], to: Mac, wanted: &Packet) {
    assert_eq!(sent.len(), 1);
    expect(sent, &[(to, Packet { id: sent[0].packet().id, ..wanted.clone() })]);
}

#[test]
fn a_translated_packet_equals_one_built_that_way() {
    let mut rng = Rng::seeded(11);
    let mut buf = PacketBuf::new();
    for round in 0..100_000 {
        let packet = rewriting::packet(&mut rng);
        let to_six = packet.dst.addr.is_ipv4();
        let (src, dst) = (rewriting::endpoint(&mut rng, to_six), rewriting::endpoint(&mut rng, to_six));
        let finished = packet.kind == Kind::UdpWithout || round % 2 == 0;
        let (frame, vnet) = match finished {
            true => (packet.frame(ROUTER, DIRECTOR), Vnet::default()),
            false => rewriting::partial(&packet),
        };
        let mut ip = rewriting::load(&frame, vnet, &mut buf);

        translate(&mut buf, &mut ip, src.addr, dst.addr, 77).unwrap();
        set_endpoint(&mut buf, &mut ip, crate::wire::End::Destination, dst);
        set_endpoint(&mut buf, &mut ip, crate::wire::End::Source, src);
        crate::wire::set_macs(&mut buf, DIRECTOR, ROUTER);

        let kind = if packet.kind == Kind::UdpWithout { Kind::Udp } else { packet.kind.clone() };
        let wanted = Packet { src, dst, kind, id: 77, dont_fragment: to_six, ..packet };
        let (mut frame, vnet) = match finished {
            true => (wanted.frame(ROUTER, DIRECTOR), Vnet::default()),
            false => rewriting::partial(&wanted),
        };
        let sums = (rewriting::checksum_of(buf.frame(), &wanted), rewriting::checksum_of(&frame, &wanted));
        if !finished && matches!(sums, (0, 0xffff) | (0xffff, 0)) {
            // One's complement has two zeros; they finish to the same checksum.
            frame = buf.frame().to_vec();
        }
        assert_eq!((buf.frame(), buf.vnet), (frame.as_slice(), vnet), "{wanted:?}");
        let seen = rewriting::load(&frame, vnet, &mut PacketBuf::new());
        assert_eq!((ip.src, ip.dst, ip.l4, ip.l4_at, ip.end), (seen.src, seen.dst, seen.l4, seen.l4_at, seen.end));
    }
}

#[test]
fn an_ipv6_client_talks_to_an_ipv4_server() {
    let mut lab = six_to_four();
    let syn = Packet { tos: 0x28, ..Packet::tcp(CLIENT6, VIP6, "S") };
    let wanted = Packet { dont_fragment: false, ..syn.clone() }.from(LIP4).to(RS1).one_hop_on();
    expect_four(&lab.client(&syn), mac(RS1), &wanted);
    let reply = Packet::tcp(RS1, LIP4, "SA").carrying("data");
    expect(&lab.real(&reply), &[(ROUTER, reply.clone().from(VIP6).to(CLIENT6).one_hop_on())]);
    assert_eq!((lab.state_of(&syn), lab.take_moved().as_str()), ("SYN_RECV", ""));
}

#[test]
fn an_ipv4_client_talks_to_an_ipv6_server() {
    let mut lab = four_to_six();
    let syn = Packet::tcp(CLIENT, VIP, "S");
    expect(&lab.client(&syn), &[(mac(RS6), syn.clone().from(LIP6).to(RS6).one_hop_on())]);
    let reply = Packet { dont_fragment: false, ..Packet::tcp(RS6, LIP6, "SA") };
    expect_four(&lab.real(&reply), ROUTER, &reply.clone().from(VIP).to(CLIENT).one_hop_on());
    assert_eq!(lab.take_moved(), "");
}

#[test]
fn a_datagram_without_checksum_gets_the_one_that_ipv6_wants() {
    let mut lab =
        Lab::new(&format!("-A -u {VIP} -s rr\n-a -u {VIP} -r {RS6} --fullnat\n--add-laddr -z 2001:db8::30 -u {VIP}\n"));
    let bare = Packet::new(CLIENT, VIP, Kind::UdpWithout).carrying("anyone?");
    let wanted = Packet { kind: Kind::Udp, ..bare.clone() }.from(LIP6).to(RS6).one_hop_on();
    expect(&lab.client(&bare), &[(mac(RS6), wanted)]);
}

#[test]
fn a_superframe_stays_whole_and_its_segments_make_room_for_the_larger_header() {
    let mut lab = four_to_six();
    lab.client(&Packet::tcp(CLIENT, VIP, "S"));
    let data = Packet::tcp(CLIENT, VIP, "A").carrying(vec![7; 20_000]);
    let (frame, vnet) = rewriting::partial(&data);
    let vnet = Vnet { gso: Gso::Tcp4, gso_size: 1460, ..vnet };
    let sent = lab.frame_with(&frame, vnet);
    assert_eq!(sent.len(), 1);
    let wanted = Vnet { gso: Gso::Tcp6, gso_size: 1440, csum_start: 54, ..vnet };
    assert_eq!((sent[0].vnet, sent[0].bytes.len()), (wanted, frame.len() + 20));
    let (wanted, _) = rewriting::partial(&data.from(LIP6).to(RS6).one_hop_on());
    assert_eq!(sent[0].ip(), &wanted[14..]);
}

#[test]
fn what_does_not_fit_the_other_family_is_told_in_the_senders_terms() {
    let mut lab = four_to_six();
    lab.client(&Packet::tcp(CLIENT, VIP, "S"));
    let full = Packet::tcp(CLIENT, VIP, "A").carrying(vec![0; 1460]);
    let sent = lab.client(&full);
    assert_eq!(sent[0].packet().kind, Kind::Icmp(3, 4, 1480u32.to_be_bytes()));
    assert_eq!(lab.take_moved(), "dropped.too-big=1");
    let fits = Packet::tcp(CLIENT, VIP, "A").carrying(vec![0; 1440]);
    assert_eq!(lab.client(&fits)[0].bytes.len(), 14 + 1500);
    // A datagram that may be cut leaves in fragments of IPv6.
    let pieces = lab.client(&Packet { dont_fragment: false, ..full });
    assert_eq!(pieces.iter().map(|piece| piece.packet().kind).collect::<Vec<_>>(), [Kind::Other(44), Kind::Other(44)]);
}

#[test]
fn errors_are_translated_with_the_packet_that_they_quote() {
    let mut lab = six_to_four();
    let syn = Packet::tcp(CLIENT6, VIP6, "S");
    lab.client(&syn);
    // About the request: the server's port is closed.
    let seen = Packet::tcp(LIP4, RS1, "S").one_hop_on();
    let told = lab.real(&Packet::icmp_about("10.0.0.21", "10.0.0.30", (3, 3, 0), &seen));
    let wanted = Packet::icmp_about("2001:db8:51::1", "2001:db8:c::7", (1, 4, 0), &syn.clone().one_hop_on());
    expect_error(&told, ROUTER, &wanted);
    // About the reply: a link towards the client is narrow.
    let reply = Packet::tcp(RS1, LIP4, "SA");
    lab.real(&reply);
    let seen = Packet::tcp(VIP6, CLIENT6, "SA").one_hop_on();
    let told = lab.client(&Packet::icmp_about("2001:db8:f::1", "2001:db8:51::1", (2, 0, 1400), &seen));
    let wanted = Packet::icmp_about("10.0.0.30", "10.0.0.21", (3, 4, 1380), &reply.one_hop_on());
    expect_error(&told, mac(RS1), &wanted);
    assert_eq!(lab.take_moved(), "");
}

#[test]
fn nobody_is_told_of_a_size_that_the_next_link_does_not_take_and_a_router_that_names_none_is_guessed_for() {
    let mut lab = six_to_four();
    lab.client(&Packet::tcp(CLIENT6, VIP6, "S"));
    let seen = Packet::tcp(LIP4, RS1, "S").carrying(vec![0; 1460]).one_hop_on();
    let quoted = Packet::tcp(CLIENT6, VIP6, "S").carrying(vec![0; 1460]).one_hop_on();
    // The plateau below 1500 (RFC 1191 7), no more than the link takes, no less than IPv6 may send.
    for (named, told) in [(0, 1492), (1400, 1420), (9000, 1500), (68, 1280)] {
        let sent = lab.real(&Packet::icmp_about("10.0.0.21", "10.0.0.30", (3, 4, named), &seen));
        expect_error(&sent, ROUTER, &Packet::icmp_about("2001:db8:51::1", "2001:db8:c::7", (2, 0, told), &quoted));
    }
}

/// The error and, of the packet that it quotes, addresses, ports and protocol; the quoted checksum is of its own world.
#[track_caller]
fn expect_error(sent: &[Frame], to: Mac, wanted: &Packet) {
    assert_eq!((sent.len(), sent[0].to()), (1, to));
    let error = sent[0].packet();
    assert_eq!((error.src, error.dst, &error.kind), (wanted.src, wanted.dst, &wanted.kind));
    let (about, wanted) = (sent[0].inner(), Packet::read(&wanted.payload));
    assert_eq!((about.src, about.dst, about.kind), (wanted.src, wanted.dst, wanted.kind));
    let parsed = crate::wire::ip_packet(&sent[0].bytes).unwrap();
    assert!(crate::wire::icmp::checksum_is_right(&sent[0].bytes, &parsed));
}

/// An error with a quote of so many bytes and an extension (RFC 4884), here an object of MPLS labels (RFC 4950).
fn extended(error: &Packet, bytes: usize) -> (Packet, [u8; 12]) {
    let extension = [0x20, 0, 0, 0, 0, 8, 1, 1, 1, 2, 3, 4];
    let mut payload = error.payload.clone();
    payload.resize(bytes, 0);
    (error.clone().carrying([&payload[..], &extension].concat()), extension)
}

#[test]
fn the_length_of_an_extended_error_is_counted_as_the_other_family_does() {
    let mut lab = six_to_four();
    let syn = Packet::tcp(CLIENT6, VIP6, "S");
    let seen = lab.client(&syn)[0].packet();
    let (error, extension) = extended(&Packet::icmp_about("10.0.0.21", "10.0.0.30", (11, 0, 32 << 16), &seen), 128);
    let told = lab.real(&error)[0].packet();
    assert_eq!(told.kind, Kind::Icmp(3, 0, [19, 0, 0, 0]), "19 times 8 bytes: 128, and 20 of the header");
    assert_eq!((told.payload.len(), &told.payload[152..]), (164, &extension[..]));
    assert!(told.payload[60..152].iter().all(|byte| *byte == 0), "padding between the quote and the extension");

    // A quote that IPv4 has no room for makes room for what follows it.
    let reply = lab.real(&Packet::tcp("10.0.0.21:8080", &seen.src.to_string(), "SA").carrying([7; 900]))[0].packet();
    let mut quoted = Packet::icmp_about("2001:db8:f::1", "2001:db8:51::1", (3, 0, 120 << 24), &reply);
    quoted.payload = reply.bytes();
    let (error, extension) = extended(&quoted, 960);
    let told = lab.client(&error)[0].packet();
    let Kind::Icmp(11, 0, [0, words, 0, 0]) = told.kind else { panic!("{told:?}") };
    assert_eq!(told.payload[usize::from(words) * 4..], extension);
    assert!(told.bytes().len() <= 576 && told.bytes().len() > 560, "{}", told.bytes().len());
}

#[test]
fn an_error_without_a_counterpart_ends_here() {
    let mut lab = six_to_four();
    lab.client(&Packet::tcp(CLIENT6, VIP6, "S"));
    let seen = Packet::tcp(LIP4, RS1, "S").one_hop_on();
    assert_eq!(lab.real(&Packet::icmp_about("10.0.0.21", "10.0.0.30", (4, 0, 0), &seen)).len(), 0);
    assert_eq!(lab.turn.ledger().dropped(DropReason::Unsupported), 1);
}

#[test]
fn a_packet_without_df_becomes_ipv6_fragments_that_fit_every_path() {
    let mut lab = four_to_six();
    lab.client(&Packet::tcp(CLIENT, VIP, "S"));
    for (dont_fragment, sizes) in [(true, vec![1452]), (false, vec![1280, 228])] {
        let packet = Packet { dont_fragment, ..Packet::tcp(CLIENT, VIP, "A").carrying(vec![7; 1392]) };
        let sent = lab.client(&packet);
        assert_eq!(sent.iter().map(|frame| frame.ip().len()).collect::<Vec<_>>(), sizes, "DF {dont_fragment}");
    }
}

#[test]
fn small_ipv4_fragments_become_one_ipv6_packet() {
    let mut lab = four_to_six();
    lab.client(&Packet::tcp(CLIENT, VIP, "S"));
    let whole = Packet { dont_fragment: false, ..Packet::tcp(CLIENT, VIP, "A").carrying(vec![7; 300]) };
    let mut buf = PacketBuf::new();
    buf.set(&whole.frame(ROUTER, DIRECTOR));
    let ip = crate::wire::ip_packet(buf.frame()).unwrap();
    let mut fragments = crate::wire::Fragments::new(&buf, &ip, 68, 9).unwrap();
    let (mut piece, mut sent) = (PacketBuf::new(), Vec::new());
    while fragments.next_into(&buf, &ip, &mut piece) {
        crate::wire::set_macs(&mut piece, DIRECTOR, ROUTER);
        sent.extend(lab.frame(piece.frame()));
    }
    expect(&sent, &[(mac(RS6), whole.clone().from(LIP6).to(RS6).one_hop_on())]);
}

#[test]
fn the_parameter_problem_of_ipv4_is_translated_with_its_pointer() {
    let mut lab = six_to_four();
    let request = lab.client(&Packet::tcp(CLIENT6, VIP6, "S"))[0].packet();
    for (code, at, wanted) in
        [(0, 0, 0), (0, 1, 1), (0, 2, 4), (0, 8, 7), (0, 9, 6), (0, 12, 8), (0, 16, 24), (2, 17, 24)]
    {
        let error = Packet::icmp_about(RS1, LIP4, (12, code, at << 24), &request);
        let sent = lab.real(&error);
        assert_eq!(sent.len(), 1, "code {code}, pointer {at}");
        let icmp = sent[0].behind_ip();
        assert_eq!((&icmp[..2], &icmp[4..8]), (&[4, 0][..], &[0, 0, 0, wanted][..]), "code {code}, pointer {at}");
    }
    let without_counterpart = Packet::icmp_about(RS1, LIP4, (12, 0, 6 << 24), &request);
    assert_eq!(lab.real(&without_counterpart).len(), 0);
}
