//! Servers that refuse what clients open: what of the packets that pass counts against them.

use super::{RS1, VIP};
use crate::flows::Sign;
use crate::testing::{Lab, Packet, endpoint};

const ONE: &str = "-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21:8080";

fn watched(method: &str) -> Lab {
    let mut lab = Lab::new(&format!("{ONE} {method}"));
    lab.director.flows.refusals.watch(true);
    lab
}

/// Client number so-and-so, each with a port of its own.
fn client(number: u8, port: u16) -> String {
    format!("192.0.2.{number}:{port}")
}

/// The client opens, and the server answers with these flags; then the client with those.
fn open(lab: &mut Lab, from: &str, server: Option<&'static str>, then: Option<&'static str>) {
    lab.client(&Packet::tcp(from, VIP, "S"));
    if let Some(flags) = server {
        lab.real(&Packet::tcp(RS1, from, flags));
    }
    if let Some(flags) = then {
        lab.client(&Packet::tcp(from, VIP, flags));
    }
}

fn accused(lab: &mut Lab) -> bool {
    let found = lab.director.flows.refusals.take(lab.turn.now);
    found.iter().any(|(dest, _)| lab.director.flows.services.server(*dest).endpoint == endpoint(RS1))
}

/// Each of these clients sends its SYN at 0, 1 and 3 s; in between the server has said this to each.
fn open_patiently(lab: &mut Lab, numbers: std::ops::Range<u8>, server: Option<&'static str>) {
    numbers.clone().for_each(|number| open(lab, &client(number, 4000), server, None));
    for wait in [1, 2] {
        lab.advance(std::time::Duration::from_secs(wait));
        numbers.clone().for_each(|number| open(lab, &client(number, 4000), None, None));
    }
}

#[test]
fn a_server_that_answers_no_syn_though_clients_send_them_again_is_silent() {
    for method in ["-m", "--fullnat"] {
        let mut lab = watched("-m");
        if method == "--fullnat" {
            lab = Lab::new(&format!("-A -t {VIP} -s rr\n-a -t {VIP} -r {RS1} --fullnat"));
            lab.director.flows.refusals.watch(true);
        }
        open_patiently(&mut lab, 0..4, None);
        assert!(!accused(&mut lab), "{method}: four are too few");
        open_patiently(&mut lab, 10..11, None);
        let found = lab.director.flows.refusals.take(lab.turn.now);
        assert_eq!(found.iter().map(|(_, sign)| *sign).collect::<Vec<_>>(), [Sign::Silent], "{method}");
    }
}

#[test]
fn a_server_that_answers_syns_is_not_silent_whatever_clients_do_then() {
    // A flood of forged addresses, sent twice: the server is alive and answers each.
    let mut lab = watched("-m");
    open_patiently(&mut lab, 0..40, Some("SA"));
    assert!(!accused(&mut lab), "clients that do not hear the answers");
    // Sent again at once, or once only: no sign of anything.
    let mut lab = watched("-m");
    for number in 0..40 {
        open(&mut lab, &client(number, 4000), None, None);
        open(&mut lab, &client(number, 4000), None, None);
    }
    lab.advance(std::time::Duration::from_secs(5));
    (40..80).for_each(|number| open(&mut lab, &client(number, 4000), None, None));
    assert!(!accused(&mut lab), "clients that are in a hurry");
    // Where replies do not pass here, nobody knows.
    let mut lab = watched("-g");
    open_patiently(&mut lab, 0..40, None);
    assert!(!accused(&mut lab), "direct routing");
    // More have been accepted than were left without an answer.
    let mut lab = watched("-m");
    open_patiently(&mut lab, 0..4, None);
    (50..60).for_each(|number| open(&mut lab, &client(number, 4000), Some("SA"), Some("A")));
    open_patiently(&mut lab, 10..14, None);
    assert!(!accused(&mut lab), "a server that has lost a few SYNs");
}

