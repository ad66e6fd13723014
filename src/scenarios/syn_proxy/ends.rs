//! Clients and servers that do not do what a handshake asks of them.

use std::time::Duration;

use super::super::{CLIENT, RS1, VIP};
use super::{ANSWER, Conn, Seen, rules, stamp};
use crate::base::DropReason;
use crate::testing::{Kind, Lab, Packet, endpoint};

#[test]
fn what_comes_before_the_server_has_answered_is_sent_again_by_its_client() {
    let mut conn = Conn::asked(CLIENT, VIP, RS1, "-b");
    let clock = conn.cookie.clocks().unwrap().0;
    // The ACK is lost, and the first that comes has data, or is a probe of the window.
    let syn = Seen::of(&conn.client("AP", 0, b"GET /", &stamp(140, clock))[0]);
    assert!(syn.tcp.syn && syn.packet.payload.is_empty());
    conn.lab.take_moved();
    for (flags, payload, wanted) in [
        ("AP", "GET /", "dropped.server-awaited=1"),
        ("FA", "", "dropped.server-awaited=1"),
        ("S", "", "dropped.server-awaited=1"),
        ("A", "", "consumed.handshake=1"),
    ] {
        assert!(conn.client(flags, 0, payload.as_bytes(), &[]).is_empty());
        assert_eq!(conn.lab.take_moved(), wanted, "{flags}");
    }
    conn.server(&syn.packet, "SA", (90_000, 1), &ANSWER);
    let sent = conn.client("AP", 0, b"GET /", &stamp(141, clock));
    assert_eq!(sent[0].packet().payload, b"GET /");
    let mut conn = Conn::asked(CLIENT, VIP, RS1, "-m");
    conn.first -= 1;
    let sent = conn.client("A", 0, b"", &stamp(140, clock));
    assert_eq!(sent[0].packet().kind, Kind::Tcp("S"), "a probe proves as much");
}

#[test]
fn a_server_that_refuses_or_is_silent_is_the_end_of_the_conn() {
    let mut conn = Conn::asked(CLIENT, VIP, RS1, "-b");
    let next = conn.cookie.packet.seq.wrapping_add(1);
    let syn = Seen::of(&conn.client("A", 0, b"", &[])[0]);
    let told = conn.server(&syn.packet, "RA", (0, 1), &[]);
    assert_eq!((told[0].packet().kind, told[0].packet().seq), (Kind::Tcp("R"), next));
    assert!(told[0].packet().dst == endpoint(CLIENT));

    let mut conn = Conn::asked(CLIENT, VIP, RS1, "-b");
    let next = conn.cookie.packet.seq.wrapping_add(1);
    let syn = Seen::of(&conn.client("A", 0, b"", &[])[0]);
    for _ in 0..4 {
        let again = conn.lab.advance(Duration::from_millis(1000));
        assert_eq!((again.len(), again[0].packet().seq, again[0].packet().kind), (1, syn.packet.seq, Kind::Tcp("S")));
    }
    let told = conn.lab.advance(Duration::from_millis(1000));
    assert_eq!((told[0].packet().kind, told[0].packet().seq), (Kind::Tcp("R"), next));
    assert_eq!(conn.lab.director.flows.conns.len(), 0);
    conn.lab.recount().unwrap();
}

#[test]
fn a_server_that_is_still_in_another_conn_is_reset_and_asked_again() {
    let mut conn = Conn::asked(CLIENT, VIP, RS1, "-b");
    let syn = Seen::of(&conn.client("A", 0, b"", &[])[0]);
    for (flags, ack) in [("A", 4_000_u32), ("SA", 2), ("A", 1)] {
        let reset = conn.server(&syn.packet, flags, (90_000, ack), &[])[0].packet();
        assert_eq!((reset.kind, reset.seq), (Kind::Tcp("R"), syn.packet.seq.wrapping_add(ack)), "{flags}");
        assert_eq!(reset.dst, endpoint(RS1));
    }
    assert!(conn.server(&syn.packet, "R", (90_000, 1), &[]).is_empty(), "a reset that acknowledges nothing");
    assert!(conn.server(&syn.packet, "RA", (0, 2), &[]).is_empty());
    assert_eq!(conn.lab.advance(Duration::from_secs(1))[0].packet().kind, Kind::Tcp("S"));
    assert_eq!(conn.server(&syn.packet, "SA", (90_000, 1), &ANSWER).len(), 2);
}

#[test]
fn nobody_gets_in_by_a_guess_and_a_refused_client_is_told() {
    let mut lab = Lab::new(&rules(VIP, RS1, "-m", "on"));
    let guess = Packet { seq: 1001, ack: 77, ..Packet::tcp(CLIENT, VIP, "A") };
    let reset = lab.client(&guess)[0].packet();
    assert_eq!((reset.kind, reset.seq, lab.take_moved().as_str()), (Kind::Tcp("R"), 77, "dropped.bad-cookie=1"));
    lab.director.flows.settings.set("unknown", "drop").unwrap();
    assert!(lab.client(&guess).is_empty());
    // The server is taken away between the two halves of the handshake.
    let cookie = lab.client(&Packet::tcp(CLIENT, VIP, "S"))[0].packet();
    lab.rules(&format!("-e -t {VIP} -r {RS1} -m -w 0\n"));
    lab.take_moved();
    let ack = Packet { seq: 1001, ack: cookie.seq.wrapping_add(1), ..Packet::tcp(CLIENT, VIP, "A") };
    let told = lab.client(&ack)[0].packet();
    assert_eq!((told.kind, told.seq), (Kind::Tcp("R"), ack.ack));
    assert_eq!(lab.take_moved(), "dropped.no-server=1");
    // Without any server a SYN is refused at once.
    assert_eq!(lab.client(&Packet::tcp(CLIENT, VIP, "S"))[0].packet().kind, Kind::Icmp(3, 3, [0; 4]));
    assert_eq!(lab.turn.ledger().dropped(DropReason::BadCookie), 2);
}
