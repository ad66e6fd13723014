//! Virtual addresses that move between directors: who answers for them, and what a change looks like on the link.

use std::time::Duration;

use super::steps::establish;
use super::{CLIENT, VIP};
use crate::base::{Family, LinkId, Mac, Proto};
use crate::sched::Mask;
use crate::service::command::ServiceKey;
use crate::service::{Ending, Judgement, Quorum};
use crate::testing::{DIRECTOR, Frame, Kind, LINK, Lab, Packet, ROUTER, endpoint, hex};
use crate::vrrp::{Options, Rank, Track, Tracked};
use crate::wire::Vnet;
use crate::wire::vrrp::{Covers, Version};

/// What keepalived 2.2.7 sends for virtual router 51 at priority 150 and 100, and when it leaves.
const BETTER: &str = "21339601010101110a0900647365637265740000";
const EQUAL: &str = "21336401010133110a0900647365637265740000";
const LEAVES: &str = "21330001010197110a0900647365637265740000";
/// As if from the owner of the addresses.
const STRANGER: &str = "2133ff01010198100a0900647365637265740000";
const VIRTUAL: Mac = Mac([0, 0, 0x5e, 0, 1, 51]);
const GROUP: Mac = Mac([1, 0, 0x5e, 0, 0, 18]);
/// The group of connection synchronisation.
const SYNC: Mac = Mac([1, 0, 0x5e, 0, 0, 0x51]);

fn options() -> Options {
    let rank = Rank {
        priority: 100,
        interval: Duration::from_secs(1),
        preempt: false,
        preempt_delay: Duration::ZERO,
        is_v2: true,
    };
    Options {
        link: LINK,
        id: 51,
        version: Version::V2(Some(*b"secret\0\0")),
        rank,
        family: Family::V4,
        addresses: vec!["198.51.100.1".parse().unwrap()],
        follows: false,
        peers: Vec::new(),
        from: Vec::new(),
        accept: true,
        virtual_mac: true,
        covers: Covers::default(),
        tracks: Vec::new(),
        group: None,
        notify: Vec::new(),
        user: None,
    }
}

fn lab(options: &Options) -> Lab {
    let mut lab = Lab::new(&format!("-A -t {VIP} -s rr\n-a -t {VIP} -r 10.0.0.21:8080 -m"));
    lab.director.presence().set_vrrp(vec![options.clone()]);
    assert!(asks(&mut lab).is_empty(), "mute before the first tick");
    lab.advance(Duration::ZERO);
    lab.take_moved();
    lab
}

/// An advertisement from 10.0.0.3.
fn advert(payload: &str) -> Packet {
    let packet = Packet::new("10.0.0.3:0", "224.0.0.18:0", Kind::Other(112)).carrying(hex(payload));
    Packet { ttl: 255, ..packet }
}

fn hears(lab: &mut Lab, packet: &Packet) -> Vec<Frame> {
    lab.frame(&packet.frame(Mac([0, 0, 0x5e, 0, 1, 51]), GROUP))
}

fn state(lab: &Lab) -> String {
    lab.director.vrrp.reports().next().unwrap().state
}

/// An ARP request for the virtual address.
fn asks(lab: &mut Lab) -> Vec<Frame> {
    let parts: [&[u8]; 8] = [
        &[0xff; 6],
        &ROUTER.0,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &ROUTER.0,
        &[10, 0, 0, 1],
        &[0; 6],
        &[198, 51, 100, 1],
        &[0; 18],
    ];
    lab.arrive(LinkId(0), &parts.concat(), Vnet::default())
}

#[test]
fn a_backup_is_mute_and_takes_over_at_the_virtual_mac() {
    let mut lab = lab(&options());
    assert!(asks(&mut lab).is_empty());
    let syn = Packet::tcp(CLIENT, VIP, "S");
    assert!(lab.client(&syn).is_empty(), "frames that bridges flood");
    assert_eq!(lab.take_moved(), "dropped.standby=2");
    assert!(lab.frame(&syn.frame(ROUTER, VIRTUAL)).is_empty());
    assert_eq!(lab.take_moved(), "dropped.not-for-us=1", "the MAC is another director's now");

    let sent = lab.advance(Duration::from_millis(3610));
    assert_eq!(state(&lab), "active");
    let advert = sent[0].packet();
    assert_eq!(sent[0].bytes[..12], [GROUP.0, VIRTUAL.0].concat());
    assert_eq!((advert.src.addr.to_string(), advert.ttl, advert.kind), ("10.0.0.2".into(), 255, Kind::Other(112)));
    assert_eq!(
        advert.payload[..8],
        hex("2133640101013311")[..4].iter().chain(&advert.payload[4..8]).copied().collect::<Vec<_>>()[..]
    );
    let announced = &sent[1].bytes;
    assert_eq!(
        (&announced[..14], &announced[22..28]),
        (&[&[0xff; 6], &VIRTUAL.0[..], &[8, 6]].concat()[..], &VIRTUAL.0[..])
    );

    let answer = asks(&mut lab);
    assert_eq!(answer[0].bytes[22..28], VIRTUAL.0, "the answer shows the virtual MAC");
    let served = lab.frame(&syn.frame(ROUTER, VIRTUAL));
    assert_eq!(served[0].packet().dst.addr.to_string(), "10.0.0.21");
    assert_eq!(served[0].bytes[6..12], DIRECTOR.0, "what is forwarded has the link's own MAC");
}

