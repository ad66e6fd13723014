//! The whole table for a director that begins, and FULL-NAT.

use super::*;

#[test]
fn a_director_that_begins_is_told_the_whole_table() {
    let mut old = one_of_pair(SERVICE);
    establish_many(&mut old, 2500);
    old.client(&packet("S").from("192.0.2.8:1"));
    let mut new = lab(&[SERVICE]);
    PAIR.iter().for_each(|daemon| new.rules(daemon));
    talk(&mut old, &mut new, Duration::from_secs(1));
    let report = new.director.sync.report(new.turn.now);
    assert_eq!((new.director.flows.conns.len(), report.heard_records, report.asking), (2500, 2500, false));
    new.recount().unwrap();
    // One that has lost messages asks again until it has all.
    let mut lossy = lab(&[SERVICE]);
    PAIR.iter().for_each(|daemon| lossy.rules(daemon));
    let asks = messages(&lossy.advance(Duration::from_millis(1)));
    let mut answers = messages(&old.frame(&asks[0]));
    (0..60).for_each(|_| answers.extend(messages(&old.advance(Duration::from_millis(10)))));
    answers.remove(5);
    answers.iter().for_each(|message| drop(lossy.frame(message)));
    assert!(lossy.director.flows.conns.len() < 2500 && lossy.director.sync.report(lossy.turn.now).asking);
    talk(&mut old, &mut lossy, Duration::from_secs(2));
    assert_eq!(lossy.director.flows.conns.len(), 2500);
    assert!(!lossy.director.sync.report(lossy.turn.now).asking);
}

#[test]
fn a_table_is_told_at_a_pace_and_a_lone_director_soon_stops_asking() {
    let mut old = one_of_pair(SERVICE);
    assert!(!old.director.sync.report(old.turn.now).asking, "nobody has answered");
    establish_many(&mut old, 5000);
    let mut new = lab(&[SERVICE]);
    PAIR.iter().for_each(|daemon| new.rules(daemon));
    let asks = messages(&new.advance(Duration::from_millis(1)));
    assert_eq!(messages(&old.frame(&asks[0])).len(), 1, "it has heard");
    // A million in less than ten seconds is a thousand in ten milliseconds.
    let bursts: Vec<usize> = (0..6).map(|_| messages(&old.advance(Duration::from_millis(10))).len()).collect();
    assert!(bursts.iter().all(|count| *count <= 1200 / 40 + 2), "{bursts:?}");
    assert!(bursts[..4].iter().all(|count| *count >= 1000 / 41), "{bursts:?}");
    assert_eq!(bursts[5], 0);
}

#[test]
fn a_director_that_has_another_reason_to_ask_is_not_told_anew() {
    let mut old = one_of_pair(SERVICE);
    establish_many(&mut old, 5000);
    let mut new = lab(&[SERVICE]);
    PAIR.iter().for_each(|daemon| new.rules(daemon));
    let asks = messages(&new.advance(Duration::from_millis(1)));
    let mut answers = messages(&old.frame(&asks[0]));
    // An address goes to the other one now, and a second one soon after.
    new.director.sync.ask();
    (0..8).for_each(|_| answers.extend(messages(&old.advance(Duration::from_millis(10)))));
    answers.iter().for_each(|message| drop(new.frame(message)));
    let report = new.director.sync.report(new.turn.now);
    assert_eq!((report.heard_records, report.asking), (5000, false));
    assert!(messages(&new.advance(Duration::from_secs(2))).is_empty(), "it asks no more");
}

const FULL_NAT: &str = "-A -t 198.51.100.1:80 -s rr\n-P -t 198.51.100.1:80 -z 10.0.0.9\n\
                        -a -t 198.51.100.1:80 -r 10.0.0.21:8080 -b\n";

#[test]
fn a_conn_of_full_nat_goes_on_at_the_other_director_with_its_port_and_numbers() {
    let settings = || Settings { icmp_rate: 0, ..Settings::default() };
    let with = |rules: &[&str]| Lab::with(settings(), &rules.concat());
    let (mut one, mut other) = (with(&[FULL_NAT, PAIR[0], PAIR[1]]), with(&[FULL_NAT, PAIR[0], PAIR[1]]));
    talk(&mut one, &mut other, Duration::from_secs(4));
    let syn = one.client(&packet("S"))[0].packet();
    let local = syn.src.to_string();
    one.real(&Packet::tcp(RS1, &local, "SA"));
    (0..2).for_each(|_| drop(one.client(&packet("A"))));
    talk(&mut one, &mut other, Duration::from_secs(3));
    let on = packet("A").carrying("more");
    let (here, there) = (one.client(&on), other.client(&on));
    assert_eq!(here[0].packet().src, there[0].packet().src, "the local port");
    assert_eq!(here[0].bytes[14..], there[0].bytes[14..], "and the sequence numbers");
    let reply = Packet::tcp(RS1, &local, "A").carrying("yes");
    assert_eq!(one.real(&reply), other.real(&reply));
    // A kernel's backup, which reads no message of this kind, sees none of it.
    let mut seen = std::collections::HashSet::from([syn.src.port]);
    for port in 5000..5100 {
        let sent = other.client(&packet("S").from(&format!("192.0.2.9:{port}")));
        assert!(seen.insert(sent[0].packet().src.port), "a port twice");
    }
    // What ends here gives its port back.
    other.advance(Duration::from_secs(2000));
    assert_eq!(other.director.flows.conns.len(), 0);
}
