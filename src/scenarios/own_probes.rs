//! Health probes by the director's own packets: what leaves, and which answer counts.

use std::time::Duration;

use super::VIP;
use crate::base::{Endpoint, Family, Proto};
use crate::director::{Answer, OwnProbe, Settings};
use crate::service::command::ServiceKey;
use crate::testing::{DIRECTOR, Frame, Kind, LINK, Lab, Packet, endpoint, mac_of};
use crate::wire::Vnet;

/// A number that nobody can guess: the identifier 7 and the proof below.
const NONCE: u64 = 0x0102_0304_0000_0007;
const SEQ: u32 = 0x0102_0304;

fn probe(lab: &mut Lab, what: OwnProbe) -> Result<Vec<Frame>, &'static str> {
    lab.director.probe((1, NONCE), what, &mut lab.turn)?;
    assert!(lab.turn.ledger().balances(), "{}", lab.turn.ledger());
    Ok(lab.turn.out.take())
}

fn answers(lab: &mut Lab) -> Vec<(u64, Answer)> {
    std::iter::from_fn(|| lab.director.own_probes.take_answer()).collect()
}

fn path(vip: &str, real: &str) -> OwnProbe {
    OwnProbe::Path(ServiceKey::Address(Proto::TCP, endpoint(vip)), endpoint(real))
}

/// The answer to a segment.
fn answer(syn: &Packet, flags: &'static str) -> Packet {
    Packet { src: syn.dst, dst: syn.src, kind: Kind::Tcp(flags), ack: syn.seq.wrapping_add(1), ..syn.clone() }
}

fn real_says(lab: &mut Lab, last: u8, packet: &Packet) -> Vec<Frame> {
    let six = packet.src.addr.is_ipv6();
    let from = if six { format!("2001:db8::{last}") } else { format!("10.0.0.{last}") };
    lab.frame(&packet.frame(mac_of(from.parse().unwrap()), DIRECTOR))
}

#[test]
fn a_path_leads_to_the_server_by_its_method_and_back() {
    for (method, to_vip) in [("-g", true), ("-m", false), ("-i", true)] {
        let mut lab = Lab::new(&format!("-A -t {VIP} -s rr\n-a -t {VIP} -r 10.0.0.21:80 {method}"));
        let sent = probe(&mut lab, path(VIP, "10.0.0.21:80")).unwrap();
        let [frame] = &sent[..] else { panic!("{method}: {} frames", sent.len()) };
        assert_eq!(frame.to(), mac_of("10.0.0.21".parse().unwrap()), "{method}");
        let syn = if method == "-i" { frame.inner() } else { frame.packet() };
        let to = if to_vip { VIP } else { "10.0.0.21:80" };
        assert_eq!((syn.src, syn.dst), (endpoint("10.0.0.2:49159"), endpoint(to)), "{method}");
        assert_eq!((&syn.kind, syn.seq), (&Kind::Tcp("S"), SEQ), "{method}");
        lab.take_moved();

        let sent = real_says(&mut lab, 21, &answer(&syn, "SA"));
        assert_eq!(answers(&mut lab), [(1, Answer::Right)], "{method}");
        assert_eq!(lab.take_moved(), "consumed.probe-answer=1", "{method}");
        let [frame] = &sent[..] else { panic!("{method}: no reset") };
        let reset = if method == "-i" { frame.inner() } else { frame.packet() };
        assert_eq!((reset.src, reset.dst, reset.seq), (syn.src, syn.dst, SEQ + 1), "{method}");
        assert_eq!(reset.kind, Kind::Tcp("R"), "{method}");
    }
}

#[test]
fn a_path_of_ipv6_leads_back_too() {
    let (vip, real) = ("[2001:db8:5::1]:80", "[2001:db8::21]:80");
    let mut lab = Lab::new(&format!("-A -t {vip} -s rr\n-a -t {vip} -r {real} -g"));
    let syn = probe(&mut lab, path(vip, real)).unwrap()[0].packet();
    assert_eq!((syn.src, syn.dst), (endpoint("[2001:db8::2]:49159"), endpoint(vip)));
    real_says(&mut lab, 21, &answer(&syn, "SA"));
    assert_eq!(answers(&mut lab), [(1, Answer::Right)]);
}