#[test]
fn resets_that_answer_three_clients_five_times_count_and_are_counted_anew() {
    let mut lab = watched("-m");
    for round in 0..2_u16 {
        for port in 0..5 {
            assert!(!accused(&mut lab), "after {port}");
            open(&mut lab, &client(port as u8 % 3, 4000 + 10 * round + port), Some("RA"), None);
        }
        assert!(accused(&mut lab), "round {round}");
    }
}

#[test]
fn nothing_counts_that_clients_can_bring_about() {
    for (server, then) in
        [(None, None), (None, Some("R")), (None, Some("")), (Some("SA"), Some("R")), (Some("SA"), Some("A"))]
    {
        let mut lab = watched("-m");
        (0..40).for_each(|number| open(&mut lab, &client(number, 4000), server, then));
        assert!(!accused(&mut lab), "{server:?}, then {then:?}");
    }
    // One client, or two, may be at fault themselves.
    let mut lab = watched("-m");
    (0..40).for_each(|port| open(&mut lab, &client(port as u8 % 2, 4000 + port), Some("RA"), None));
    assert!(!accused(&mut lab), "two clients");
}

#[test]
fn a_server_that_accepts_more_than_it_refuses_is_not_accused() {
    let mut lab = watched("-m");
    open(&mut lab, &client(1, 4000), Some("RA"), None);
    for number in 0..20 {
        open(&mut lab, &client(number, 5000), Some("SA"), Some("A"));
        open(&mut lab, &client(number, 5001), Some("SA"), Some("A"));
        open(&mut lab, &client(number, 5002), Some("RA"), None);
    }
    assert!(!accused(&mut lab));
    lab.advance(std::time::Duration::from_secs(11));
    lab.director.flows.refusals.take(lab.turn.now);
    assert!(!lab.director.flows.refusals.any(), "what is old is forgotten");
}

#[test]
fn established_conns_that_are_reset_do_not_count() {
    let mut lab = watched("-m");
    for number in 0..20 {
        open(&mut lab, &client(number, 4000), Some("SA"), Some("A"));
        lab.real(&Packet::tcp(RS1, &client(number, 4000), "R"));
    }
    assert!(!accused(&mut lab));
}

#[test]
fn icmp_errors_count_that_answer_what_opens_but_not_those_about_size() {
    let wanted =
        [("-t", (3, 3, 0), true), ("-t", (3, 1, 0), true), ("-t", (3, 13, 0), true), ("-t", (3, 4, 1400), false)];
    let wanted = wanted.into_iter().chain([("-u", (3, 3, 0), true), ("-t", (11, 0, 0), false)]);
    for (proto, error, counts) in wanted {
        let mut lab = Lab::new(&format!("{} -m", ONE.replace("-t", proto)));
        lab.director.flows.refusals.watch(true);
        for number in 0..5 {
            let from = client(number, 4000);
            let packet = if proto == "-t" { Packet::tcp(&from, VIP, "S") } else { Packet::udp(&from, VIP) };
            lab.client(&packet);
            let about = packet.to(RS1).one_hop_on();
            let told = lab.real(&Packet::icmp_about("10.0.0.21", &format!("192.0.2.{number}"), error, &about));
            assert_eq!(told.len(), 1, "the client is told: {error:?}");
        }
        assert_eq!(accused(&mut lab), counts, "{proto} {error:?}");
    }
    // What concerns a conn that is open says nothing of the server as a whole.
    let mut lab = watched("-m");
    for number in 0..5 {
        let from = client(number, 4000);
        open(&mut lab, &from, Some("SA"), Some("A"));
        let about = Packet::tcp(&from, RS1, "A").one_hop_on();
        lab.real(&Packet::icmp_about("10.0.0.21", &format!("192.0.2.{number}"), (3, 1, 0), &about));
    }
    assert!(!accused(&mut lab));
}
