//! The SYN proxy, in exact frames: who says what to whom, and whose numbers, clocks and windows are in it.

use std::time::Duration;

use etherparse::{Ipv4Header, Ipv6Header, TcpHeader};

use super::sequences::is_sound;
use super::{CLIENT, CLIENT6, LIP, RS1, RS6, VIP, VIP6};
use crate::base::DropReason;
use crate::director::Settings;
use crate::ipvsadm;
use crate::service::command::Refused;
use crate::testing::{DIRECTOR, Frame, Kind, Lab, Packet, ROUTER, endpoint, mac_of, with_options};

/// Maximum segment size 1460, selective acknowledgements, clock 100, windows shifted by 9 bits.
const OFFER: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 100, 0, 0, 0, 0, 1, 3, 3, 9];
/// The same of a server: clock 7,000,000, windows shifted by 4 bits.
const ANSWER: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 106, 207, 192, 0, 0, 0, 100, 1, 3, 3, 4];

pub(super) fn rules(virt: &str, real: &str, method: &str, mode: &str) -> String {
    let local = if real == RS6 { "2001:db8::30" } else { LIP };
    let mut rules = format!("-A -t {virt} -s rr --syn-proxy {mode}\n-a -t {virt} -r {real} {method}\n");
    if method.starts_with("-b") {
        rules += &format!("-P -t {virt} -z {local}\n");
    }
    rules
}

/// A segment that left, and its header.
pub(super) struct Seen {
    pub(super) packet: Packet,
    pub(super) tcp: TcpHeader,
}

impl Seen {
    #[track_caller]
    pub(super) fn of(frame: &Frame) -> Seen {
        is_sound(frame);
        let bytes = &frame.bytes[14..];
        let rest = match bytes[0] >> 4 {
            4 => Ipv4Header::from_slice(bytes).unwrap().1,
            _ => Ipv6Header::from_slice(bytes).unwrap().1,
        };
        Seen { packet: frame.packet(), tcp: TcpHeader::from_slice(rest).unwrap().0 }
    }

    fn options(&self) -> Vec<u8> {
        self.tcp.options.as_slice().to_vec()
    }

    /// What an option says; the segment may have some that only tapvs knows.
    pub(super) fn option(&self, kind: u8) -> Option<Vec<u8>> {
        let mut rest = self.tcp.options.as_slice();
        while let [first, others @ ..] = rest {
            let len = if *first < 2 { 1 } else { usize::from(others[0]) };
            if *first == kind {
                return Some(rest[2..len].to_vec());
            }
            rest = &rest[len..];
        }
        None
    }

    /// The numbers in an option.
    pub(super) fn numbers(&self, kind: u8) -> Option<(u32, u32)> {
        let said = self.option(kind)?;
        let at = |at: usize| u32::from_be_bytes(said[at..at + 4].try_into().unwrap());
        Some((at(0), at(4)))
    }

    /// Its clock, and what it echoes.
    pub(super) fn clocks(&self) -> Option<(u32, u32)> {
        self.numbers(8)
    }
}

fn stamp(value: u32, echo: u32) -> Vec<u8> {
    [&[1, 1, 8, 10][..], &value.to_be_bytes(), &echo.to_be_bytes()].concat()
}

/// A conn between two ends that have options.
struct Conn {
    lab: Lab,
    client: &'static str,
    virt: &'static str,
    real: &'static str,
    first: u32,
    /// What the client was answered.
    cookie: Seen,
}

impl Conn {
    fn asked(client: &'static str, virt: &'static str, real: &'static str, method: &str) -> Conn {
        let settings = Settings { icmp_rate: 0, ..Settings::default() };
        let mut lab = Lab::with(settings, &rules(virt, real, method, "on"));
        let syn = Packet { seq: 5000, ..Packet::tcp(client, virt, "S") };
        let answer = lab.frame(&with_options(syn.frame(ROUTER, DIRECTOR), &OFFER));
        assert_eq!((answer.len(), lab.director.flows.conns.len()), (1, 0), "nothing is kept");
        let cookie = Seen::of(&answer[0]);
        Conn { lab, client, virt, real, first: 5001, cookie }
    }

    fn client(&mut self, flags: &'static str, at: u32, payload: &[u8], options: &[u8]) -> Vec<Frame> {
        let ack = self.cookie.packet.seq.wrapping_add(1);
        let segment = Packet { seq: self.first + at, ack, ..Packet::tcp(self.client, self.virt, flags) };
        self.lab.frame(&framed(&segment.carrying(payload), ROUTER, options))
    }

    /// A server's segment, in answer to a SYN that it saw: its number, and how many numbers from the SYN's on it acknowledges.
    fn server(&mut self, syn: &Packet, flags: &'static str, (seq, ack): (u32, u32), options: &[u8]) -> Vec<Frame> {
        let segment =
            Packet { seq, ack: syn.seq.wrapping_add(ack), dst: syn.src, ..Packet::tcp(self.real, "0.0.0.0:0", flags) };
        let from = mac_of(endpoint(self.real).addr);
        self.lab.frame(&framed(&segment, from, options))
    }
}

fn framed(segment: &Packet, from: crate::base::Mac, options: &[u8]) -> Vec<u8> {
    match options {
        [] => segment.frame(from, DIRECTOR),
        options => with_options(segment.frame(from, DIRECTOR), options),
    }
}

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
