//! ARP: who is asked, how often, what waits meanwhile, and what the director tells of itself.

use std::time::Duration;

use super::{CLIENT, RS1, VIP};
use crate::base::Mac;
use crate::director::Settings;
use crate::testing::{DIRECTOR, Frame, Kind, Lab, Packet, ROUTER, endpoint, expect, mac_of};

const RULES: &str = "-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21:8080 -m\n";

/// An ARP packet (RFC 826): 1 asks, 2 answers.
fn arp(op: u8, (from, sender): (Mac, [u8; 4]), (to, target): (Mac, [u8; 4]), frame_to: Mac) -> Vec<u8> {
    let mut frame = [frame_to.0, from.0].concat();
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, op]);
    frame.extend(from.0);
    frame.extend(sender);
    frame.extend(to.0);
    frame.extend(target);
    frame
}

fn bytes(sent: &[Frame]) -> Vec<Vec<u8>> {
    sent.iter().map(|frame| frame.bytes.clone()).collect()
}

fn question() -> Vec<u8> {
    arp(1, (DIRECTOR, [10, 0, 0, 2]), (Mac::ZERO, [10, 0, 0, 21]), Mac::BROADCAST)
}

fn answer() -> Vec<u8> {
    let rs1 = mac_of(endpoint(RS1).addr);
    arp(2, (rs1, [10, 0, 0, 21]), (DIRECTOR, [10, 0, 0, 2]), DIRECTOR)
}

fn syn() -> Packet {
    Packet::tcp(CLIENT, VIP, "S")
}

#[test]
fn a_packet_waits_for_the_answer_and_leaves_with_it() {
    let mut lab = Lab::without_neighbours(Settings::default(), RULES);
    assert_eq!(bytes(&lab.client(&syn())), [question()]);
    assert_eq!(lab.take_moved(), "held=1");
    expect(&lab.frame(&answer()), &[(mac_of(endpoint(RS1).addr), syn().to(RS1).one_hop_on())]);
    assert_eq!(lab.take_moved(), "consumed.arp-reply=1 held=-1");
}

#[test]
fn a_silent_neighbour_is_asked_three_times_and_what_waited_is_dropped() {
    let mut lab = Lab::without_neighbours(Settings::default(), RULES);
    let mut asked = bytes(&lab.client(&syn()));
    asked.extend(bytes(&lab.advance(Duration::from_secs(10))));
    assert_eq!(asked.iter().filter(|frame| **frame == question()).count(), 3);
    // The packet, and what was to tell its sender: the way to him is silent too.
    assert_eq!(lab.take_moved(), "dropped.neighbour-unreachable=2");
}

#[test]
fn who_sent_what_was_given_up_is_told_in_his_own_terms() {
    let nat = "-a -t 198.51.100.1:80 -r 10.0.0.77:8080 -m";
    let fullnat = "-a -t 198.51.100.1:80 -r 10.0.0.77:8080 --fullnat";
    let across = "-a -t 198.51.100.1:80 -r [2001:db8::77]:8080 --fullnat";
    for server in
        [nat, fullnat, across, "-a -t 198.51.100.1:80 -r 10.0.0.77 -g", "-a -t 198.51.100.1:80 -r 10.0.0.77 -i"]
    {
        let mut lab = Lab::new(&format!("-A -t 198.51.100.1:80 -s rr\n{server}\n"));
        lab.client(&syn());
        let sent = lab.advance(Duration::from_secs(5));
        let errors: Vec<&Frame> = sent.iter().filter(|frame| frame.to() == ROUTER).collect();
        assert_eq!(errors.len(), 1, "{server}");
        let (error, about) = (errors[0].packet(), errors[0].inner());
        assert_eq!((error.dst.addr, error.kind), (syn().src.addr, Kind::Icmp(3, 1, [0; 4])), "{server}: to the client");
        assert_eq!((about.src, about.dst), (syn().src, syn().dst), "{server}: about what he sent");
        assert_eq!(lab.take_moved().split(' ').next_back(), Some("dropped.neighbour-unreachable=1"), "{server}");
    }
}

#[test]
fn a_burst_waits_as_it_came_and_beyond_the_bound_the_oldest_go() {
    let mut lab = Lab::without_neighbours(Settings::default(), RULES);
    let of = |port: u16| syn().from(&format!("192.0.2.7:{port}"));
    (4000..4200).for_each(|port| _ = lab.client(&of(port)));
    assert_eq!(lab.take_moved(), "held=200");
    let rs1 = mac_of(endpoint(RS1).addr);
    let all: Vec<_> = (4000..4200).map(|port| (rs1, of(port).to(RS1).one_hop_on())).collect();
    expect(&lab.frame(&answer()), &all);

    let mut lab = Lab::without_neighbours(Settings::default(), RULES);
    let of = |port: u16| of(port).carrying(vec![7; 1400]);
    (4000..4200).for_each(|port| _ = lab.client(&of(port)));
    let sent = lab.frame(&answer());
    let kept = sent.len() as u16;
    assert_eq!(lab.take_moved(), format!("consumed.arp-reply=1 dropped.hold-queue-full={}", 200 - kept));
    // As many as Linux's 212,992 bytes with its bookkeeping.
    assert!((90..120).contains(&kept), "{kept}");
    expect(&sent[..1], &[(rs1, of(4200 - kept).to(RS1).one_hop_on())]);
}

