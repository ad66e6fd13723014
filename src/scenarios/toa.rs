//! The client's address in a TCP option of the first segments through FULL-NAT (TOA).

use etherparse::{IpNumber, Ipv4Header, Ipv6Header, TcpHeader};

use super::proxy::Session;
use super::sequences::is_sound;
use super::{CLIENT, CLIENT6, LIP, RS1, RS6, VIP, VIP6};
use crate::base::Rng;
use crate::director::{Settings, recall_young};
use crate::testing::{DIRECTOR, Frame, Kind, Lab, Packet, ROUTER, mac_of, with_options};
use crate::wire::{Gso, Vnet, checksum};

/// Client 192.0.2.7 with port 4000.
const TOLD: &[u8] = &[254, 8, 0x0f, 0xa0, 192, 0, 2, 7];

fn begun() -> Session {
    Session::between(CLIENT, VIP, RS1, "toa")
}

/// The client's first segment after the SYN, as the server gets it.
fn send(session: &mut Session, flags: &'static str, payload: &[u8]) -> Frame {
    let segment = session.segment(flags, 0, payload);
    session.lab.client(&segment).remove(0)
}

/// The options of a segment whose checksum is right.
fn options(sent: &Frame) -> Vec<u8> {
    is_sound(sent);
    header(sent).options.as_slice().to_vec()
}

fn header(sent: &Frame) -> TcpHeader {
    let packet = &sent.bytes[14..];
    let rest = if packet[0] >> 4 == 4 {
        let (header, rest) = Ipv4Header::from_slice(packet).unwrap();
        assert_eq!((header.protocol, usize::from(header.total_len)), (IpNumber::TCP, packet.len()));
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        rest
    } else {
        let (header, rest) = Ipv6Header::from_slice(packet).unwrap();
        assert_eq!(usize::from(header.payload_length), rest.len());
        rest
    };
    TcpHeader::from_slice(rest).unwrap().0
}

#[test]
fn the_option_goes_with_every_segment_until_the_first_byte_is_acknowledged() {
    let mut session = begun();
    session.answer("SA", 0);
    for (flags, payload) in [("A", ""), ("AP", "GET /"), ("AP", "GET /"), ("FA", "GET /")] {
        let sent = send(&mut session, flags, payload.as_bytes());
        assert_eq!((options(&sent), sent.packet().payload), (TOLD.to_vec(), payload.as_bytes().to_vec()), "{flags}");
    }
    assert!(options(&send(&mut session, "RA", b"")).is_empty(), "a reset tells nobody anything");
    let mut session = begun();
    session.answer("A", 0);
    assert_eq!(options(&send(&mut session, "A", b"")), TOLD);
    session.answer("A", 1);
    assert!(options(&send(&mut session, "AP", b"GET /")).is_empty());
    session.lab.recount().unwrap();
}

#[test]
fn each_family_has_a_length_and_a_kind_of_its_own() {
    let long = [&[254, 20, 0x0f, 0xa0][..], &"2001:db8:c::7".parse::<std::net::Ipv6Addr>().unwrap().octets()].concat();
    for (client, virt, real, wanted) in
        [(CLIENT6, VIP6, RS6, &long[..]), (CLIENT6, VIP6, RS1, &long), (CLIENT, VIP, RS6, TOLD)]
    {
        let mut session = Session::between(client, virt, real, "toa");
        assert_eq!(options(&send(&mut session, "A", b"")), wanted, "{client} to {real}");
        session.lab.director.flows.settings.set("toa_kind", "252").unwrap();
        session.lab.director.flows.settings.set("toa_kind_ipv6", "253").unwrap();
        assert_eq!(options(&send(&mut session, "A", b""))[0], if wanted.len() == 8 { 252 } else { 253 });
    }
}

#[test]
fn the_handshake_leaves_room_for_it() {
    for (named, told) in [(1460_u16, 1452_u16), (96, 88), (90, 88), (88, 88), (60, 60)] {
        let mut session = begun();
        let answer = session.server_segment("SA", 0);
        let mss = [&[2, 4][..], &named.to_be_bytes()].concat();
        let macs = (mac_of(crate::testing::endpoint(RS1).addr), DIRECTOR);
        let sent = session.lab.frame(&with_options(answer.frame(macs.0, macs.1), &mss)).remove(0);
        assert_eq!(options(&sent), [&[2, 4][..], &told.to_be_bytes()].concat());
        // Where it stands at an odd place.
        let odd = [&[1, 2, 4][..], &named.to_be_bytes(), &[1, 1, 1]].concat();
        let sent = session.lab.frame(&with_options(answer.frame(macs.0, macs.1), &odd)).remove(0);
        assert_eq!(options(&sent)[3..5], told.to_be_bytes());
    }
}

