//! What virtual routers look at besides advertisements: quorums, neighbours, and the other routers of their group.

use std::time::Duration;

use super::VIP;
use super::vrrp::{BETTER, advert, asks, hears, lab, options, state};
use crate::base::{LinkId, Mac, Proto};
use crate::service::Quorum;
use crate::service::command::ServiceKey;
use crate::testing::{DIRECTOR, Frame, Lab, endpoint};
use crate::vrrp::{Options, Track, Tracked};
use crate::wire::Vnet;

fn with_tracks(weight: i16) -> Options {
    let what = Tracked::Service(ServiceKey::Address(Proto::TCP, endpoint(VIP)));
    Options { tracks: vec![Track { what, weight }], notify: vec!["/bin/tell".into()], ..options() }
}

/// Checks have lost or found the service's quorum.
fn quorum(lab: &mut Lab, quorum: Quorum) -> Vec<Frame> {
    lab.director.flows.services.set_lost(ServiceKey::Address(Proto::TCP, endpoint(VIP)), quorum);
    lab.advance(Duration::ZERO)
}

fn notices(lab: &mut Lab) -> Vec<String> {
    std::iter::from_fn(|| lab.director.vrrp.take_notice()).map(|(words, _)| words.join(" ")).collect()
}

#[test]
fn a_lost_quorum_is_a_fault_or_lowers_the_priority() {
    let mut lab = lab(&with_tracks(0));
    lab.advance(Duration::from_secs(4));
    assert_eq!((state(&lab), notices(&mut lab)), ("active".into(), vec!["/bin/tell INSTANCE 51 MASTER 100".into()]));
    let sent = quorum(&mut lab, Quorum::Lost);
    assert_eq!((sent[0].packet().payload[2], state(&lab)), (0, "fault".into()), "others take over at once");
    assert_eq!(notices(&mut lab), ["/bin/tell INSTANCE 51 FAULT 100"]);
    assert!(asks(&mut lab).is_empty());
    assert!(lab.advance(Duration::from_secs(60)).is_empty(), "however long");
    quorum(&mut lab, Quorum::There);
    assert_eq!((state(&lab), notices(&mut lab)), ("backup".into(), vec!["/bin/tell INSTANCE 51 BACKUP 100".into()]));

    let mut lab = self::lab(&with_tracks(-60));
    lab.advance(Duration::from_secs(4));
    quorum(&mut lab, Quorum::Lost);
    let sent = lab.advance(Duration::from_secs(1));
    assert_eq!((sent[0].packet().payload[2], state(&lab)), (40, "active".into()));
    quorum(&mut lab, Quorum::There);
    assert_eq!(lab.advance(Duration::from_secs(1))[0].packet().payload[2], 100);
}

/// A neighbour's answer to an ARP request of the director.
fn answers(lab: &mut Lab, last: u8) {
    let mac = Mac([2, 0, 0, 0, 0, last]);
    let parts: [&[u8]; 7] =
        [&DIRECTOR.0, &mac.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &mac.0, &[10, 0, 0, last], &DIRECTOR.0, &[10, 0, 0, 2]];
    lab.arrive(LinkId(0), &parts.concat(), Vnet::default());
}

#[test]
fn a_neighbour_that_does_not_answer_is_a_failure_and_is_asked_all_the_time() {
    let what = Tracked::Neighbour { addr: "10.0.0.77".parse().unwrap(), interval: Duration::from_secs(1) };
    let mut lab = lab(&Options { tracks: vec![Track { what, weight: 0 }], ..options() });
    let second = Duration::from_secs(1);
    let asks =
        |sent: &[Frame]| sent.iter().filter(|frame| frame.bytes[12..14] == [8, 6] && frame.bytes[41] == 77).count();
    for _ in 0..10 {
        answers(&mut lab, 77);
        assert_eq!(asks(&lab.advance(second)), 1);
    }
    assert_eq!(state(&lab), "active");
    lab.advance(second * 3);
    assert_eq!(state(&lab), "fault");
    assert!(lab.director.vrrp.reports().next().unwrap().reason.contains("neighbour 10.0.0.77 does not answer"));
    assert!(asks(&lab.advance(second * 5)) >= 5);
    answers(&mut lab, 77);
    lab.advance(second);
    assert_eq!(state(&lab), "backup");

    // Behind a gateway it is the gateway that is asked, which is always there in the lab.
    let what = Tracked::Neighbour { addr: "203.0.113.9".parse().unwrap(), interval: second };
    let mut lab = self::lab(&Options { tracks: vec![Track { what, weight: 0 }], ..options() });
    lab.advance(second * 8);
    assert_eq!(state(&lab), "active");
}

#[test]
fn those_of_a_group_come_and_go_together() {
    let one = Options { group: Some("pair".into()), ..options() };
    let addresses = vec!["198.51.100.7".parse().unwrap()];
    let two = Options { id: 52, addresses, notify: vec!["/bin/tell".into()], ..one.clone() };
    let mut lab = lab(&one);
    lab.director.presence().set_vrrp(vec![one, two]);
    let states = |lab: &Lab| lab.director.vrrp.reports().map(|report| report.state).collect::<Vec<_>>();
    // The second one has begun later, and the first one waits for it.
    lab.advance(Duration::from_secs(1));
    hears(&mut lab, &advert(BETTER));
    lab.advance(Duration::from_millis(3500));
    assert_eq!(states(&lab), ["backup", "backup"], "another one has the first one's addresses");
    lab.advance(Duration::from_secs(2));
    assert_eq!(states(&lab), ["active", "active"]);
    hears(&mut lab, &advert(BETTER));
    assert_eq!(states(&lab), ["backup", "backup"], "the second one goes with the first");
}