#[test]
fn an_active_one_yields_to_a_better_one_and_insists_against_a_worse() {
    let mut lab = lab(&options());
    lab.advance(Duration::from_secs(4));
    lab.take_moved();
    let worse = Packet { src: endpoint("10.0.0.1:0"), ..advert(EQUAL) };
    let sent = hears(&mut lab, &worse);
    assert_eq!((sent.len(), state(&lab).as_str()), (2, "active"), "an advertisement and an announcement");
    assert_eq!(hears(&mut lab, &worse).len(), 1, "announced once an interval");
    assert!(hears(&mut lab, &advert(EQUAL)).is_empty(), "10.0.0.3 is more than 10.0.0.2");
    assert_eq!((state(&lab).as_str(), lab.take_moved().as_str()), ("backup", "consumed.vrrp-advertisement=3"));
    assert!(asks(&mut lab).is_empty());
    assert!(lab.advance(Duration::from_millis(3600)).is_empty(), "nothing is announced any more");
    hears(&mut lab, &advert(BETTER));
    lab.advance(Duration::from_millis(3500));
    hears(&mut lab, &advert(LEAVES));
    assert_eq!(state(&lab), "backup");
    lab.advance(Duration::from_millis(610));
    assert_eq!(state(&lab), "active", "it left: the skew is enough");
}

#[test]
fn false_advertisements_change_nothing_and_are_counted() {
    let mut lab = lab(&options());
    lab.advance(Duration::from_secs(4));
    lab.take_moved();
    let good = advert(BETTER);
    let payload = |at: usize, byte: u8| {
        let mut bytes = hex(BETTER);
        bytes[at] = byte;
        good.clone().carrying(bytes)
    };
    for (packet, reason) in [
        (Packet { ttl: 254, ..good.clone() }, "ttl"),
        (payload(7, 0), "checksum"),
        (payload(0, 0x31), "length"),
        (payload(0, 0x41), "version"),
        (payload(3, 9), "length"),
        (advert(STRANGER), "owner"),
        (advert("2133960101016d770a090064736563726574ffff"), "checksum"),
        (advert("2133960100013e5d0a0900640000000000000000"), "password"),
        (Packet { src: endpoint("10.0.0.2:0"), ..good.clone() }, "own-address"),
    ] {
        let count = |lab: &Lab| lab.director.vrrp.reports().next().unwrap().refused.get(reason).copied().unwrap_or(0);
        let before = count(&lab);
        assert!(hears(&mut lab, &packet).is_empty(), "{reason}");
        assert_eq!((count(&lab), state(&lab).as_str()), (before + 1, "active"), "{reason}");
        assert_eq!(lab.take_moved(), "dropped.vrrp=1", "{reason}");
    }
    hears(&mut lab, &payload(1, 52));
    assert_eq!(
        (state(&lab).as_str(), lab.take_moved().as_str()),
        ("active", "dropped.vrrp=1"),
        "another virtual router"
    );
    let refused = |lab: &Lab, why: &str| lab.director.vrrp.reports().next().unwrap().refused.get(why).copied();
    assert_eq!(refused(&lab, "id"), Some(1));
    hears(&mut lab, &good);
    assert_eq!(state(&lab), "backup");

    // Where the others are named, nobody else is heeded; whoever is named may have any priority.
    let mut lab = self::lab(&Options { from: vec!["10.0.0.4".parse().unwrap()], ..options() });
    lab.advance(Duration::from_secs(4));
    hears(&mut lab, &good);
    assert_eq!((state(&lab).as_str(), refused(&lab, "stranger")), ("active", Some(1)));
    hears(&mut lab, &Packet { src: endpoint("10.0.0.4:0"), ..advert(STRANGER) });
    assert_eq!(state(&lab), "backup");
}

