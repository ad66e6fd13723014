//! Virtual addresses that move between directors: who answers for them, and what a change looks like on the link.

use std::time::Duration;

use super::{CLIENT, VIP};
use crate::base::{Family, LinkId, Mac};
use crate::testing::{DIRECTOR, Frame, Kind, LINK, Lab, Packet, ROUTER, endpoint, hex};
use crate::vrrp::{Options, Rank};
use crate::wire::Vnet;
use crate::wire::vrrp::{Covers, Version};

/// What keepalived 2.2.7 sends for virtual router 51 at priority 150 and 100, and when it leaves.
pub(super) const BETTER: &str = "21339601010101110a0900647365637265740000";
const EQUAL: &str = "21336401010133110a0900647365637265740000";
const LEAVES: &str = "21330001010197110a0900647365637265740000";
/// As if from the owner of the addresses.
const STRANGER: &str = "2133ff01010198100a0900647365637265740000";
pub(super) const VIRTUAL: Mac = Mac([0, 0, 0x5e, 0, 1, 51]);
pub(super) const GROUP: Mac = Mac([1, 0, 0x5e, 0, 0, 18]);

pub(super) fn options() -> Options {
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

pub(super) fn lab(options: &Options) -> Lab {
    let mut lab = Lab::new(&format!("-A -t {VIP} -s rr\n-a -t {VIP} -r 10.0.0.21:8080 -m"));
    lab.director.presence().set_vrrp(vec![options.clone()]);
    assert!(asks(&mut lab).is_empty(), "mute before the first tick");
    lab.advance(Duration::ZERO);
    lab.take_moved();
    lab
}

/// An advertisement from 10.0.0.3.
pub(super) fn advert(payload: &str) -> Packet {
    let packet = Packet::new("10.0.0.3:0", "224.0.0.18:0", Kind::Other(112)).carrying(hex(payload));
    Packet { ttl: 255, ..packet }
}

pub(super) fn hears(lab: &mut Lab, packet: &Packet) -> Vec<Frame> {
    lab.frame(&packet.frame(Mac([0, 0, 0x5e, 0, 1, 51]), GROUP))
}

pub(super) fn state(lab: &Lab) -> String {
    lab.director.vrrp.reports().next().unwrap().state
}

/// An ARP request for the virtual address.
pub(super) fn asks(lab: &mut Lab) -> Vec<Frame> {
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

/// Nobody would answer for addresses of which a mute director goes on saying that it has them.
#[test]
fn a_director_that_stands_by_gives_its_addresses_up() {
    let mut lab = lab(&Options { rank: Rank { preempt: true, ..options().rank }, ..options() });
    lab.advance(Duration::from_secs(4));
    assert_eq!((state(&lab).as_str(), asks(&mut lab).len()), ("active", 1));
    let now = lab.turn.now;
    lab.director.presence().stand_by(true, now);
    let sent = lab.advance(Duration::ZERO);
    assert_eq!(sent.iter().map(|frame| frame.packet().payload[2]).collect::<Vec<_>>(), [0], "it leaves");
    let report = lab.director.vrrp.reports().next().unwrap();
    assert_eq!((report.state.as_str(), report.reason.as_str()), ("fault", "the director stands by"));
    assert!(lab.advance(Duration::from_secs(9)).is_empty() && asks(&mut lab).is_empty());
    lab.director.presence().stand_by(false, lab.turn.now);
    lab.advance(Duration::from_secs(1));
    assert_eq!((state(&lab).as_str(), asks(&mut lab).len()), ("backup", 0), "another one may have them by now");
    lab.advance(Duration::from_secs(4));
    assert_eq!((state(&lab).as_str(), asks(&mut lab).len()), ("active", 1));
    // So does one that begins so.
    let mut lab = self::lab(&options());
    lab.director.set("standby", "1").unwrap();
    assert!(lab.advance(Duration::from_secs(9)).is_empty());
    assert_eq!(state(&lab), "fault");
}

/// The other way to have two directors, without a master's daemon on the one that stands by: who has the addresses is the
/// virtual routers' matter.
#[test]
fn a_director_with_the_backups_daemon_alone_answers_for_addresses_that_it_takes_over() {
    let mut lab = lab(&options());
    lab.rules("--start-daemon backup --mcast-interface tap0\n-A -t 198.51.100.2:80 -s rr\n");
    assert!(asks(&mut lab).is_empty());
    let announces = |frame: &Frame| frame.bytes[12..14] == [8, 6] && frame.bytes[28..32] == [198, 51, 100, 1];
    assert!(lab.advance(Duration::from_secs(4)).iter().any(announces));
    assert_eq!((state(&lab).as_str(), asks(&mut lab).len()), ("active", 1));
    hears(&mut lab, &advert(BETTER));
    assert_eq!((state(&lab).as_str(), asks(&mut lab).len()), ("backup", 0));
}

/// Both would be active, and nobody would know why.
#[test]
fn advertisements_that_go_another_way_are_counted() {
    let refused = |lab: &Lab| lab.director.vrrp.reports().next().unwrap().refused;
    let only = |why: &str| std::collections::BTreeMap::from([(why.to_owned(), 1)]);
    let mut alone = lab(&Options { peers: vec!["10.0.0.3".parse().unwrap()], ..options() });
    hears(&mut alone, &advert(BETTER));
    assert_eq!((refused(&alone), alone.take_moved().as_str()), (only("multicast"), "dropped.vrrp=1"));
    let mut group = lab(&options());
    group.frame(&advert(BETTER).to("10.0.0.2:0").frame(ROUTER, DIRECTOR));
    assert_eq!((refused(&group), group.take_moved().as_str()), (only("unicast"), "dropped.vrrp=1"));
    // Authentication type 2 of RFC 2338: behind a header of 24 bytes.
    let sealed = |id: &str| {
        let header = format!("70040000{}{}{}", "00000100", "00000001", "0a".repeat(12));
        Packet { kind: Kind::Other(51), ..advert(&format!("{header}21{id}{}", &BETTER[4..])) }
    };
    let mut group = lab(&options());
    hears(&mut group, &sealed("33"));
    assert_eq!((refused(&group), group.take_moved().as_str()), (only("ah"), "dropped.vrrp=1"));
    hears(&mut group, &sealed("34"));
    assert_eq!(refused(&group).get("id"), Some(&1), "another virtual router's");
    hears(&mut group, &Packet { kind: Kind::Other(51), ..advert("70") });
    assert_eq!(state(&group), "backup");
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
