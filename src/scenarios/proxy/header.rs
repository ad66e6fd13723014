//! When the header goes, with what, and to whom.

use std::time::Duration;

use super::super::{CLIENT, CLIENT6, LIP, RS1, RS6, VIP, VIP6};
use super::{Session, V1};
use crate::base::DropReason;
use crate::director::{Settings, recall_young};
use crate::ipvsadm;
use crate::service::command::Refused;
use crate::testing::{DIRECTOR, Kind, Lab, Packet, ROUTER};
use crate::wire::{Gso, Vnet};

#[test]
fn the_header_comes_with_the_handshake_until_it_is_acknowledged() {
    let mut session = Session::new("proxy-v1");
    let header = V1.len();
    let silent = session.is_silent();
    assert_eq!((session.place(&silent), &silent.payload[..]), (0, V1.as_bytes()), "for servers that speak first");
    assert_eq!(silent.ack, session.segment("A", 0, b"").ack);
    assert!(session.lab.advance(Duration::from_secs(1)).is_empty(), "once");
    for (flags, at, payload, place, wanted) in [
        // The server asks for the handshake's end again.
        ("A", 0, "", 0, V1.to_owned()),
        ("AP", 0, "HELO\r\n", 0, format!("{V1}HELO\r\n")),
        ("AP", 6, "DATA", header + 6, "DATA".into()),
        ("FA", 10, "", header + 10, String::new()),
        ("AP", 0, "HELO\r\n", 0, format!("{V1}HELO\r\n")),
    ] {
        let sent = session.send(flags, at, payload.as_bytes());
        assert_eq!((sent.len(), session.place(&sent[0])), (1, place), "{flags} {at}");
        assert_eq!(String::from_utf8_lossy(&sent[0].payload), wanted);
    }
    // A part of the header is nothing of the client's.
    for got in [0, 1, header - 1, header] {
        assert_eq!(session.answer("A", got as u32).ack, session.first, "{got}");
    }
    let sent = session.send("AP", 0, b"HELO\r\n");
    assert_eq!((session.place(&sent[0]), &sent[0].payload[..]), (header, &b"HELO\r\n"[..]), "once it is there");
    assert_eq!(session.answer("A", header as u32 + 6).ack, session.first + 6);
    session.lab.recount().unwrap();
}

#[test]
fn a_client_that_speaks_first_sends_one_segment() {
    let mut session = Session::new("proxy-v1");
    assert_eq!(session.send("A", 0, b""), []);
    let sent = session.send("AP", 0, b"GET /\r\n");
    assert_eq!((sent.len(), session.place(&sent[0])), (1, 0));
    assert_eq!(String::from_utf8_lossy(&sent[0].payload), format!("{V1}GET /\r\n"));
    assert!(session.lab.advance(Duration::from_secs(1)).is_empty(), "nothing waits any more");
    // Another conn of the same slot has nothing to do with it.
    session.lab.recount().unwrap();
    let mut session = Session::new("proxy-v2");
    assert_eq!(session.send("A", 0, b""), []);
    let sent = session.send("FA", 0, b"");
    assert_eq!((sent.len(), sent[0].payload.len()), (1, 28), "it has nothing to say");
}

#[test]
fn what_a_client_says_behind_the_header_is_not_read_as_ftp() {
    let mut session = Session::new("proxy-v1");
    let said = "PORT 192,0,2,7,10,1\r\n";
    let sent = session.send("AP", 0, said.as_bytes());
    assert_eq!(String::from_utf8_lossy(&sent[0].payload), format!("{V1}{said}"));
    assert_eq!(session.lab.director.flows.conns.len(), 1, "no data conn is expected");
}

#[test]
fn where_there_is_no_room_the_header_is_a_segment_of_its_own() {
    let mut session = Session::new("proxy-v2");
    let full = [7; 1460];
    let sent = session.send("FA", 0, &full);
    let [header, data] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((session.place(header), header.payload.len()), (0, 28));
    assert_eq!((session.place(data), &data.payload[..]), (28, &full[..]));
    assert_eq!(
        (header.kind.clone(), data.kind.clone()),
        (Packet::tcp(RS1, VIP, "A").kind, Packet::tcp(RS1, VIP, "FA").kind)
    );

    // A superframe, whose segments stay as they are.
    let vnet =
        Vnet { needs_csum: true, gso: Gso::Tcp4, gso_size: 1000, csum_start: 34, csum_offset: 16, ..Vnet::default() };
    let frame = session.segment("AP", 0, &[7; 1460]).frame(ROUTER, DIRECTOR);
    let sent = session.lab.frame_with(&frame, vnet);
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].packet().payload.len(), sent[1].packet().payload.len()), (28, 1460));
    assert_eq!(sent[1].vnet.gso_size, 1000);
}