#[test]
fn what_a_client_claims_itself_is_taken_out() {
    let mut session = begun();
    let claimed = [254, 8, 0, 1, 10, 0, 0, 1];
    for (flags, before) in [("S", &[][..]), ("A", TOLD), ("AP", TOLD)] {
        let segment = Packet { seq: session.first - u32::from(flags == "S"), ..session.segment(flags, 0, b"") };
        let sent = session.lab.frame(&with_options(segment.frame(ROUTER, DIRECTOR), &claimed)).remove(0);
        assert_eq!(options(&sent), [before, &[1; 8]].concat(), "{flags}");
    }
}

#[test]
fn it_is_taken_out_where_none_is_put_in_too_by_a_setting() {
    let claimed = [254, 8, 0, 1, 10, 0, 0, 1];
    for (strip, wanted) in [("1", [1; 8]), ("0", claimed)] {
        let mut session = Session::between(CLIENT, VIP, RS1, "none");
        session.lab.director.flows.settings.set("toa_strip", strip).unwrap();
        // The conn of the session was made before: it ends first.
        session.lab.advance(std::time::Duration::from_secs(100));
        for flags in ["S", "A", "AP"] {
            let seq = session.first - u32::from(flags == "S");
            let segment = Packet { seq, ..session.segment(flags, 0, b"") };
            let sent = session.lab.frame(&with_options(segment.frame(ROUTER, DIRECTOR), &claimed)).remove(0);
            assert_eq!(options(&sent), wanted, "{flags}");
        }
    }
}

#[test]
fn a_segment_without_room_goes_without_and_says_so() {
    let timestamps = [1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9];
    let three_gaps = [&[1, 1, 5, 26][..], &[0; 24]].concat();
    let full = [&timestamps[..], &three_gaps].concat();
    for (options, payload) in [(&full[..], 0), (&[], 1453), (&timestamps, 1441)] {
        let mut session = begun();
        let segment = session.segment("AP", 0, &vec![7; payload]);
        let frame = match options {
            [] => segment.frame(ROUTER, DIRECTOR),
            _ => with_options(segment.frame(ROUTER, DIRECTOR), options),
        };
        let sent = session.lab.frame(&frame).remove(0);
        is_sound(&sent);
        assert_ne!(header(&sent).options.as_slice().first(), Some(&254));
        let id = session.lab.conn_of(&segment).unwrap();
        let toa = &session.lab.director.toa;
        assert_eq!((toa.missing(), toa.is_missing(id)), (1, true));
        // It is known of the conn to its end.
        session.answer("A", 1);
        assert!(session.lab.director.toa.is_missing(id));
    }
    // What just fits.
    let mut session = begun();
    let sent = send(&mut session, "AP", &[7; 1452]);
    assert_eq!((options(&sent), sent.bytes.len()), (TOLD.to_vec(), 1514));
}

#[test]
fn on_a_narrow_path_segments_are_made_shorter_by_the_option_too() {
    let mut session = begun();
    let long = send(&mut session, "AP", &[7; 1452]).packet();
    let told = |session: &mut Session, size: u32| {
        let told = session.lab.client(&Packet::icmp_about("10.0.0.99", LIP, (3, 4, size), &long)).remove(0);
        assert_eq!(told.inner().seq, session.first);
        let Kind::Icmp(3, 4, size) = told.packet().kind else { panic!("{told:?}") };
        u32::from_be_bytes(size)
    };
    assert_eq!(told(&mut session, 1400), 1392);
    let sent = send(&mut session, "AP", &[7; 1352]);
    assert_eq!((options(&sent), sent.bytes.len()), (TOLD.to_vec(), 1414));
    // A client that is told of less than that makes no smaller ones: without the option they arrive.
    assert_eq!(told(&mut session, 580), 580);
    assert!(options(&send(&mut session, "AP", &[7; 540])).is_empty());
    let id = session.lab.conn_of(&session.segment("A", 0, b"")).unwrap();
    assert_eq!((session.lab.director.toa.missing(), session.lab.director.toa.is_missing(id)), (1, true));
    assert_eq!(told(&mut session, 570), 570, "nothing is put in any more");
    session.lab.recount().unwrap();
}

