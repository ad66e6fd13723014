//! What becomes of conns, templates and flows when checks say that a server has failed.

use std::time::Duration;

use super::steps::{NAT, establish, served_by, syn_from};
use super::{CLIENT, VIP};
use crate::base::{Endpoint, Proto};
use crate::sched::Mask;
use crate::service::command::ServiceKey;
use crate::service::{Ending, Judgement};
use crate::testing::{Lab, Packet, endpoint};

/// Checks say this of the server with that last byte.
fn judge(lab: &mut Lab, proto: Proto, last: u8, mask: Mask, ending: Ending) {
    let real: Endpoint = endpoint(&format!("10.0.0.{last}:8080"));
    let key = ServiceKey::Address(proto, endpoint(VIP));
    lab.director.flows.judge(key, real, Judgement { mask, ending, ..Judgement::default() });
}

fn failed(lab: &mut Lab, proto: Proto, last: u8) {
    judge(lab, proto, last, Mask::Failed, Ending::Reschedule);
}

#[test]
fn a_failed_server_gets_no_new_conns_and_a_syn_that_waits_goes_elsewhere() {
    let mut lab = Lab::new(NAT);
    assert_eq!(served_by(&mut lab, &syn_from(4000)), 22);
    failed(&mut lab, Proto::TCP, 22);
    assert_eq!(served_by(&mut lab, &syn_from(4000)), 21, "sent again, it is scheduled anew");
    for port in 5000..5008 {
        assert_eq!(served_by(&mut lab, &syn_from(port)), 21);
    }
    judge(&mut lab, Proto::TCP, 22, Mask::None, Ending::None);
    let served: Vec<u8> = (6000..6004).map(|port| served_by(&mut lab, &syn_from(port))).collect();
    assert_eq!(served.iter().filter(|last| **last == 22).count(), 2, "it is back in its place: {served:?}");
}

/// Schedulers that keep a client with its server: who has another one keeps that.
#[test]
fn hash_schedulers_move_only_the_clients_of_the_failed_server() {
    let third = "\n-a -t 198.51.100.1:80 -r 10.0.0.23:8080 -m\n";
    for scheduler in ["mh", "sh", "dh", "mh -b mh-port", "sh -b sh-port", "mh -b mh-fallback"] {
        let mut lab = Lab::new(&(NAT.replace("-s rr", &format!("-s {scheduler}")) + third));
        let served = |lab: &mut Lab, round: u16| -> Vec<u8> {
            let syn = |client: u8| Packet::tcp(&format!("192.0.2.{client}:{}", 4000 + round), VIP, "S");
            (1..=200).map(|client| served_by(lab, &syn(client))).collect()
        };
        // Where ports count, a client is one only with the same port, whose last conn must be over.
        let step = u16::from(!scheduler.ends_with("port"));
        let over = |lab: &mut Lab| assert_eq!(lab.advance(Duration::from_secs(200)).len(), 0);
        let before = served(&mut lab, 0);
        over(&mut lab);
        failed(&mut lab, Proto::TCP, 22);
        let masked = served(&mut lab, step);
        over(&mut lab);
        judge(&mut lab, Proto::TCP, 22, Mask::None, Ending::None);
        let back = served(&mut lab, 2 * step);
        for (client, (before, masked)) in before.iter().zip(&masked).enumerate() {
            assert_ne!(*masked, 22, "{scheduler}: client {client} of a failed server");
            assert!(
                *before == 22 || before == masked,
                "{scheduler}: client {client} was moved from {before} to {masked}"
            );
        }
        assert_eq!(back, before, "{scheduler}: all are where they were");
        // dh goes by the service's address, which is one.
        assert!(scheduler == "dh" || before.iter().filter(|last| **last == 22).count() > 20, "{scheduler}: {before:?}");
    }
}

#[test]
fn an_established_conn_waits_for_its_server_and_then_ends() {
    for (ending, goes_on) in
        [(Ending::None, true), (Ending::Reschedule, true), (Ending::Drop, false), (Ending::Reset, false)]
    {
        let mut lab = Lab::new(NAT);
        lab.director.flows.prepare_resets();
        assert_eq!(establish(&mut lab, 4000), 22);
        let data = Packet::tcp(CLIENT, VIP, "A");
        judge(&mut lab, Proto::TCP, 22, Mask::Failed, ending);
        let told = lab.advance(Duration::from_millis(10));
        assert_eq!(told.len(), if ending == Ending::Reset { 2 } else { 0 }, "{ending:?}: resets");
        assert_eq!(lab.conn_of(&data).is_some(), goes_on, "{ending:?}");
    }
}

