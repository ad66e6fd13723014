//! Whose numbers, clocks, options and windows are in a segment.

use std::time::Duration;

use super::super::{CLIENT, CLIENT6, LIP, RS1, RS6, VIP, VIP6};
use super::{ANSWER, Conn, OFFER, Seen, framed, rules, stamp};
use crate::director::Settings;
use crate::testing::{DIRECTOR, Kind, Lab, Packet, ROUTER, endpoint, with_options};

#[test]
fn both_handshakes_are_made_and_numbers_clocks_and_windows_fit_together() {
    for (client, virt, real, method) in [
        (CLIENT, VIP, RS1, "-m"),
        (CLIENT, VIP, RS1, "-b"),
        (CLIENT6, VIP6, RS6, "-m"),
        (CLIENT6, VIP6, RS6, "-b"),
        (CLIENT6, VIP6, RS1, "-b"),
        (CLIENT, VIP, RS6, "-b"),
    ] {
        let what = format!("{client} -> {real} {method}");
        let mut conn = Conn::asked(client, virt, real, method);
        let cookie = conn.cookie.packet.seq;
        assert_eq!((conn.cookie.packet.ack, conn.cookie.tcp.window_size), (5001, 0), "{what}");
        assert!(conn.cookie.tcp.syn && conn.cookie.tcp.ack);
        let (clock, echo) = conn.cookie.clocks().unwrap();
        assert_eq!((clock & 63, echo), (0x19, 100), "{what}: shift 9 and SACK in the clock");
        assert_eq!(conn.cookie.options()[16..], [1, 1, 4, 2, 1, 3, 3, 7]);

        // The client's acknowledgement opens the conn.
        conn.lab.advance(Duration::from_millis(40));
        let sent = conn.client("A", 0, b"", &stamp(140, clock));
        assert_eq!((sent.len(), conn.lab.director.flows.conns.len()), (1, 1), "{what}");
        let syn = Seen::of(&sent[0]);
        assert!(syn.tcp.syn && !syn.tcp.ack);
        assert_eq!(syn.packet.dst, endpoint(real));
        let (value, none) = syn.clocks().unwrap();
        assert_eq!((none, syn.options()[16..].to_vec()), (0, vec![1, 1, 4, 2, 1, 3, 3, 9]));
        let by_client = if method == "-m" { 0 } else { value.wrapping_sub(140) };
        assert_eq!(value, by_client.wrapping_add(140), "{what}");
        if method == "-m" {
            assert_eq!(syn.packet.seq, 5000);
        }

        // The server answers: the handshake's end goes to it, and its window to the client.
        let sent = conn.server(&syn.packet, "SA", (90_000, 1), &ANSWER);
        assert_eq!(sent.len(), 2, "{what}");
        let (end, opened) = (Seen::of(&sent[0]), Seen::of(&sent[1]));
        assert_eq!((end.packet.seq, end.packet.ack), (syn.packet.seq.wrapping_add(1), 90_001), "{what}");
        assert_eq!(end.clocks(), Some((value, 7_000_000)), "{what}");
        assert_eq!((&end.packet.kind, end.tcp.window_size), (&Kind::Tcp("A"), 64_240));
        assert_eq!((opened.packet.seq, opened.packet.ack), (cookie.wrapping_add(1), 5001), "{what}");
        assert_eq!((&opened.packet.kind, opened.tcp.window_size), (&Kind::Tcp("A"), 64_240 >> 7));
        let (server_clock, echo) = opened.clocks().unwrap();
        assert_eq!(echo, 140);
        assert!((server_clock.wrapping_sub(clock) as i32) >= 0, "{what}: a clock never goes back");

        // Data of both ends, and what is missing of it.
        let edges = [cookie.wrapping_add(301), cookie.wrapping_add(501)].map(u32::to_be_bytes).concat();
        let sack = [&stamp(150, server_clock)[..], &[1, 1, 5, 10], &edges].concat();
        let sent = Seen::of(&conn.client("AP", 0, b"GET /", &sack)[0]);
        assert_eq!((sent.packet.seq, sent.packet.ack), (syn.packet.seq.wrapping_add(1), 90_001), "{what}");
        assert_eq!(sent.clocks(), Some((by_client.wrapping_add(150), 7_000_000)));
        let edges = [90_301_u32, 90_501].map(u32::to_be_bytes).concat();
        assert_eq!(sent.options()[12..], [&[1, 1, 5, 10][..], &edges].concat());
        let said = stamp(7_000_009, by_client.wrapping_add(150));
        let heard = Seen::of(&conn.server(&syn.packet, "AP", (90_001, 6), &said)[0]);
        assert_eq!((heard.packet.seq, heard.packet.ack), (cookie.wrapping_add(1), 5006), "{what}");
        assert_eq!(heard.clocks(), Some((server_clock.wrapping_add(9), 150)));
        assert_eq!(heard.tcp.window_size, 64_240 >> 3, "{what}: of units of 16 bytes, in units of 128");

        // Resets, and errors about either's segments.
        let reset = Seen::of(&conn.server(&syn.packet, "R", (90_001, 0), &[])[0]);
        assert_eq!(reset.packet.seq, cookie.wrapping_add(1));
        conn.lab.recount().unwrap();
    }
}