#[test]
fn addresses_of_services_that_come_later_move_with_the_others() {
    const LATER: &str = "198.51.100.8:80";
    let mut lab = lab(&Options { follows: true, addresses: Vec::new(), ..options() });
    let add = format!("-A -t {LATER} -s rr\n-a -t {LATER} -r 10.0.0.21:8080 -m");
    let syn = Packet::tcp(CLIENT, LATER, "S");
    assert!(asks(&mut lab).is_empty(), "a backup is mute for what there was");
    lab.rules(&add);
    assert!(lab.client(&syn).is_empty() && lab.advance(Duration::from_secs(1)).is_empty(), "and for what comes");
    assert_eq!(lab.take_moved(), "dropped.standby=2");

    let sent = lab.advance(Duration::from_secs(3));
    assert_eq!(state(&lab), "active");
    assert_eq!(lab.director.vrrp.reports().next().unwrap().addresses.len(), 2);
    let announced = |sent: &[Frame], last: u8| {
        let of = |frame: &&Frame| frame.bytes[12..14] == [8, 6] && frame.bytes[28..32] == [198, 51, 100, last];
        sent.iter().filter(of).map(|frame| Mac(frame.bytes[22..28].try_into().unwrap())).collect::<Vec<_>>()
    };
    assert!(announced(&sent, 8).contains(&VIRTUAL));
    assert_eq!(lab.frame(&syn.frame(ROUTER, VIRTUAL)).len(), 1);
    // And while it is active.
    lab.rules("-A -t 198.51.100.9:80 -s rr\n-a -t 198.51.100.9:80 -r 10.0.0.21:8080 -m");
    let sent = lab.advance(Duration::from_millis(200));
    assert!(announced(&sent, 9).contains(&VIRTUAL) && announced(&sent, 8).is_empty(), "the new one alone");
    let advert = lab.advance(Duration::from_secs(1));
    let advert = advert.iter().find(|frame| frame.to() == GROUP).unwrap().packet();
    assert_eq!(advert.payload[3], 3, "all are advertised");
    lab.rules("-D -t 198.51.100.9:80");
    lab.advance(Duration::from_millis(200));
    assert!(!lab.director.owns("198.51.100.9".parse().unwrap()));
    // Nobody follows where the addresses are named.
    let mut lab = self::lab(&options());
    lab.rules(&add);
    assert_eq!(lab.client(&syn).len(), 1, "it does not move");
}

#[test]
fn a_frozen_director_does_not_begin_with_what_has_waited() {
    let mut lab = lab(&options());
    lab.advance(Duration::from_secs(4));
    lab.take_moved();
    lab.turn.now = lab.turn.now + Duration::from_secs(60);
    assert!(lab.director.vrrp.has_overslept(lab.turn.now));
    lab.director.tick(&mut lab.turn);
    lab.turn.out.take();
    assert!(lab.client(&Packet::tcp(CLIENT, VIP, "S")).is_empty());
    let worse = Packet { src: endpoint("10.0.0.1:0"), ..advert(EQUAL) };
    assert!(hears(&mut lab, &worse).is_empty(), "another one has the addresses");
    lab.advance(Duration::from_secs(3));
    assert_eq!(state(&lab), "backup");
    lab.advance(Duration::from_secs(1));
    assert_eq!(state(&lab), "active");
}

#[test]
fn an_address_that_accepts_nothing_else_serves_all_the_same() {
    for accept in [true, false] {
        let mut lab = lab(&Options { accept, ..options() });
        lab.advance(Duration::from_secs(4));
        lab.take_moved();
        let sends = |lab: &mut Lab, packet: Packet| lab.frame(&packet.frame(ROUTER, VIRTUAL)).len();
        let echo = Packet::new("192.0.2.7:0", "198.51.100.1:0", Kind::Other(1)).carrying(hex("0800f7ff00000000"));
        assert_eq!(sends(&mut lab, echo), usize::from(accept));
        assert_eq!(sends(&mut lab, Packet::tcp(CLIENT, "198.51.100.1:81", "S")), usize::from(accept), "a reset");
        assert_eq!(sends(&mut lab, Packet::tcp(CLIENT, VIP, "A")), 1, "a reset");
        assert_eq!(sends(&mut lab, Packet::tcp(CLIENT, VIP, "S")), 1, "to the server");
        assert_eq!(asks(&mut lab).len(), 1, "ARP is answered");
        assert_eq!(lab.take_moved().contains("dropped.not-for-us=2"), !accept);
    }
}

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

#[test]
fn routers_that_stay_keep_their_state_over_other_options() {
    let mut lab = lab(&options());
    lab.advance(Duration::from_secs(4));
    let more = Options { addresses: vec!["198.51.100.9".parse().unwrap()], virtual_mac: false, ..options() };
    lab.director.presence().set_vrrp(vec![more.clone()]);
    let sent = lab.advance(Duration::ZERO);
    assert_eq!(state(&lab), "active");
    assert!(lab.director.owns(more.addresses[0]) && sent.len() >= 2, "old and new are announced");
    assert_eq!(asks(&mut lab)[0].bytes[22..28], DIRECTOR.0, "the old one is the service's own again");
    lab.director.presence().set_vrrp(Vec::new());
    let sent = lab.advance(Duration::ZERO);
    assert!(!lab.director.owns(more.addresses[0]) && lab.director.vrrp.reports().next().is_none());
    assert_eq!(sent[0].packet().payload[2], 0, "the others are told");
}

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