#[test]
fn a_superframe_has_it_once_for_all_its_segments() {
    let mut session = begun();
    let vnet =
        Vnet { needs_csum: true, gso: Gso::Tcp4, gso_size: 1452, csum_start: 34, csum_offset: 16, ..Vnet::default() };
    for (gso_size, fits) in [(1452, true), (1453, false)] {
        let mut frame = session.segment("AP", 0, &[7; 4000]).frame(ROUTER, DIRECTOR);
        // The sum of the pseudo-header, which the device completes.
        let of =
            |packet: &Packet, len| checksum::pseudo(packet.src.addr, packet.dst.addr, crate::base::Proto::TCP, len);
        let sum = of(&session.segment("AP", 0, b""), 4020);
        frame[50..52].copy_from_slice(&sum.to_be_bytes());
        let sent = session.lab.frame_with(&frame, Vnet { gso_size, ..vnet }).remove(0);
        let packet = sent.packet();
        assert_eq!((packet.payload.len(), sent.vnet.gso_size, sent.vnet.csum_start), (4000, gso_size, 34));
        assert_eq!(header(&sent).options.as_slice(), if fits { TOLD } else { &[] });
        let len = 4020 + if fits { 8 } else { 0 };
        assert_eq!(header(&sent).checksum, of(&packet, len));
    }
}

#[test]
fn a_later_process_goes_on_telling() {
    let mut session = begun();
    let kept = session.lab.director.take_kept();
    assert_eq!(kept.len(), 1);
    let text = serde_json::to_string(&kept[0].1).unwrap();
    assert!(text.contains("Toa"), "{text}");
    assert!(session.lab.director.recall_kept(kept[0].0, &serde_json::from_str(&text).unwrap()));
    assert_eq!(options(&send(&mut session, "A", b"")), TOLD);
    // Two numbers say the same, and of no other conn.
    let [place, check] = kept[0].1.as_ref().unwrap().young(kept[0].0.0).unwrap();
    session.lab.director.toa = Default::default();
    for other in
        [[place + 1, check], [place + (1 << 32), check], [place, check ^ 8], [place, check ^ 3], [place, check ^ 7]]
    {
        assert!(!recall_young(&mut session.lab.director, other));
    }
    assert!(options(&send(&mut session, "A", b"")).is_empty());
    assert!(recall_young(&mut session.lab.director, [place, check]));
    assert_eq!(options(&send(&mut session, "A", b"")), TOLD);
}

#[test]
fn ftp_is_read_on_beside_it_and_after_a_header() {
    let client = "192.0.2.7:4000";
    for kind in ["toa", "proxy-v1"] {
        let rules = format!(
            "-A -t 198.51.100.1:21 -s rr\n-a -t 198.51.100.1:21 -r 10.0.0.21:21 -b --client-address {kind}\n\
             -P -t 198.51.100.1:21 -z {LIP}\n"
        );
        let mut lab = Lab::with(Settings { icmp_rate: 0, ..Settings::default() }, &rules);
        let syn = Packet::tcp(client, "198.51.100.1:21", "S");
        let sent = lab.client(&syn)[0].packet();
        let header = if kind == "toa" { 0 } else { "PROXY TCP4 192.0.2.7 198.51.100.1 4000 21\r\n".len() as u32 };
        let said = |at: u32| {
            let ack = sent.seq.wrapping_add(1 + header + at);
            Packet { ack, dst: sent.src, ..Packet::tcp("10.0.0.21:21", "0.0.0.0:0", "A") }
        };
        let hello = |flags| Packet { seq: syn.seq + 1, ..Packet::tcp(client, "198.51.100.1:21", flags) };
        lab.client(&hello("A"));
        assert_eq!(lab.real(&said(0).carrying("220 here\r\n"))[0].packet().ack, syn.seq + 1, "{kind}");
        let sent = lab.client(&hello("AP").carrying("PORT 192,0,2,7,10,1\r\n"));
        let text = String::from_utf8_lossy(&sent[0].packet().payload).into_owned();
        assert!(text.starts_with("PORT 10,0,0,30,"), "{kind}: {text}");
        is_sound(&sent[0]);
    }
}

#[test]
fn any_segment_arrives_whole_behind_it() {
    let mut rng = Rng::seeded(7);
    let mut session = begun();
    for _ in 0..2000 {
        let payload: Vec<u8> = (0..rng.below(1400)).map(|_| rng.below(256) as u8).collect();
        let mut padding = vec![1; rng.below(11) as usize * 4];
        if padding.len() >= 12 {
            padding[..12].copy_from_slice(&[8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1]);
        }
        let segment = session.segment("AP", 0, &payload);
        let frame = match &padding[..] {
            [] => segment.frame(ROUTER, DIRECTOR),
            padding => with_options(segment.frame(ROUTER, DIRECTOR), padding),
        };
        let sent = session.lab.frame(&frame).remove(0);
        let has_room = padding.len() + TOLD.len() <= 40 && payload.len() + padding.len() + TOLD.len() <= 1460;
        let told: &[u8] = if has_room { TOLD } else { &[] };
        assert_eq!((options(&sent), sent.packet().payload), ([told, &padding].concat(), payload));
    }
    session.lab.recount().unwrap();
}
