//! Neighbour discovery in exact frames: who is asked, answered, learned from and told.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::base::{Chance, DropReason, LinkId, Mac, Prefix};
use crate::director::{Director, Settings};
use crate::router::Link;
use crate::testing::{Frame, Lab};
use crate::wire::ndp::{self, Ndp, Speaker};
use crate::wire::{self, PacketBuf, Parsed};

const LINK: LinkId = LinkId(0);
const OURS: Mac = Mac([2, 0x74, 0, 0, 0, 2]);
pub(super) const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 9]);

pub(super) fn lab() -> Lab {
    let mut director = Director::new(Settings { max_flows: 8, ..Settings::default() }, Chance::KNOWN);
    let addresses = vec!["2001:db8::2/64".parse::<Prefix>().unwrap()];
    director.router.add_link(Link { name: "tap0".into(), mac: OURS, mtu: 1500, addresses });
    director.router.routes.add("::/0".parse().unwrap(), Some("fe80::1".parse().unwrap()), LINK);
    Lab::of(director)
}

impl Lab {
    fn receive(&mut self, frame: PacketBuf) -> Vec<Parsed> {
        parsed(&self.frame(frame.frame()))
    }

    fn wait(&mut self, secs: u64) -> Vec<Parsed> {
        parsed(&self.advance(Duration::from_secs(secs)))
    }
}

fn parsed(sent: &[Frame]) -> Vec<Parsed> {
    let parse = |frame: &Frame| {
        let mut buf = PacketBuf::new();
        buf.set(&frame.bytes);
        wire::parse(&buf).unwrap()
    };
    sent.iter().map(parse).collect()
}

