//! Established conns that say nothing for long: their ends are asked, and those that are gone are not waited for.

use std::time::Duration;

use super::{CLIENT, LIP, RS1, VIP};
use crate::base::Endpoint;
use crate::director::Settings;
use crate::testing::{Frame, Lab, Packet, endpoint};

/// A conn that has been silent until its time is over, and what its ends were sent then.
struct Silent {
    lab: Lab,
    peer: Endpoint,
    /// The client's next number, as it says it and as its server does; the server's.
    client: u32,
    client_there: u32,
    server: u32,
    asked: Vec<Packet>,
}

const ESTABLISHED: Duration = Duration::from_secs(900);
const INTERVAL: Duration = Duration::from_secs(11);

fn rules(method: &str) -> String {
    let local = if method == "-b" { format!("-P -t {VIP} -z {LIP}\n") } else { String::new() };
    format!("-A -t {VIP} -s rr\n-a -t {VIP} -r {RS1} {method}\n{local}")
}

impl Silent {
    fn through(method: &str, settings: Settings) -> Silent {
        let mut lab = Lab::with(Settings { icmp_rate: 0, ..settings }, &rules(method));
        let syn = Packet::tcp(CLIENT, VIP, "S");
        let sent = lab.client(&syn)[0].packet();
        let (client, client_there) = (syn.seq + 1, sent.seq.wrapping_add(1));
        let answer = Packet { ack: client_there, seq: 7_000, dst: sent.src, ..Packet::tcp(RS1, "0.0.0.0:0", "SA") };
        lab.real(&answer);
        lab.client(&Packet { seq: client, ack: 7_001, ..Packet::tcp(CLIENT, VIP, "A") });
        let asked = packets(&lab.advance(ESTABLISHED + Duration::from_secs(1)));
        Silent { lab, peer: sent.src, client, client_there, server: 7_001, asked }
    }

    fn client_answers(&mut self) {
        let answer = Packet { seq: self.client, ack: self.server, ..Packet::tcp(CLIENT, VIP, "A") };
        assert_eq!(self.lab.client(&answer).len(), 1);
    }

    fn server_answers(&mut self) {
        let (seq, ack) = (self.server, self.client_there);
        let answer = Packet { seq, ack, dst: self.peer, ..Packet::tcp(RS1, "0.0.0.0:0", "A") };
        assert_eq!(self.lab.real(&answer).len(), 1);
    }

    fn is_there(&self) -> bool {
        self.lab.conn_of(&Packet::tcp(CLIENT, VIP, "A")).is_some()
    }
}

fn packets(frames: &[Frame]) -> Vec<Packet> {
    frames.iter().map(Frame::packet).collect()
}

fn asking() -> Settings {
    Settings { keepalive: 3, expire_reset: 3, ..Settings::default() }
}

#[test]
fn both_ends_are_asked_by_a_number_that_they_have_acknowledged() {
    for method in ["-b", "-m"] {
        let silent = Silent::through(method, asking());
        let [to_client, to_server] = &silent.asked[..] else { panic!("{:?}", silent.asked) };
        let question = Packet::tcp(CLIENT, VIP, "A").kind;
        assert_eq!((&to_client.kind, &to_server.kind), (&question, &question), "{method}");
        assert_eq!((to_client.src, to_client.dst), (endpoint(VIP), endpoint(CLIENT)));
        assert_eq!((to_client.seq, to_client.ack), (silent.server - 1, silent.client));
        assert_eq!((to_server.src, to_server.dst), (silent.peer, endpoint(RS1)));
        assert_eq!((to_server.seq, to_server.ack), (silent.client_there.wrapping_sub(1), silent.server));
        assert_eq!((silent.peer == endpoint(CLIENT), silent.is_there()), (method == "-m", true));
    }
}

#[test]
fn a_conn_whose_ends_answer_lives_on() {
    let mut silent = Silent::through("-b", asking());
    for _ in 0..3 {
        silent.client_answers();
        silent.server_answers();
        assert!(silent.lab.advance(INTERVAL * 5).is_empty(), "nobody is asked again");
        assert!(silent.is_there());
        silent.asked = packets(&silent.lab.advance(ESTABLISHED - INTERVAL * 5 + Duration::from_secs(1)));
        assert_eq!(silent.asked.len(), 2, "until its time is over once more");
    }
    silent.lab.recount().unwrap();
}

#[test]
fn an_end_that_is_gone_is_asked_thrice_and_then_the_other_one_is_told() {
    for client_is_there in [true, false] {
        let mut silent = Silent::through("-b", asking());
        if client_is_there {
            silent.client_answers()
        } else {
            silent.server_answers()
        }
        for _ in 0..2 {
            let again = packets(&silent.lab.advance(INTERVAL));
            let gone = if client_is_there { endpoint(RS1) } else { endpoint(CLIENT) };
            assert_eq!((again.len(), again[0].dst), (1, gone), "who has answered is left alone");
        }
        let resets = packets(&silent.lab.advance(INTERVAL));
        let numbers: Vec<(Endpoint, u32)> = resets.iter().map(|reset| (reset.dst, reset.seq)).collect();
        assert_eq!(numbers, [(endpoint(CLIENT), silent.server), (endpoint(RS1), silent.client_there)]);
        assert!(resets.iter().all(|reset| reset.kind == Packet::tcp(CLIENT, VIP, "R").kind));
        assert!(!silent.is_there());
        silent.lab.recount().unwrap();
    }
}

