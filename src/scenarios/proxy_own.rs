//! Headers of the PROXY protocol that clients send themselves: data, passed on, replaced or refused, as it is set.

use super::proxy::{Session, V1, transfer};
use super::{CLIENT, RS1, VIP};
use crate::base::DropReason;
use crate::director::Settings;
use crate::settings::ClientHeader;
use crate::testing::{DIRECTOR, Packet, ROUTER};
use crate::wire::{Gso, Vnet};

/// A header that a client sends itself.
const OWN: &[u8] = b"PROXY TCP4 10.9.9.9 10.9.9.8 5 6\r\n";
const OWN2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\x0a\x09\x09\x09\x0a\x09\x09\x08\0\x05\0\x06\x04\0\0";

fn heeding(version: &str, mode: ClientHeader) -> Session {
    Session::set(CLIENT, VIP, RS1, version, Settings { proxy_client_header: mode, ..Settings::default() })
}

#[test]
fn a_clients_own_header_is_data_or_passed_or_replaced_whatever_becomes_of_segments() {
    for seed in 0..400 {
        let (version, len) = if seed % 2 == 0 { ("proxy-v1", V1.len()) } else { ("proxy-v2", 28) };
        let own = [b"", OWN, OWN2][seed as usize / 2 % 3];
        for (mode, front, cut) in [
            (ClientHeader::Data, len, 0),
            (ClientHeader::Pass, if own.is_empty() { len } else { 0 }, 0),
            (ClientHeader::Replace, len, own.len()),
            (ClientHeader::Refuse, len, 0),
        ] {
            if mode != ClientHeader::Refuse || own.is_empty() {
                transfer(seed, &mut heeding(version, mode), own, front, cut);
            }
        }
    }
}

#[test]
fn a_client_that_may_send_no_header_is_reset_and_its_server_too() {
    for (mode, said) in
        [(ClientHeader::Refuse, OWN), (ClientHeader::Refuse, &OWN2[..20]), (ClientHeader::Replace, &OWN[..9])]
    {
        for is_there in [false, true] {
            let mut session = heeding("proxy-v2", mode);
            let ends = (session.peer, session.segment("A", 0, b""));
            if is_there {
                assert_eq!(session.is_silent().payload.len(), 28);
                session.answer("A", 28);
            }
            let sent = session.send("AP", 0, said);
            let [to_client, to_server] = &sent[..] else { panic!("{sent:?}") };
            assert_eq!((to_client.dst, to_client.src), (ends.1.src, ends.1.dst));
            assert_eq!(to_client.seq, ends.1.ack, "what the client expects");
            assert_eq!((to_server.src, to_server.dst.to_string()), (ends.0, RS1.to_owned()));
            assert_eq!(session.place(to_server), if is_there { 28 } else { 0 }, "what the server expects");
            assert!(sent.iter().all(|reset| reset.payload.is_empty() && reset.kind == Packet::tcp(RS1, VIP, "R").kind));
            assert_eq!(session.lab.turn.ledger().dropped(DropReason::ClientHeader), 1);
            assert_eq!(session.lab.state_of(&ends.1), "CLOSE");
            session.lab.recount().unwrap();
        }
    }
}

#[test]
fn a_server_that_speaks_first_has_the_header_before_the_clients_own_is_taken_out() {
    let mut session = heeding("proxy-v2", ClientHeader::Replace);
    let len = OWN.len() as u32;
    assert_eq!(session.is_silent().payload.len(), 28);
    assert_eq!(session.answer("AP", 28).ack, session.first);
    let sent = session.send("A", 0, b"");
    assert_eq!((session.place(&sent[0]), sent[0].payload.len()), (28, 0), "what is there is not sent again");
    // Nothing but the client's header: the server is made to acknowledge what it has.
    let sent = session.send("AP", 0, OWN);
    assert_eq!((sent.len(), session.place(&sent[0]), sent[0].payload.len()), (1, 0, 28));
    assert_eq!(session.answer("A", 28).ack, session.first + len);
    let sent = session.send("AP", len, b"EHLO\r\n");
    assert_eq!((session.place(&sent[0]), &sent[0].payload[..]), (28, &b"EHLO\r\n"[..]));
    let conn = session.lab.conn_of(&session.segment("A", 0, b"")).unwrap();
    assert!(!session.lab.director.flows.conns.get(conn).is_helped(), "the fast path may have it");
}

#[test]
fn a_unique_id_stays_the_same_for_its_conn() {
    let settings = Settings { proxy_unique_id: true, ..Settings::default() };
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut session = Session::set(CLIENT, VIP, RS1, "proxy-v2", settings.clone());
        let header = session.is_silent().payload;
        assert_eq!((header.len(), &header[14..16], &header[28..31]), (39, &[0, 23][..], &[5, 0, 8][..]));
        assert_eq!(session.send("AP", 0, b"GET")[0].payload, [&header[..], b"GET"].concat());
        assert_eq!(session.answer("A", 39).ack, session.first);
        ids.push(header[31..].to_vec());
    }
    assert_eq!(ids[0], ids[1], "what is drawn follows from the seed alone");
    assert_ne!(ids[0], [0; 8]);
}

#[test]
fn a_superframe_loses_the_clients_header_and_stays_one() {
    let vnet =
        Vnet { needs_csum: true, gso: Gso::Tcp4, gso_size: 1000, csum_start: 34, csum_offset: 16, ..Vnet::default() };
    for (rest, is_one) in [(3000, true), (900, false)] {
        let mut session = heeding("proxy-v2", ClientHeader::Replace);
        let data = [OWN, &vec![7; rest][..]].concat();
        let frame = session.segment("AP", 0, &data).frame(ROUTER, DIRECTOR);
        let sent = session.lab.frame_with(&frame, vnet);
        let (last, packet) = (sent.last().unwrap(), sent.last().unwrap().packet());
        let data = packet.payload.strip_prefix(&sent[0].packet().payload[..28]).unwrap_or(&packet.payload);
        assert_eq!((data, last.vnet.gso == Gso::Tcp4), (&vec![7; rest][..], is_one));
        assert_eq!(session.place(&packet), if sent.len() == 2 { 28 } else { 0 });
        if is_one {
            assert_eq!((last.vnet.gso_size, last.vnet.needs_csum), (1000, true));
        }
    }
}