#[test]
fn datagrams_of_a_known_flow_go_elsewhere_at_once() {
    let mut lab = Lab::new(&NAT.replace("-t", "-u"));
    let datagram = Packet::udp(CLIENT, VIP);
    assert_eq!(served_by(&mut lab, &datagram), 22);
    judge(&mut lab, Proto::UDP, 22, Mask::Drained, Ending::None);
    assert_eq!(served_by(&mut lab, &datagram), 22, "a drained server keeps what it has");
    failed(&mut lab, Proto::UDP, 22);
    assert_eq!(served_by(&mut lab, &datagram), 21);
}

#[test]
fn a_persistent_client_goes_elsewhere_when_its_server_fails_but_not_when_it_is_drained() {
    let mut lab = Lab::new(&NAT.replace("-s rr", "-s rr -p 100"));
    assert_eq!(served_by(&mut lab, &syn_from(4000)), 22);
    judge(&mut lab, Proto::TCP, 22, Mask::Drained, Ending::None);
    assert_eq!(served_by(&mut lab, &syn_from(4001)), 22);
    failed(&mut lab, Proto::TCP, 22);
    assert_eq!(served_by(&mut lab, &syn_from(4002)), 21);
    assert_eq!(served_by(&mut lab, &syn_from(4003)), 21);
}

/// A template is put aside only for a client that comes while its server is down; conns end, templates do not.
#[test]
fn templates_of_a_failed_server_wait_for_its_return() {
    let mut lab = Lab::new(&NAT.replace("-s rr", "-s rr -p 300"));
    let from = |client: u8, port: u16| Packet::tcp(&format!("192.0.2.{client}:{port}"), VIP, "S");
    let before: Vec<u8> = (10..20).map(|client| served_by(&mut lab, &from(client, 4000))).collect();
    assert!(before.contains(&21) && before.contains(&22), "{before:?}");
    for ending in [Ending::Reschedule, Ending::Drop] {
        judge(&mut lab, Proto::TCP, 22, Mask::Failed, ending);
        lab.advance(Duration::from_secs(10));
    }
    assert!(lab.conn_of(&from(11, 4000)).is_none_or(|_| before[1] == 21), "conns of the failed server have ended");
    assert_eq!(served_by(&mut lab, &from(10, 4001)), 21);
    judge(&mut lab, Proto::TCP, 22, Mask::None, Ending::None);
    let after: Vec<u8> = (11..20).map(|client| served_by(&mut lab, &from(client, 4002))).collect();
    assert_eq!(after, before[1..], "clients that did not come meanwhile");
    assert_eq!(served_by(&mut lab, &from(10, 4003)), 21, "the one that did");
    lab.recount().unwrap();
}

#[test]
fn resets_are_paced_and_stop_when_the_server_is_back() {
    let mut lab = Lab::new(NAT);
    lab.director.flows.prepare_resets();
    let served: Vec<u8> = (4000..5000).map(|port| establish(&mut lab, port)).collect();
    assert_eq!(served.iter().filter(|last| **last == 22).count(), 500);
    judge(&mut lab, Proto::TCP, 22, Mask::Failed, Ending::Reset);
    let (mut told, began) = (0, lab.turn.now);
    while told < 600 {
        let resets = lab.advance(Duration::from_millis(1)).len();
        assert!(resets <= 200, "{resets} frames in a millisecond");
        told += resets;
    }
    let took = lab.turn.now.since(began);
    assert!((20..=40).contains(&took.as_millis()), "300 conns, two ends each, in {took:?}");
    judge(&mut lab, Proto::TCP, 22, Mask::None, Ending::None);
    assert_eq!(lab.advance(Duration::from_secs(1)).len(), 0, "the rest goes on");
    let left = (4000..5000).filter(|port| lab.conn_of(&Packet::tcp(&format!("192.0.2.7:{port}"), VIP, "A")).is_some());
    assert_eq!(left.count(), 700);
    lab.recount().unwrap();
}