#[test]
fn errors_quote_the_numbers_that_their_receiver_knows() {
    for method in ["-m", "-b"] {
        let mut conn = Conn::asked(CLIENT, VIP, RS1, method);
        let clock = conn.cookie.clocks().unwrap().0;
        let syn = Seen::of(&conn.client("A", 0, b"", &stamp(140, clock))[0]);
        conn.server(&syn.packet, "SA", (90_000, 1), &ANSWER);
        let seen = conn.client("AP", 0, b"GET /", &[])[0].packet();
        let to = if method == "-m" { CLIENT.split(':').next().unwrap() } else { LIP };
        let told = conn.lab.client(&Packet::icmp_about("10.0.0.21", to, (3, 3, 0), &seen));
        assert_eq!((told[0].inner().seq, told[0].inner().ack), (5001, conn.cookie.packet.seq.wrapping_add(1)));
        let heard = conn.server(&syn.packet, "AP", (90_001, 6), &[])[0].packet();
        let told = conn.lab.client(&Packet::icmp_about("192.0.2.99", "198.51.100.1", (3, 4, 1400), &heard));
        let quoted = told[0].inner();
        assert_eq!((quoted.seq, quoted.ack), (90_001, syn.packet.seq.wrapping_add(6)), "{method}");
    }
}

#[test]
fn without_timestamps_only_the_size_is_kept() {
    let settings = Settings { icmp_rate: 0, ..Settings::default() };
    let mut lab = Lab::with(settings, &rules(VIP, RS1, "-m", "on"));
    for (options, wanted) in [(&[][..], [2, 4, 2, 24]), (&[2, 4, 5, 170, 4, 2, 1, 1, 1, 3, 3, 9][..], [2, 4, 5, 160])] {
        let syn = Packet::tcp(CLIENT, VIP, "S");
        let cookie = Seen::of(&lab.frame(&framed(&syn, ROUTER, options))[0]);
        assert_eq!(cookie.options(), [2, 4, 5, 180]);
        let ack = Packet { seq: 1001, ack: cookie.packet.seq.wrapping_add(1), ..Packet::tcp(CLIENT, VIP, "A") };
        let syn = Seen::of(&lab.client(&ack)[0]);
        // 1450 is of the class 1440.
        assert_eq!(syn.options(), wanted);
        let answer = Packet { ack: 1001, seq: 7, ..Packet::tcp(RS1, CLIENT, "SA") };
        let opened = Seen::of(&lab.real(&answer)[1]);
        assert_eq!((opened.options(), opened.tcp.window_size), (vec![], 64_240), "no shift of windows");
        let id = lab.conn_of(&ack).unwrap();
        lab.director.flows.replace(id);
    }
    lab.director.flows.settings.set("syn_proxy_timestamps", "0").unwrap();
    let syn = with_options(Packet::tcp(CLIENT, VIP, "S").frame(ROUTER, DIRECTOR), &OFFER);
    assert_eq!(Seen::of(&lab.frame(&syn)[0]).options(), [2, 4, 5, 180]);
}

#[test]
fn a_server_without_window_shift_gets_windows_that_it_understands() {
    let mut conn = Conn::asked(CLIENT, VIP, RS1, "-m");
    let clock = conn.cookie.clocks().unwrap().0;
    let syn = Seen::of(&conn.client("A", 0, b"", &stamp(140, clock))[0]);
    let sent = conn.server(&syn.packet, "SA", (90_000, 1), &[2, 4, 5, 180]);
    assert_eq!(Seen::of(&sent[0]).tcp.window_size, u16::MAX, "64,240 units of 512 bytes");
    assert_eq!(Seen::of(&sent[1]).tcp.window_size, 64_240 >> 7);
    assert_eq!(Seen::of(&conn.server(&syn.packet, "A", (90_001, 1), &[])[0]).tcp.window_size, 64_240 >> 7);
}