#[test]
fn what_is_known_of_a_young_conn_is_two_numbers() {
    for version in ["proxy-v1", "proxy-v2"] {
        let mut session = Session::new(version);
        let [(id, Some(kept))] = &session.lab.director.take_kept()[..] else { panic!("a header") };
        let young = kept.young(id.0).unwrap();
        let header = session.is_silent().payload;
        assert!(recall_young(&mut session.lab.director, young));
        assert_eq!(session.send("AP", 0, b"HELO\r\n")[0].payload, [&header[..], b"HELO\r\n"].concat());
        session.answer("A", header.len() as u32 + 6);
        assert!(!recall_young(&mut session.lab.director, young), "the server has it");
    }
    let settings = Settings { proxy_unique_id: true, ..Settings::default() };
    let kept = Session::set(CLIENT, VIP, RS1, "proxy-v2", settings).lab.director.take_kept().remove(0);
    assert_eq!(kept.1.unwrap().young(kept.0.0), None, "an id is another one");
}

#[test]
fn a_client_that_uses_its_port_again_is_told_of_again() {
    for version in ["proxy-v1", "proxy-v2"] {
        let mut session = Session::new(version);
        let header = session.is_silent().payload;
        session.answer("FA", header.len() as u32);
        session.send("FA", 0, b"");
        session.answer("A", header.len() as u32 + 1);
        let syn = Packet { seq: 900_000, ..Packet::tcp(CLIENT, VIP, "S") };
        assert_eq!(session.lab.state_of(&syn), "TIME_WAIT");
        let before = session.lab.conn_of(&syn);
        let sent = session.lab.client(&syn)[0].packet();
        assert_eq!(session.lab.conn_of(&syn), before, "the new conn has the slot of the old one");
        (session.first, session.begun, session.peer) = (syn.seq + 1, sent.seq.wrapping_add(1), sent.src);
        assert_eq!(session.answer("SA", 0).ack, session.first);
        let sent = session.send("AP", 0, b"GET /\r\n").remove(0);
        assert_eq!((session.place(&sent), sent.payload), (0, [&header[..], b"GET /\r\n"].concat()));
        session.lab.recount().unwrap();
    }
}

#[test]
fn on_a_narrow_path_what_is_sent_again_is_not_longer_by_the_header() {
    for (client, virt, real, router, local, too_big) in [
        (CLIENT, VIP, RS1, "10.0.0.99", LIP, (3, 4, 1400)),
        (CLIENT6, VIP6, RS6, "2001:db8::99", "2001:db8::30", (2, 0, 1400)),
    ] {
        let mut session = Session::between(client, virt, real, "proxy-v2");
        assert_eq!(session.send("A", 0, b""), []);
        let said = [7; 1320];
        let long = session.send("AP", 0, &said).remove(0);
        assert!(long.payload.len() > said.len(), "on the first try both together");
        // The client takes the error for one about its own segment: by its number.
        let told = session.lab.client(&Packet::icmp_about(router, local, too_big, &long)).remove(0);
        let (icmp_type, code, size) = too_big;
        assert_eq!(
            (told.inner().seq, told.packet().kind),
            (session.first, Kind::Icmp(icmp_type, code, size.to_be_bytes()))
        );
        let sent = session.send("AP", 0, &said);
        let [header, data] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((session.place(header), header.payload.len()), (0, long.payload.len() - said.len()));
        assert_eq!((session.place(data), &data.payload[..]), (header.payload.len(), &said[..]));
        session.lab.recount().unwrap();
    }
}

#[test]
fn resets_and_damaged_segments_bring_no_header() {
    let mut session = Session::new("proxy-v2");
    let mut frame = session.segment("AP", 0, b"GET /").frame(ROUTER, DIRECTOR);
    *frame.last_mut().unwrap() ^= 1;
    assert!(session.lab.frame(&frame).is_empty());
    assert_eq!(session.lab.turn.ledger().dropped(DropReason::L4Checksum), 1);
    let sent = session.send("R", 0, b"");
    assert_eq!((session.place(&sent[0]), sent[0].payload.len()), (0, 0), "what the server expects next");
}

#[test]
fn servers_of_the_other_family_learn_the_clients_own() {
    for (client, virt, real, wanted) in
        [(CLIENT6, VIP6, RS1, "PROXY TCP6 2001:db8:c::7 2001:db8:51::1 4000 80\r\n"), (CLIENT, VIP, RS6, V1)]
    {
        let mut session = Session::between(client, virt, real, "proxy-v1");
        assert_eq!(String::from_utf8_lossy(&session.is_silent().payload), wanted);
    }
}

#[test]
fn data_in_a_syn_is_left_for_the_client_to_send_again() {
    let rules = format!("-A -t {VIP} -s rr\n-a -t {VIP} -r {RS1} -b --client-address proxy-v1\n-P -t {VIP} -z {LIP}\n");
    let mut lab = Lab::new(&rules);
    let sent = lab.client(&Packet::tcp(CLIENT, VIP, "S").carrying("GET /"))[0].packet();
    assert!(sent.payload.is_empty());
}

#[test]
fn headers_go_through_full_nat_alone() {
    let mut lab = Lab::new("-A -t 198.51.100.1:80 -s rr\n-A -u 198.51.100.1:80 -s rr\n");
    // A datagram carries no line of text.
    for rule in ["-a -t 198.51.100.1:80 -r 10.0.0.21 -m", "-a -u 198.51.100.1:80 -r 10.0.0.21 -b"] {
        let told = ipvsadm::parse_rules(&format!("{rule} --client-address proxy-v1")).unwrap();
        assert_eq!(lab.director.apply(&told[0].1, lab.turn.now), Err(Refused::ClientAddress));
    }
}
