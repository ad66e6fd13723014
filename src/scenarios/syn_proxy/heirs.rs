//! Who goes on with conns whose handshakes were made here: a later process, or another director.

use std::time::Duration;

use super::super::{CLIENT, RS1, VIP};
use super::{ANSWER, Conn, Seen, rules, stamp};
use crate::director::Settings;
use crate::testing::{Kind, Lab};

#[test]
fn a_later_process_goes_on_with_both_kinds() {
    let mut conn = Conn::asked(CLIENT, VIP, RS1, "-m");
    let syn = Seen::of(&conn.client("A", 0, b"", &[])[0]);
    let again = |conn: &mut Conn| {
        let kept = conn.lab.director.take_kept();
        conn.lab.director.flows.splices = Default::default();
        for (id, kept) in kept {
            let text = serde_json::to_string(&kept.unwrap()).unwrap();
            assert!(conn.lab.director.recall_kept(id, &serde_json::from_str(&text).unwrap()));
        }
    };
    again(&mut conn);
    assert_eq!(conn.lab.advance(Duration::from_secs(1))[0].packet().kind, Kind::Tcp("S"));
    again(&mut conn);
    assert_eq!(conn.server(&syn.packet, "SA", (90_000, 1), &ANSWER).len(), 2);
    again(&mut conn);
    let sent = Seen::of(&conn.client("AP", 0, b"GET /", &[])[0]);
    assert_eq!(sent.packet.ack, 90_001);
}

#[test]
fn another_director_goes_on_with_a_conn_that_this_one_has_begun() {
    const DAEMON: &str = "--mcast-interface tap0 --syncid 7\n";
    for method in ["-m", "-b"] {
        let settings = Settings { icmp_rate: 0, ..Settings::default() };
        let backup = rules(VIP, RS1, method, "on") + "--start-daemon backup " + DAEMON;
        let mut backup = Lab::with(settings, &backup);
        let mut conn = Conn::asked(CLIENT, VIP, RS1, method);
        conn.lab.rules(&format!("--start-daemon master {DAEMON}"));
        let clock = conn.cookie.clocks().unwrap().0;
        let syn = Seen::of(&conn.client("A", 0, b"", &stamp(140, clock))[0]);
        // Nobody is told of a conn whose server has not answered.
        let mut told = conn.lab.advance(Duration::from_millis(900));
        conn.server(&syn.packet, "SA", (90_000, 1), &ANSWER);
        for at in 0..3 {
            conn.client("AP", at, b"x", &stamp(141, clock));
        }
        told.extend(conn.lab.advance(Duration::from_secs(3)));
        let messages = told.iter().filter(|frame| frame.bytes[0] == 1).collect::<Vec<_>>();
        assert!(!messages.is_empty(), "{method}");
        messages.iter().for_each(|message| assert!(backup.frame(&message.bytes).is_empty()));
        std::mem::swap(&mut conn.lab, &mut backup);
        let sent = Seen::of(&conn.client("AP", 3, b"GET /", &stamp(150, clock))[0]);
        assert_eq!((sent.packet.seq, sent.packet.ack), (syn.packet.seq.wrapping_add(4), 90_001), "{method}");
        let heard = Seen::of(&conn.server(&syn.packet, "AP", (90_001, 9), &stamp(7_000_500, 0))[0]);
        assert_eq!(heard.packet.seq, conn.cookie.packet.seq.wrapping_add(1), "{method}");
        assert_eq!((heard.packet.ack, heard.tcp.window_size), (5009, 64_240 >> 3));
        conn.lab.recount().unwrap();
    }
}
