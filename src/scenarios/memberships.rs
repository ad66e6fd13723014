//! Membership of multicast groups: queries of MLD and IGMP of each version, and what is reported when.

use std::net::IpAddr;
use std::time::Duration;

use super::discovery::{THEIRS, addr, lab};
use crate::base::Mac;
use crate::testing::Frame;
use crate::wire::igmp;
use crate::wire::listener::Report;
use crate::wire::ndp::{self, Speaker};
use crate::wire::{self, PacketBuf};

/// A query of MLDv2 for one group, or for all, to be answered within so many milliseconds.
fn query(group: &str, within: u16) -> PacketBuf {
    let mut buf = PacketBuf::new();
    let from = Speaker { mac: THEIRS, addr: addr("fe80::9") };
    ndp::solicitation(&mut buf, from, addr("ff02::1"), Some(Mac([0x33, 0x33, 0, 0, 0, 1])));
    let frame = buf.frame_mut();
    (frame[21], frame[54]) = (1, 130);
    frame[58..60].copy_from_slice(&within.to_be_bytes());
    frame[62..78].copy_from_slice(&addr(group).octets());
    let ip = wire::ip_packet(buf.frame()).unwrap();
    wire::icmp::set_checksum(&mut buf, &ip);
    buf
}

/// The groups of every report that was sent.
fn reported(sent: &[Frame]) -> Vec<usize> {
    let is_report = |frame: &&Frame| frame.bytes[20] == 0 && frame.bytes[62] == 143;
    sent.iter().filter(is_report).map(|frame| frame.bytes[69].into()).collect()
}

#[test]
fn reports_of_many_groups_are_spread_over_the_time_that_a_query_gives() {
    let mut lab = lab();
    (0..1000).for_each(|number| lab.rules(&format!("-A -t [2001:db8:51::{number:x}]:80 -s rr")));
    lab.advance(Duration::from_secs(5));
    lab.take_moved();
    let mut counts = Vec::new();
    for _ in 0..18 {
        // Asked again and again: what waits answers those too.
        let at_once = lab.frame(query("::", 10_000).frame());
        assert_eq!(reported(&at_once), [0; 0]);
        counts.extend(reported(&lab.advance(Duration::from_millis(500))));
        assert!(counts.len() <= lab.turn.now.0 as usize / 400, "never many at once");
    }
    counts.extend(reported(&lab.advance(Duration::from_secs(1))));
    assert_eq!(
        (counts.len(), counts.iter().sum::<usize>()),
        (21, 1000),
        "the groups of the link's two addresses are among them"
    );
    assert_eq!(lab.take_moved(), "consumed.listener-query=18");
    // A query that gives no time gets them all, in a fifth of a second.
    lab.advance(Duration::from_secs(1));
    lab.frame(query("::", 0).frame());
    assert_eq!(reported(&lab.advance(Duration::from_millis(400))).len(), 21);
}

#[test]
fn a_query_for_one_group_is_answered_with_that_group() {
    let mut lab = lab();
    let group = ndp::solicited_node(addr("2001:db8::2")).to_string();
    lab.frame(query(&group, 1000).frame());
    lab.frame(query(&group, 1000).frame());
    assert_eq!(reported(&lab.advance(Duration::from_secs(2))), [1]);
    lab.frame(query("ff02::1:ff99:9999", 1000).frame());
    assert_eq!(reported(&lab.advance(Duration::from_secs(2))), [0; 0]);
    // 0x8000 and what follows it are floating point: 0x1000 << 3 milliseconds.
    let (mut sent, times) = (0, 32);
    for _ in 0..times {
        lab.frame(query(&group, 0x8000).frame());
        sent += reported(&lab.advance(Duration::from_secs(4))).len();
        lab.advance(Duration::from_secs(40));
    }
    assert!((1..16).contains(&sent), "{sent} of {times} in the first eighth");
}

/// The same as a query of MLDv1: without the four bytes behind the group that MLDv2 has.
fn old_query(group: &str, within: u16) -> PacketBuf {
    let mut buf = query(group, within);
    buf.truncate(78);
    let frame = buf.frame_mut();
    frame[18..20].copy_from_slice(&24_u16.to_be_bytes());
    let ip = wire::ip_packet(buf.frame()).unwrap();
    wire::icmp::set_checksum(&mut buf, &ip);
    buf
}

/// The groups that reports of MLDv1 were sent about, each to its group.
fn old_reports(sent: &[Frame]) -> Vec<IpAddr> {
    let is_report = |frame: &&Frame| frame.bytes[20] == 0 && frame.bytes[62] == 131;
    sent.iter().filter(is_report).map(|frame| wire::ip_packet(&frame.bytes).unwrap().dst).collect()
}