#[test]
fn a_scan_of_the_net_leaves_services_alone() {
    let mut lab = Lab::new(RULES);
    let scan = |lab: &mut Lab, first: u16| {
        for number in first..first + 500 {
            let to = format!("10.0.0.{}:9", 100 + number % 100);
            let from = format!("192.0.2.{}:4000", number % 250);
            lab.client(&Packet::udp(&from, &to));
        }
    };
    (0..10).for_each(|round| {
        scan(&mut lab, round * 500);
        lab.advance(Duration::from_millis(500));
        let port = 4000 + round;
        let syn = syn().from(&format!("192.0.2.7:{port}"));
        expect(&lab.client(&syn), &[(mac_of(endpoint(RS1).addr), syn.to(RS1).one_hop_on())]);
    });
    // A server that nobody has asked for yet.
    lab.rules("-A -t 198.51.100.2:80 -s rr\n-a -t 198.51.100.2:80 -r 10.0.0.99:80 -m");
    let asks = arp(1, (DIRECTOR, [10, 0, 0, 2]), (Mac::ZERO, [10, 0, 0, 99]), Mac::BROADCAST);
    scan(&mut lab, 5000);
    assert_eq!(bytes(&lab.client(&syn().to("198.51.100.2:80"))), [asks]);
}

#[test]
fn one_source_has_few_neighbours_solicited_at_once() {
    let mut lab = Lab::new(RULES);
    for last in 100..200 {
        lab.client(&Packet::udp(CLIENT, &format!("10.0.0.{last}:9")));
    }
    assert_eq!(lab.take_moved(), "dropped.neighbour-limit=84 held=16");
    assert_eq!(lab.client(&Packet::udp("192.0.2.8:1", "10.0.0.220:9")).len(), 1, "another source");
}

#[test]
fn a_stranger_of_another_net_is_answered_and_not_remembered() {
    let mut lab = Lab::new(RULES);
    let stranger = Mac([2, 9, 9, 9, 9, 9]);
    for sender in [[172, 16, 0, 1], [10, 0, 0, 77]] {
        let asks = arp(1, (stranger, sender), (Mac::ZERO, [10, 0, 0, 2]), Mac::BROADCAST);
        assert_eq!(lab.frame(&asks).len(), 1);
        let remembered = lab.director.router.neighbours.knows(crate::base::LinkId(0), sender.into());
        assert_eq!(remembered, sender[0] == 10);
    }
}

#[test]
fn a_question_for_our_addresses_is_answered_and_no_other() {
    let mut lab = Lab::new(RULES);
    for own in [[10, 0, 0, 2], [198, 51, 100, 1]] {
        let asks = arp(1, (ROUTER, [10, 0, 0, 1]), (Mac::ZERO, own), Mac::BROADCAST);
        assert_eq!(bytes(&lab.frame(&asks)), [arp(2, (DIRECTOR, own), (ROUTER, [10, 0, 0, 1]), ROUTER)]);
    }
    assert_eq!(lab.take_moved(), "consumed.arp-request=2");
    let asks = arp(1, (ROUTER, [10, 0, 0, 1]), (Mac::ZERO, [10, 0, 0, 77]), Mac::BROADCAST);
    assert!(lab.frame(&asks).is_empty());
}

#[test]
fn a_new_virtual_address_is_probed_and_then_announced_twice() {
    let mut lab = Lab::new(RULES);
    lab.rules("-A -t 198.51.100.9:80 -s rr");
    let announcement = arp(1, (DIRECTOR, [198, 51, 100, 9]), (Mac::ZERO, [198, 51, 100, 9]), Mac::BROADCAST);
    let sent = bytes(&lab.advance(Duration::from_secs(3)));
    let probe = arp(1, (DIRECTOR, [0; 4]), (Mac::ZERO, [198, 51, 100, 9]), Mac::BROADCAST);
    assert_eq!(sent, [probe, announcement.clone(), announcement]);
}

#[test]
fn a_claim_of_our_address_is_answered_once_in_ten_seconds() {
    let mut lab = Lab::new("-A -t 10.0.0.100:80 -s rr");
    let thief = Mac([2, 9, 9, 9, 9, 9]);
    let claim = arp(2, (thief, [10, 0, 0, 100]), (thief, [10, 0, 0, 100]), Mac::BROADCAST);
    let defence = arp(1, (DIRECTOR, [10, 0, 0, 100]), (Mac::ZERO, [10, 0, 0, 100]), Mac::BROADCAST);
    let defended = [defence];
    assert_eq!(bytes(&lab.frame(&claim)), defended);
    assert_eq!(bytes(&lab.frame(&claim)), Vec::<Vec<u8>>::new());
    lab.advance(Duration::from_secs(10));
    assert_eq!(bytes(&lab.frame(&claim)), defended);
    let own = arp(1, (DIRECTOR, [10, 0, 0, 100]), (Mac::ZERO, [10, 0, 0, 100]), Mac::BROADCAST);
    assert!(lab.frame(&own).is_empty(), "what a bridge gives back is no claim");
}