#[test]
fn only_the_answer_to_the_syn_counts() {
    let mut lab = Lab::new(&format!("-A -t {VIP} -s rr\n-a -t {VIP} -r 10.0.0.21:80 -g"));
    let syn = probe(&mut lab, path(VIP, "10.0.0.21:80")).unwrap()[0].packet();
    lab.take_moved();
    let right = answer(&syn, "SA");
    for (packet, dropped) in [
        (Packet { ack: SEQ, ..right.clone() }, "dropped.martian=1"),
        (Packet { kind: Kind::Tcp("A"), ..right.clone() }, "dropped.martian=1"),
        (Packet { src: endpoint("198.51.100.1:81"), ..right.clone() }, "dropped.martian=1"),
        (Packet { dst: Endpoint { port: 49_160, ..right.dst }, ..right.clone() }, "dropped.martian=1"),
    ] {
        real_says(&mut lab, 21, &packet);
        assert_eq!((answers(&mut lab), lab.take_moved().as_str()), (vec![], dropped), "{packet:?}");
    }
    real_says(&mut lab, 21, &answer(&syn, "RA"));
    assert_eq!(answers(&mut lab), [(1, Answer::Refused)]);
    real_says(&mut lab, 21, &right);
    assert_eq!(answers(&mut lab), [], "an answer counts once");
}

#[test]
fn what_cannot_be_probed_is_said() {
    let rules = format!("-A -t {VIP} -s rr\n-a -t {VIP} -r 10.0.0.21:80 -g\n-A -f 5 -s rr\n-a -f 5 -r 10.0.0.21 -g");
    let mut lab = Lab::new(&rules);
    let mark = OwnProbe::Path(ServiceKey::Mark(Family::V4, 5), endpoint("10.0.0.21:80"));
    for (what, wanted) in [
        (mark, "a path is probed by TCP to a virtual address"),
        (path(VIP, "10.0.0.29:80"), "no such server"),
        (OwnProbe::Neighbour("192.0.2.7".parse().unwrap()), "behind a gateway"),
    ] {
        let said = probe(&mut lab, what).err().unwrap_or_default();
        assert!(said.contains(wanted), "{what:?}: {said}");
    }
}

#[test]
fn an_echo_must_bring_back_its_proof() {
    for (to, reply) in [("10.0.0.21", 0), ("2001:db8::21", 129)] {
        let mut lab = Lab::new("");
        let request = probe(&mut lab, OwnProbe::Echo(to.parse().unwrap())).unwrap()[0].packet();
        assert_eq!(request.payload, SEQ.to_be_bytes(), "{to}");
        lab.take_moved();
        let echo = Packet { kind: Kind::Icmp(reply, 0, [0, 7, 0, 0]), src: request.dst, dst: request.src, ..request };
        real_says(&mut lab, 21, &echo.clone().carrying([0; 4]));
        assert_eq!((answers(&mut lab), lab.take_moved().as_str()), (vec![], "dropped.local-icmp=1"), "{to}");
        real_says(&mut lab, 21, &echo);
        assert_eq!(
            (answers(&mut lab), lab.take_moved().as_str()),
            (vec![(1, Answer::Right)], "consumed.probe-answer=1")
        );
    }
}

#[test]
fn a_neighbour_is_solicited_though_it_is_known_and_its_word_counts() {
    let mut lab = Lab::without_neighbours(Settings::default(), "");
    for _ in 0..2 {
        let sent = probe(&mut lab, OwnProbe::Neighbour("10.0.0.21".parse().unwrap())).unwrap();
        assert!(!sent.is_empty() && sent.iter().all(|frame| frame.bytes[12..14] == [8, 6]), "{} frames", sent.len());
        assert_eq!(answers(&mut lab), []);
        arp_reply(&mut lab, [10, 0, 0, 22]);
        assert_eq!(answers(&mut lab), [], "another's word");
        arp_reply(&mut lab, [10, 0, 0, 21]);
        assert_eq!(answers(&mut lab), [(1, Answer::Right)]);
    }
}

/// An ARP reply of a server to the director.
fn arp_reply(lab: &mut Lab, sender: [u8; 4]) {
    let (mac, own) = (mac_of(sender.into()), DIRECTOR);
    let parts: [&[u8]; 8] =
        [&own.0, &mac.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &mac.0, &sender, &own.0, &[10, 0, 0, 2], &[0; 18]];
    lab.arrive(LINK, &parts.concat(), Vnet::default());
}

#[test]
fn nobody_who_stands_by_probes_and_what_is_forgotten_has_no_answer() {
    let mut lab = Lab::new(&format!("-A -t {VIP} -s rr\n-a -t {VIP} -r 10.0.0.21:80 -g"));
    let syn = probe(&mut lab, path(VIP, "10.0.0.21:80")).unwrap()[0].packet();
    lab.director.own_probes.forget(1);
    real_says(&mut lab, 21, &answer(&syn, "SA"));
    assert_eq!(answers(&mut lab), []);
    lab.director.presence().stand_by(true, lab.turn.now);
    lab.advance(Duration::from_secs(1));
    assert!(probe(&mut lab, path(VIP, "10.0.0.21:80")).is_err_and(|why| why.contains("stands by")));
}