#[test]
fn a_querier_of_mldv1_gets_reports_of_its_version_and_so_does_its_link_for_a_while() {
    let mut lab = lab();
    let group = |text: &str| IpAddr::V6(ndp::solicited_node(addr(text)));
    lab.frame(old_query("::", 1000).frame());
    let mut sent = lab.advance(Duration::from_secs(2));
    assert_eq!(reported(&sent), [0; 0]);
    assert_eq!(old_reports(&sent), [group("2001:db8::2")], "which is the group of the link-local address too");

    // What is new is told in that version too; and answers to queries of the next one, for it is the oldest that counts.
    lab.rules("-A -t [2001:db8::55:1234]:80 -s rr");
    sent = lab.advance(Duration::from_secs(5));
    assert_eq!(reported(&sent), [0; 0]);
    assert!(old_reports(&sent).contains(&group("2001:db8::55:1234")), "{sent:?}");
    lab.frame(query("::", 1000).frame());
    sent = lab.advance(Duration::from_secs(2));
    assert_eq!((reported(&sent).len(), old_reports(&sent).len()), (0, 2));

    lab.advance(Duration::from_secs(260));
    lab.frame(query("::", 1000).frame());
    sent = lab.advance(Duration::from_secs(2));
    assert_eq!(
        (reported(&sent), old_reports(&sent).len()),
        (vec![2], 0),
        "the old querier has not been heard for long"
    );
}

#[test]
fn a_backup_is_a_member_of_the_ipv6_group_that_it_listens_to() {
    let mut lab = lab();
    lab.advance(Duration::from_secs(5));
    lab.rules("--start-daemon backup --mcast-interface tap0 --mcast-group ff05::8");
    assert_eq!(reported(&lab.advance(Duration::from_millis(100))), [1], "the group is told of at once");
    lab.frame(query("ff05::8", 1000).frame());
    assert_eq!(reported(&lab.advance(Duration::from_secs(2))), [1]);
    lab.rules("--stop-daemon backup");
    lab.frame(query("ff05::8", 1000).frame());
    assert_eq!(reported(&lab.advance(Duration::from_secs(2))), [0; 0], "it listens no more");
}

/// A query of IGMP for one group, or for all, to be answered within a second; of IGMPv2 if it is of 8 bytes.
fn igmp_query(group: [u8; 4], len: usize) -> PacketBuf {
    let mut buf = PacketBuf::new();
    let from = (THEIRS, [10, 0, 0, 9].into());
    igmp::report(&mut buf, from, Report::Current, &[[239, 0, 0, 1].into()]);
    buf.truncate(38 + len);
    let frame = buf.frame_mut();
    frame[17] = (24 + len) as u8;
    frame[30..34].copy_from_slice(&[224, 0, 0, 1]);
    frame[38..].fill(0);
    (frame[38], frame[39]) = (0x11, 10);
    frame[42..46].copy_from_slice(&group);
    for (at, sum_at) in [(14..38, 24), (38..38 + len, 40)] {
        frame[sum_at..sum_at + 2].fill(0);
        let sum = !wire::checksum::sum(&frame[at]);
        frame[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    buf
}

/// The kinds of the reports of IGMP that were sent, each with the group that it names.
fn igmp_reports(sent: &[Frame]) -> Vec<(u8, [u8; 4])> {
    let is_report = |frame: &&Frame| frame.bytes[12..14] == [8, 0] && frame.bytes[23] == 2;
    let group = |frame: &Frame| {
        let at = if frame.bytes[38] == 0x22 { 50 } else { 42 };
        *frame.bytes[at..].first_chunk().unwrap()
    };
    sent.iter().filter(is_report).map(|frame| (frame.bytes[38], group(frame))).collect()
}

#[test]
fn a_backup_is_a_member_of_the_ipv4_group_that_it_listens_to() {
    let mut lab = lab();
    let group = [239, 0, 0, 81];
    lab.advance(Duration::from_secs(5));
    lab.rules("--start-daemon backup --mcast-interface tap0 --mcast-group 239.0.0.81");
    assert_eq!(igmp_reports(&lab.advance(Duration::from_millis(100))), [(0x22, group)], "told of at once");
    for (asked, answers) in [([0; 4], 1), (group, 1), ([239, 0, 0, 82], 0)] {
        lab.frame(igmp_query(asked, 12).frame());
        assert_eq!(igmp_reports(&lab.advance(Duration::from_secs(2))), vec![(0x22, group); answers], "{asked:?}");
    }
    lab.take_moved();
    // One that is mute listens all the same.
    lab.director.presence().stand_by(true, lab.turn.now);
    lab.frame(igmp_query([0; 4], 8).frame());
    assert_eq!(igmp_reports(&lab.advance(Duration::from_secs(2))), [(0x16, group)], "a querier of IGMPv2");
    assert_eq!(lab.take_moved(), "consumed.listener-query=1");
    lab.rules("--stop-daemon backup");
    lab.frame(igmp_query([0; 4], 12).frame());
    assert_eq!(igmp_reports(&lab.advance(Duration::from_secs(2))), []);
}

#[test]
fn groups_that_every_bridge_passes_on_are_not_reported() {
    let mut lab = lab();
    lab.advance(Duration::from_secs(5));
    lab.rules("--start-daemon backup --mcast-interface tap0");
    assert_eq!(igmp_reports(&lab.advance(Duration::from_secs(1))), []);
}
