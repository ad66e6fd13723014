//! What becomes of conns when virtual addresses move: who is told of them, and that nobody resets another one's.

use std::time::Duration;

use super::VIP;
use super::steps::establish;
use super::vrrp::{BETTER, GROUP, advert, hears, lab, options, state};
use crate::base::{Mac, Proto};
use crate::sched::Mask;
use crate::service::command::ServiceKey;
use crate::service::{Ending, Judgement};
use crate::testing::{Frame, Lab, Packet, endpoint};
use crate::vrrp::{Options, Rank};

/// The group of connection synchronisation.
const SYNC: Mac = Mac([1, 0, 0x5e, 0, 0, 0x51]);

#[test]
fn what_becomes_of_conns_is_heard_as_soon_as_their_address_has_gone() {
    const DAEMONS: &str = "--start-daemon master --mcast-interface tap0\n--start-daemon backup --mcast-interface tap0";
    let (mut one, mut two) =
        (lab(&options()), lab(&Options { rank: Rank { priority: 90, ..options().rank }, ..options() }));
    let tell = |sent: &[Frame], to: &mut Lab| {
        sent.iter().filter(|frame| frame.to() == SYNC).for_each(|frame| _ = to.frame(&frame.bytes));
    };
    one.rules(DAEMONS);
    two.rules(DAEMONS);
    one.advance(Duration::from_secs(4));
    establish(&mut one, 4000);
    one.client(&Packet::tcp("192.0.2.7:4000", VIP, "A"));
    let sent = one.advance(Duration::from_millis(50));
    tell(&sent, &mut two);
    one.director.vrrp.give_up();
    one.advance(Duration::from_millis(1));
    two.advance(Duration::from_secs(9));
    assert_eq!(state(&two), "active");
    two.client(&Packet::tcp("192.0.2.7:4000", VIP, "FA"));
    let sent = two.advance(Duration::from_millis(50));
    tell(&sent, &mut one);
    assert_eq!(one.state_of(&Packet::tcp("192.0.2.7:4000", VIP, "A")), "CLOSE_WAIT");
}

#[test]
fn whoever_yields_tells_its_conns() {
    let mut lab = lab(&options());
    lab.rules("--start-daemon master --mcast-interface tap0\n--start-daemon backup --mcast-interface tap0");
    lab.advance(Duration::from_secs(9));
    establish(&mut lab, 4000);
    lab.client(&Packet::tcp("192.0.2.7:4000", VIP, "A"));
    lab.advance(Duration::from_secs(9));
    let sent = hears(&mut lab, &advert(BETTER));
    let to: Vec<_> = sent.iter().map(|frame| frame.to()).collect();
    assert_eq!((state(&lab).as_str(), to), ("backup", vec![SYNC]), "whatever was said before");
    assert_eq!(sent[0].packet().payload[2..5], [0, 8 + 36, 1], "one record");
}

#[test]
fn whoever_leaves_tells_the_others_and_a_conn_of_theirs_is_not_reset() {
    let mut lab = lab(&options());
    lab.advance(Duration::from_secs(4));
    assert_eq!(lab.director.vrrp.give_up(), 1);
    let sent = lab.advance(Duration::ZERO);
    assert_eq!((sent.len(), sent[0].packet().payload[2], state(&lab).as_str()), (1, 0, "backup"));
    assert_eq!(lab.director.vrrp.give_up(), 0);
    lab.advance(Duration::from_secs(4));
    assert_eq!(state(&lab), "active", "nobody else is there");
    lab.director.shut_down(&mut lab.turn);
    assert_eq!(lab.turn.out.take().pop().unwrap().packet().payload[2], 0);
}

#[test]
fn conns_are_told_before_their_addresses_are_given_up() {
    let mut lab = lab(&options());
    lab.rules("--start-daemon master --mcast-interface tap0");
    lab.advance(Duration::from_secs(4));
    let gives_up: [fn(&mut Lab) -> Vec<Frame>; 2] = [
        |lab| {
            lab.director.vrrp.give_up();
            lab.advance(Duration::ZERO)
        },
        |lab| {
            lab.director.shut_down(&mut lab.turn);
            lab.turn.out.take()
        },
    ];
    for (port, gives_up) in (4000..).zip(gives_up) {
        lab.advance(Duration::from_secs(4));
        assert_eq!(state(&lab), "active");
        establish(&mut lab, port);
        lab.client(&Packet::tcp(&format!("192.0.2.7:{port}"), VIP, "A"));
        let sent: Vec<_> = gives_up(&mut lab).iter().map(|frame| frame.to()).collect();
        assert_eq!(sent, [SYNC, GROUP]);
    }
}

#[test]
fn a_conn_that_another_director_has_is_not_reset_with_its_server() {
    for gives_up in [false, true] {
        let mut lab = lab(&options());
        lab.director.flows.prepare_resets();
        lab.advance(Duration::from_secs(4));
        establish(&mut lab, 4000);
        if gives_up {
            lab.director.vrrp.give_up();
            lab.advance(Duration::ZERO);
        }
        let key = ServiceKey::Address(Proto::TCP, endpoint(VIP));
        let failed = Judgement { mask: Mask::Failed, ending: Ending::Reset, ..Judgement::default() };
        lab.director.flows.judge(key, endpoint("10.0.0.21:8080"), failed);
        let resets = lab.advance(Duration::from_millis(10));
        assert_eq!(resets.len(), if gives_up { 0 } else { 2 });
        assert_eq!(lab.director.flows.conns.len(), 0);
    }
}
