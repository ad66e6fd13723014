//! What neighbours ask and say: answered if it is about an address of ours, remembered if it is news.
//!
//! Strangers cannot fill the cache: only a neighbour that is waited for, or of the link's nets and asking about us, is
//! remembered.

use std::net::{IpAddr, Ipv6Addr};

use super::Director;
use crate::base::{Consumed, DropReason, Instant, LinkId, Mac};
use crate::router::{Egress, is_link_local};
use crate::wire::arp::{Arp, ArpOp};
use crate::wire::ndp::{Ndp, Report};

impl Director {
    pub(super) fn arp(
        &mut self,
        link: LinkId,
        arp: &Arp,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        let (mac, addr) = (arp.sender.0, IpAddr::V4(arp.sender.1));
        if mac.is_multicast() || mac == Mac::ZERO || self.owns(addr) {
            return Err(DropReason::Arp);
        }
        let for_us = arp.op == ArpOp::Request && self.owns(IpAddr::V4(arp.target.1));
        let asked = for_us && !self.router.answered_elsewhere(link, addr);
        let probe = arp.sender.1.is_unspecified();
        let news = !probe && (self.router.neighbours.knows(link, addr) || (asked && self.is_near(link, addr)));
        if news {
            self.router.learned(link, addr, mac, now, out);
        }
        if asked {
            self.router.arp_reply(link, arp, out);
            self.router.ledger.consume(Consumed::ArpRequest);
            return Ok(());
        }
        if !news {
            return Err(DropReason::Arp);
        }
        self.router.ledger.consume(Consumed::ArpReply);
        Ok(())
    }

    pub(super) fn ndp(
        &mut self,
        link: LinkId,
        ndp: &Ndp,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        match *ndp {
            Ndp::Solicitation { sender, mac, target } => self.solicited(link, (mac, sender), target, now, out),
            Ndp::Advertisement { target, mac, overrides } => {
                let addr = IpAddr::V6(target);
                let before = self.router.neighbours.mac_of(link, addr);
                let mac = mac.or(before).filter(|mac| is_station(*mac)).ok_or(DropReason::Ndp)?;
                // Without the override flag another MAC is somebody's claim, not news (RFC 4861 7.2.5).
                let contradicts = !overrides && before.is_some_and(|before| before != mac);
                if contradicts || self.owns(addr) || !self.router.neighbours.knows(link, addr) {
                    return Err(DropReason::Ndp);
                }
                self.router.learned(link, addr, mac, now, out);
                self.router.ledger.consume(Consumed::NdpAnswer);
                Ok(())
            }
            Ndp::Query => {
                let own = self.announced().into_iter().filter_map(|addr| match addr {
                    IpAddr::V4(_) => None,
                    IpAddr::V6(addr) => Some(addr),
                });
                let groups: Vec<Ipv6Addr> = own.collect();
                if groups.is_empty() {
                    return Err(DropReason::Ndp);
                }
                self.router.report(link, Report::Current, &groups, out);
                self.router.ledger.consume(Consumed::NdpQuery);
                Ok(())
            }
        }
    }

    fn solicited(
        &mut self,
        link: LinkId,
        sender: (Mac, Ipv6Addr),
        target: Ipv6Addr,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        let (mac, addr) = (sender.0, IpAddr::V6(sender.1));
        let asked = self.is_asked(link, addr, IpAddr::V6(target));
        if !is_station(mac) || self.owns(addr) || !asked {
            return Err(DropReason::Ndp);
        }
        if self.is_near(link, addr) {
            self.router.learned(link, addr, mac, now, out);
        }
        self.router.ndp_reply(link, target, sender, out);
        self.router.ledger.consume(Consumed::NdpSolicitation);
        Ok(())
    }

    /// True for a sender that packets may ever be sent to on that link: one in its nets.
    fn is_near(&self, link: LinkId, sender: IpAddr) -> bool {
        self.router.link(link).addresses.iter().any(|own| own.contains(sender))
    }

    /// A question of `sender` on a link is for us, and not for another link of ours on the same wire.
    fn is_asked(&self, link: LinkId, sender: IpAddr, target: IpAddr) -> bool {
        if is_link_local(target) {
            return self.router.link(link).addresses.iter().any(|own| own.addr == target);
        }
        // Who speaks without an address of a net speaks in the net of what is asked for.
        let from = if sender.is_unspecified() || is_link_local(sender) { target } else { sender };
        self.owns(target) && !self.router.answered_elsewhere(link, from)
    }
}

fn is_station(mac: Mac) -> bool {
    !mac.is_multicast() && mac != Mac::ZERO
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;
    use std::time::Duration;

    use super::*;
    use crate::base::Prefix;
    use crate::director::Settings;
    use crate::router::Link;
    use crate::testing::{Frame, Lab};
    use crate::wire::ndp::{self, Speaker};
    use crate::wire::{self, PacketBuf, Parsed};

    const LINK: LinkId = LinkId(0);
    const OURS: Mac = Mac([2, 0x74, 0, 0, 0, 2]);
    const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn lab() -> Lab {
        let mut director = Director::new(Settings { max_flows: 8, ..Settings::default() }, RandomState::new(), 1);
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

    fn addr(text: &str) -> Ipv6Addr {
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
        assert_eq!(lab.director.router.ledger.dropped(DropReason::NeighbourUnreachable), 1);
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
        assert_eq!(lab.director.router.ledger.dropped(DropReason::Ndp), 1);
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
    fn addresses_are_announced_twice() {
        let mut lab = lab();
        lab.director.announce_links(lab.now);
        let said = |sent: Vec<Parsed>| {
            let is_advert =
                |parsed: &&Parsed| matches!(parsed, Parsed::Ndp(Ndp::Advertisement { overrides: true, .. }));
            (sent.iter().filter(is_advert).count(), sent.len())
        };
        // The address and the link-local one, each with a report of its group.
        assert_eq!(said(lab.wait(0)), (2, 4));
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
}