#[test]
fn a_conn_that_ends_meanwhile_is_let_alone_and_where_nobody_is_to_be_asked_nobody_is() {
    let mut silent = Silent::through("-b", asking());
    let reset = Packet { seq: silent.client, ..Packet::tcp(CLIENT, VIP, "R") };
    silent.lab.client(&reset);
    assert!(silent.lab.advance(INTERVAL * 5).is_empty());
    assert!(!silent.is_there());
    for (method, keepalive, expire_reset, sent) in [("-b", 1, 0, 0), ("-m", 2, 0, 0), ("-b", 0, 2, 2), ("-b", 0, 0, 0)]
    {
        let silent = Silent::through(method, Settings { keepalive, expire_reset, ..Settings::default() });
        assert_eq!((silent.asked.len(), silent.is_there()), (sent, false), "{method} {keepalive}");
    }
    // Without resets a conn nobody answers for ends in silence.
    let mut silent = Silent::through("-b", Settings { expire_reset: 0, ..asking() });
    silent.lab.advance(INTERVAL);
    silent.lab.advance(INTERVAL);
    assert_eq!((silent.lab.advance(INTERVAL).len(), silent.is_there()), (0, false));
}

#[test]
fn full_nat_has_timeouts_of_its_own_where_they_are_set() {
    let settings = Settings {
        fullnat_timeout_opening: 3,
        fullnat_timeout_tcp: 90,
        fullnat_timeout_closing: 7,
        fullnat_timeout_udp: 20,
        expire_reset: 0,
        ..Settings::default()
    };
    for (method, opening, established, closing) in [("-b", 3, 90, 7), ("-m", 60, 900, 120)] {
        let mut lab = Lab::with(Settings { icmp_rate: 0, ..settings.clone() }, &rules(method));
        let lives = |lab: &Lab| {
            let conn = lab.director.flows.conns.get(lab.conn_of(&Packet::tcp(CLIENT, VIP, "A")).unwrap());
            let left = lab.director.flows.conns.deadline(conn).since(lab.turn.now);
            (left.as_millis() as u64).div_ceil(1000)
        };
        let peer = lab.client(&Packet::tcp(CLIENT, VIP, "S"))[0].packet().src;
        let at_first = lives(&lab);
        lab.real(&Packet { dst: peer, ..Packet::tcp(RS1, "0.0.0.0:0", "SA") });
        lab.client(&Packet::tcp(CLIENT, VIP, "A"));
        let then = lives(&lab);
        lab.client(&Packet::tcp(CLIENT, VIP, "FA"));
        lab.real(&Packet { dst: peer, ..Packet::tcp(RS1, "0.0.0.0:0", "FA") });
        let wanted = [opening, established, closing].map(|seconds| seconds..=seconds + 1);
        let found = [at_first, then, lives(&lab)];
        assert!(wanted.iter().zip(found).all(|(wanted, found)| wanted.contains(&found)), "{method}: {found:?}");
    }
}

#[test]
fn who_finds_no_local_port_is_told_as_it_is_set() {
    for (mode, kind) in [("reset", Some("RA")), ("icmp", None), ("drop", Some(""))] {
        let limit = rules("-b").replace("-s rr", "-s rr --limit leave-ports=60535");
        let mut lab = Lab::new(&limit);
        lab.director.flows.settings.set("no_local_port", mode).unwrap();
        assert_eq!(lab.client(&Packet::tcp(CLIENT, VIP, "S"))[0].to(), crate::testing::mac_of(endpoint(RS1).addr));
        let syn = Packet::tcp("192.0.2.8:4000", VIP, "S");
        for times in 1..4 {
            let told = packets(&lab.client(&syn));
            match kind {
                Some("") => assert!(told.is_empty()),
                Some(flags) => {
                    assert_eq!((&told[0].kind, told[0].ack), (&Packet::tcp(VIP, CLIENT, flags).kind, syn.seq + 1));
                }
                None => assert_eq!(told[0].kind, crate::testing::Kind::Icmp(3, 3, [0; 4])),
            }
            assert_eq!(lab.turn.ledger().dropped(crate::base::DropReason::NoLocalPort), times);
        }
        // Another address has ports, at once.
        lab.rules(&format!("-P -t {VIP} -z 10.0.0.31"));
        let other = Packet::tcp("192.0.2.9:4000", VIP, "S");
        assert_eq!(lab.client(&other)[0].packet().src.addr.to_string(), "10.0.0.31");
        // A service that leaves none to others any more has those.
        let last = Packet::tcp("192.0.2.10:4000", VIP, "S");
        lab.client(&last);
        lab.rules(&format!("-E -t {VIP} -s rr"));
        assert_eq!(lab.client(&last)[0].packet().dst, endpoint(RS1));
        // Another service has them.
        lab.rules(&format!(
            "-A -t 198.51.100.2:80 -s rr\n-a -t 198.51.100.2:80 -r {RS1} -b\n-P -t 198.51.100.2:80 -z {LIP}"
        ));
        assert_eq!(lab.client(&syn.to("198.51.100.2:80"))[0].packet().dst, endpoint(RS1));
    }
}