#[test]
fn directors_behind_a_router_share_an_address_of_no_net_of_the_link() {
    let mut lab = Lab::new(RULES);
    let other = Mac([2, 9, 9, 9, 9, 9]);
    let claim = arp(1, (other, [198, 51, 100, 1]), (Mac::ZERO, [198, 51, 100, 1]), Mac::BROADCAST);
    assert!(lab.frame(&claim).is_empty(), "routes lead to it");
}

#[test]
fn a_backup_is_silent_about_virtual_addresses_until_it_takes_over() {
    let mut lab = Lab::new(RULES);
    let asks = |own| arp(1, (ROUTER, [10, 0, 0, 1]), (Mac::ZERO, own), Mac::BROADCAST);
    lab.rules("--start-daemon backup --mcast-interface tap0\n-A -t 198.51.100.9:80 -s rr\n");
    assert_eq!(lab.advance(Duration::from_secs(3)).len(), 0, "announced");
    assert_eq!(lab.frame(&asks([198, 51, 100, 1])).len(), 0);
    assert_eq!(lab.frame(&asks([10, 0, 0, 2])).len(), 1, "its own address");
    assert_eq!(lab.client(&syn()).len(), 1, "what is sent here is forwarded, as by a kernel");
    lab.rules("--stop-daemon backup");
    let announced = bytes(&lab.advance(Duration::from_secs(3)));
    assert_eq!(announced.iter().filter(|frame| frame[28..32] == [198, 51, 100, 1]).count(), 2);
    assert_eq!(lab.frame(&asks([198, 51, 100, 1])).len(), 1);
}

#[test]
fn a_director_that_is_to_stand_by_says_nothing_at_all() {
    let mut lab = Lab::new(RULES);
    lab.client(&syn());
    lab.director.presence().stand_by(true, lab.turn.now);
    lab.take_moved();
    let asks = |own| arp(1, (ROUTER, [10, 0, 0, 1]), (Mac::ZERO, own), Mac::BROADCAST);
    let mut sent = [lab.frame(&asks([198, 51, 100, 1])), lab.frame(&asks([10, 0, 0, 2])), lab.client(&syn())].concat();
    sent.extend(lab.client(&Packet::udp(CLIENT, "192.0.2.99:9")));
    sent.extend(lab.advance(Duration::from_secs(1000)));
    assert_eq!((sent.len(), lab.take_moved().as_str()), (0, "dropped.standby=4"));
    lab.director.presence().stand_by(false, lab.turn.now);
    assert_eq!(lab.advance(Duration::from_secs(3)).len(), 2, "the address of the service, twice");
}

#[test]
fn a_director_that_begins_by_standing_by_works_as_soon_as_it_is_the_master() {
    let mut lab = Lab::new(RULES);
    lab.director.set("standby", "1").unwrap();
    lab.director.presence().announce_links(lab.turn.now);
    lab.rules("--start-daemon backup --mcast-interface tap0\n-A -t 198.51.100.9:80 -s rr\n");
    assert_eq!(lab.advance(Duration::from_secs(3)).len(), 0, "announced");
    let asks = arp(1, (ROUTER, [10, 0, 0, 1]), (Mac::ZERO, [10, 0, 0, 2]), Mac::BROADCAST);
    assert_eq!(lab.frame(&asks).len(), 0, "its own address");
    lab.rules("--stop-daemon backup\n--start-daemon master --mcast-interface tap0\n");
    assert_eq!(lab.frame(&asks).len(), 1);
    let announced = bytes(&lab.advance(Duration::from_secs(3)));
    let times = |own: [u8; 4]| announced.iter().filter(|frame| frame[28..32] == own).count();
    assert_eq!([[10, 0, 0, 2], [198, 51, 100, 1], [198, 51, 100, 9]].map(times), [2; 3]);
    lab.rules("--stop-daemon master\n");
    assert_eq!(lab.frame(&asks).len(), 0, "no master any more");
    lab.director.presence().stand_by(false, lab.turn.now);
    assert_eq!(lab.frame(&asks).len(), 1, "an operator's word comes first");
}

#[test]
fn nobody_takes_our_address_from_us() {
    let mut lab = Lab::new(RULES);
    let thief = Mac([2, 9, 9, 9, 9, 9]);
    lab.frame(&arp(2, (thief, [198, 51, 100, 1]), (DIRECTOR, [10, 0, 0, 2]), DIRECTOR));
    assert_eq!(lab.take_moved(), "dropped.arp-ignored=1");
    expect(&lab.client(&syn()), &[(mac_of(endpoint(RS1).addr), syn().to(RS1).one_hop_on())]);
}