pub(super) fn addr(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// An echo request of 8 bytes to an address by way of us.
fn ping(to: &str) -> PacketBuf {
    let mut buf = PacketBuf::new();
    let from = Speaker { mac: THEIRS, addr: addr("2001:db8::9") };
    ndp::solicitation(&mut buf, from, addr(to), Some(OURS));
    buf.frame_mut()[54] = 128;
    let ip = wire::ip_packet(buf.frame()).unwrap();
    wire::icmp::set_checksum(&mut buf, &ip);
    buf
}

fn question(from: &str, target: &str, known: Option<Mac>) -> PacketBuf {
    let mut buf = PacketBuf::new();
    ndp::solicitation(&mut buf, Speaker { mac: THEIRS, addr: addr(from) }, addr(target), known);
    buf
}

fn answer(from: &str, mac: Mac) -> PacketBuf {
    let mut buf = PacketBuf::new();
    let speaker = Speaker { mac, addr: addr(from) };
    ndp::advertisement(&mut buf, speaker, Some((OURS, ndp::link_local(OURS))));
    buf
}

/// Who is asked for, of everything that was sent.
fn asked(sent: &[Parsed]) -> Vec<Ipv6Addr> {
    let target = |parsed: &Parsed| match parsed {
        Parsed::Ndp(Ndp::Solicitation { target, sender, .. }) => {
            assert_eq!(*sender, ndp::link_local(OURS));
            Some(*target)
        }
        Parsed::Arp(_) | Parsed::Ndp(_) | Parsed::Ip(_) => None,
    };
    sent.iter().filter_map(target).collect()
}

#[test]
fn a_packet_waits_until_its_next_hop_has_answered() {
    let mut lab = lab();
    let sent = lab.receive(ping("2001:db8:5::1"));
    assert_eq!(asked(&sent), [addr("fe80::1")], "the gateway, by its link-local address");
    assert_eq!(asked(&lab.wait(1)), [addr("fe80::1")]);
    let sent = lab.receive(answer("fe80::1", THEIRS));
    assert!(matches!(sent[..], [Parsed::Ip(ip)] if ip.ttl == 254), "{sent:?}");
    assert_eq!(lab.wait(40).len(), 0);
    let sent = lab.receive(ping("2001:db8:5::1"));
    assert_eq!((asked(&sent), sent.len()), (vec![addr("fe80::1")], 2), "sent on, and confirmed meanwhile");
}

#[test]
fn nobody_is_asked_more_than_three_times() {
    let mut lab = lab();
    lab.receive(ping("2001:db8::77"));
    let questions = |sent: Vec<Parsed>| asked(&sent).iter().filter(|who| **who == addr("2001:db8::77")).count();
    let asked: Vec<usize> = (0..5).map(|_| questions(lab.wait(1))).collect();
    assert_eq!(asked, [1, 1, 0, 0, 0]);
    assert_eq!(lab.turn.ledger().dropped(DropReason::NeighbourUnreachable), 1);
}

#[test]
fn questions_about_our_addresses_are_answered_and_no_others() {
    let mut lab = lab();
    for target in [addr("2001:db8::2"), ndp::link_local(OURS)] {
        let sent = lab.receive(question("2001:db8::9", &target.to_string(), None));
        let expected = Ndp::Advertisement { target, mac: Some(OURS), overrides: true };
        assert!(matches!(sent[..], [Parsed::Ndp(said)] if said == expected), "{sent:?}");
    }
    assert_eq!(lab.director.router.neighbours.mac_of(LINK, "2001:db8::9".parse().unwrap()), Some(THEIRS));
    assert_eq!(lab.receive(question("2001:db8::9", "2001:db8::3", None)).len(), 0);
    assert_eq!(lab.turn.ledger().dropped(DropReason::Ndp), 1);
}

#[test]
fn who_wants_our_address_is_told_before_all() {
    let mut lab = lab();
    let mut probe = question("::", "2001:db8::2", None);
    // A nonce in place of the MAC, as RFC 7527 has it.
    probe.frame_mut()[78] = 14;
    let ip = wire::ip_packet(probe.frame()).unwrap();
    wire::icmp::set_checksum(&mut probe, &ip);
    let sent = lab.frame(probe.frame());
    assert_eq!(sent[0].packet().dst.addr, IpAddr::V6(addr("ff02::1")));
}

#[test]
fn a_claim_without_override_changes_nothing() {
    let mut lab = lab();
    lab.receive(question("2001:db8::9", "2001:db8::2", None));
    let mut claim = answer("2001:db8::9", Mac([2, 9, 9, 9, 9, 9]));
    claim.frame_mut()[58] &= !0x20;
    let ip = wire::ip_packet(claim.frame()).unwrap();
    wire::icmp::set_checksum(&mut claim, &ip);
    lab.receive(claim);
    assert_eq!(lab.director.router.neighbours.mac_of(LINK, "2001:db8::9".parse().unwrap()), Some(THEIRS));
    lab.receive(answer("2001:db8::9", Mac([2, 9, 9, 9, 9, 9])));
    assert_ne!(lab.director.router.neighbours.mac_of(LINK, "2001:db8::9".parse().unwrap()), Some(THEIRS));
}

#[test]
fn addresses_are_probed_and_then_announced_twice() {
    let mut lab = lab();
    lab.director.presence().announce_links(lab.turn.now);
    let said = |sent: Vec<Parsed>| {
        let is_advert = |parsed: &&Parsed| matches!(parsed, Parsed::Ndp(Ndp::Advertisement { overrides: true, .. }));
        (sent.iter().filter(is_advert).count(), sent.len())
    };
    // The address and the link-local one, each with a report of its group: probed first, in the group of each.
    let probes = lab.wait(0);
    let targets = probes.iter().filter_map(|parsed| match parsed {
        Parsed::Ndp(Ndp::Solicitation { sender: Ipv6Addr::UNSPECIFIED, mac: OURS, target }) => Some(*target),
        _ => None,
    });
    assert_eq!(targets.collect::<Vec<_>>(), [addr("2001:db8::2"), ndp::link_local(OURS)]);
    assert_eq!(said(probes), (0, 4));
    assert_eq!(said(lab.wait(1)), (2, 4));
    assert_eq!(said(lab.wait(1)), (2, 4));
    assert_eq!(said(lab.wait(1)), (0, 0));
}

#[test]
fn a_link_local_source_stays_on_its_link() {
    let mut lab = lab();
    lab.receive(question("fe80::9", "2001:db8::2", None));
    let mut packet = ping("2001:db8:5::1");
    packet.frame_mut()[22..38].copy_from_slice(&addr("fe80::9").octets());
    let sent = lab.receive(packet);
    let Some(Parsed::Ip(ip)) = sent.last() else { panic!("{sent:?}") };
    assert_eq!(ip.l4, wire::L4::Icmp { icmp_type: 1, code: 2 });
    assert_eq!(ip.src, IpAddr::V6(ndp::link_local(OURS)));
}
