//! A service behind the proxy: when it is on, which servers it may have, and what else they are told.

use std::time::Duration;

use super::super::{CLIENT, RS1, VIP};
use super::{ANSWER, Conn, Seen, rules, stamp};
use crate::ipvsadm;
use crate::service::command::Refused;
use crate::testing::{Kind, Lab, Packet};

#[test]
fn auto_begins_under_pressure_and_ends_with_it() {
    let mut lab = Lab::new(&rules(VIP, RS1, "-m", "auto"));
    lab.director.flows.settings.set("syn_proxy_rate", "20").unwrap();
    let syn = |port: u32| Packet::tcp(&format!("192.0.2.7:{port}"), VIP, "S");
    let is_asked = |lab: &mut Lab, port| lab.client(&syn(port))[0].packet().kind == Kind::Tcp("SA");
    // Clients that stand up for their SYNs are no pressure.
    for port in 1000..1100 {
        assert!(!is_asked(&mut lab, port));
        lab.real(&Packet { ack: 1001, ..Packet::tcp(RS1, &format!("192.0.2.7:{port}"), "SA") });
        lab.client(&Packet { seq: 1001, ..Packet::tcp(&format!("192.0.2.7:{port}"), VIP, "A") });
    }
    lab.advance(Duration::from_secs(1));
    assert_eq!((2000..2100).filter(|port| is_asked(&mut lab, *port)).count(), 80);
    let held = lab.director.flows.conns.len();
    for port in 3000..9000 {
        assert!(is_asked(&mut lab, port));
    }
    assert_eq!(lab.director.flows.conns.len(), held, "a flood makes no conns");
    // An established conn goes on, and a new client gets in.
    assert_eq!(lab.client(&Packet { seq: 1001, ..Packet::tcp("192.0.2.7:1001", VIP, "AP") }).len(), 1);
    let cookie = lab.client(&syn(9500))[0].packet();
    let ack = Packet { seq: 1001, ack: cookie.seq.wrapping_add(1), ..Packet::tcp("192.0.2.7:9500", VIP, "A") };
    assert_eq!(lab.client(&ack)[0].packet().kind, Kind::Tcp("S"));
    // A cookie of the flood is good when it is over.
    let cookie = lab.client(&syn(9501))[0].packet();
    lab.advance(Duration::from_secs(11));
    assert!(!is_asked(&mut lab, 9600));
    let ack = Packet { seq: 1001, ack: cookie.seq.wrapping_add(1), ..Packet::tcp("192.0.2.7:9501", VIP, "A") };
    assert_eq!(lab.client(&ack)[0].packet().kind, Kind::Tcp("S"));
    lab.recount().unwrap();
}

#[test]
fn it_is_refused_where_replies_do_not_pass_or_there_is_no_handshake() {
    let mut lab = Lab::new("");
    let mut apply = |rule: String| {
        let (_, command) = ipvsadm::parse_rules(&rule).unwrap().remove(0);
        lab.director.apply(&command, lab.turn.now)
    };
    assert_eq!(apply("-A -u 198.51.100.1:53 -s rr --syn-proxy on".into()), Err(Refused::SynProxy));
    apply(format!("-A -t {VIP} -s rr --syn-proxy auto")).unwrap();
    assert_eq!(apply(format!("-a -t {VIP} -r 10.0.0.21:80 -g")), Err(Refused::SynProxy));
    assert_eq!(apply(format!("-a -t {VIP} -r 10.0.0.21:80 -i")), Err(Refused::SynProxy));
    apply(format!("-a -t {VIP} -r 10.0.0.21:80 -m")).unwrap();
    assert_eq!(apply(format!("-e -t {VIP} -r 10.0.0.21:80 -g")), Err(Refused::SynProxy));
    apply(format!("-E -t {VIP} -s rr")).unwrap();
    apply(format!("-e -t {VIP} -r 10.0.0.21:80 -g")).unwrap();
    assert_eq!(apply(format!("-E -t {VIP} -s rr --syn-proxy on")), Err(Refused::SynProxy));
}

#[test]
fn headers_and_options_for_servers_come_as_ever() {
    for (told, len) in [("proxy-v1", 43), ("proxy-v2", 28), ("toa", 0)] {
        let mut conn = Conn::asked(CLIENT, VIP, RS1, &format!("-b --client-address {told}"));
        let clock = conn.cookie.clocks().unwrap().0;
        assert_eq!(conn.cookie.options()[2..4], if told == "toa" { [5, 172] } else { [5, 180] }, "{told}");
        let syn = Seen::of(&conn.client("A", 0, b"", &stamp(140, clock))[0]);
        assert!(syn.packet.payload.is_empty());
        let sent = conn.server(&syn.packet, "SA", (90_000, 1), &ANSWER);
        let end = Seen::of(&sent[0]);
        assert_eq!((end.packet.payload.len(), end.packet.seq), (len, syn.packet.seq.wrapping_add(1)), "{told}");
        assert_eq!(end.options().first() == Some(&254), told == "toa");
        assert_eq!(Seen::of(&sent[1]).packet.ack, 5001, "{told}");
        let sent = Seen::of(&conn.client("AP", 0, b"GET /", &stamp(141, clock))[0]);
        assert!(sent.packet.payload.ends_with(b"GET /") && sent.packet.payload.len() == len + 5);
        let got = len as u32 + 6;
        let heard = Seen::of(&conn.server(&syn.packet, "A", (90_001, got), &[])[0]);
        assert_eq!((heard.packet.ack, heard.packet.seq), (5006, conn.cookie.packet.seq.wrapping_add(1)), "{told}");
        // The server knows its client: the numbers of the server are moved all the same.
        let heard = Seen::of(&conn.server(&syn.packet, "A", (90_101, got), &[])[0]);
        assert_eq!(heard.packet.seq, conn.cookie.packet.seq.wrapping_add(101));
        let sent = Seen::of(&conn.client("AP", 5, b"more", &stamp(142, clock))[0]);
        assert_eq!((sent.packet.ack, &sent.packet.payload[..]), (90_001, &b"more"[..]));
    }
}
