//! What a router says to its neighbours: questions, answers and announcements, by ARP or by neighbour discovery.
//!
//! Never decides whether something is to be said.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::neighbours::Ask;
use super::{Egress, Router, Turn};
use crate::base::{Family, Instant, LinkId, Mac, Medium};
use crate::wire::PacketBuf;
use crate::wire::arp::{self, Arp, ArpOp};
use crate::wire::igmp;
use crate::wire::listener::Report;
use crate::wire::ndp::{self, Speaker};

/// RFC 3810 section 9.12: twice the usual interval between queries, and the time that they give.
const OLD_QUERIER_PRESENT: Duration = Duration::from_secs(260);

impl Router {
    /// Answers an ARP request for an own address.
    pub fn arp_reply(&mut self, link: LinkId, request: &Arp, turn: &mut Turn<impl Egress>) {
        let mac = self.mac_of_own(link, IpAddr::V4(request.target.1));
        let reply = Arp { op: ArpOp::Reply, sender: (mac, request.target.1), target: request.sender };
        say(link, turn, |frame| arp::build(frame, request.sender.0, &reply));
    }

    /// Answers a solicitation for an own address; one of a host that probes for duplicates (its source is unspecified) is
    /// answered to all nodes (RFC 4861 section 7.2.4).
    pub fn ndp_reply(&mut self, link: LinkId, addr: Ipv6Addr, asked_by: (Mac, Ipv6Addr), turn: &mut Turn<impl Egress>) {
        let speaker = Speaker { mac: self.mac_of_own(link, IpAddr::V6(addr)), addr };
        let one = Some(asked_by).filter(|(_, sender)| !sender.is_unspecified());
        say(link, turn, |frame| ndp::advertisement(frame, speaker, one));
    }

    /// Asks whether another host has an address of ours (RFC 5227 section 2.1.1, RFC 4862 section 5.4.2).
    pub fn probe(&mut self, link: LinkId, addr: IpAddr, turn: &mut Turn<impl Egress>) {
        if self.medium(link) == Medium::Ip {
            return;
        }
        let mac = self.link(link).mac;
        match addr {
            IpAddr::V4(target) => {
                let sender = (mac, Ipv4Addr::UNSPECIFIED);
                let arp = Arp { op: ArpOp::Request, sender, target: (Mac::ZERO, target) };
                say(link, turn, |frame| arp::build(frame, Mac::BROADCAST, &arp));
            }
            IpAddr::V6(target) => {
                // A bridge that snoops passes the question on to those that have joined its group.
                self.report(link, Report::Joined, &[addr], turn);
                say(link, turn, |frame| ndp::probe(frame, mac, target));
            }
        }
    }

    /// Tells everybody on a link that an address is here: gratuitous ARP (RFC 5227 section 3), or an unsolicited
    /// advertisement (RFC 4861 7.2.6) and, for bridges that snoop, the group that hears questions about it.
    pub fn announce(&mut self, link: LinkId, addr: IpAddr, turn: &mut Turn<impl Egress>) {
        if self.medium(link) == Medium::Ip {
            return;
        }
        match addr {
            IpAddr::V4(addr) => self.announce4(link, addr, turn),
            IpAddr::V6(own) => {
                self.report(link, Report::Joined, &[addr], turn);
                let speaker = Speaker { mac: self.mac_of_own(link, addr), addr: own };
                say(link, turn, |frame| ndp::advertisement(frame, speaker, None));
            }
        }
    }

    fn announce4(&mut self, link: LinkId, addr: Ipv4Addr, turn: &mut Turn<impl Egress>) {
        let mac = self.mac_of_own(link, IpAddr::V4(addr));
        let arp = Arp { op: ArpOp::Request, sender: (mac, addr), target: (Mac::ZERO, addr) };
        say(link, turn, |frame| arp::build(frame, Mac::BROADCAST, &arp));
    }

    /// The MAC by which a neighbour reaches an own address.
    fn mac_of_own(&self, link: LinkId, addr: IpAddr) -> Mac {
        self.virtuals.mac_of(link, addr).unwrap_or(self.link(link).mac)
    }

    /// Listens to a group on a link from now on; those that are not reported are heard anyway.
    pub fn join(&mut self, link: LinkId, group: IpAddr, turn: &mut Turn<impl Egress>) {
        let is_reported = match group {
            IpAddr::V4(group) => igmp::is_reported(group),
            IpAddr::V6(_) => true,
        };
        if is_reported && !self.groups.contains(&(link, group)) && self.medium(link) != Medium::Ip {
            self.groups.push((link, group));
            self.report(link, Report::Joined, &[group], turn);
        }
    }

    /// The groups of a family that `join` was told of.
    pub fn groups(&self, link: LinkId, family: Family) -> impl Iterator<Item = IpAddr> {
        let fits = move |(on, group): &&(LinkId, IpAddr)| *on == link && Family::of(*group) == family;
        self.groups.iter().filter(fits).map(|(_, group)| *group)
    }

    /// Listens to a group no more.
    pub fn leave(&mut self, link: LinkId, group: IpAddr) {
        self.groups.retain(|known| *known != (link, group));
    }

    /// A query of the version before was heard: reports are of that version for a while.
    pub fn hear_old_querier(&mut self, link: LinkId, family: Family, now: Instant) {
        self.ports[link.index()].old_queriers_until[family as usize] = now + OLD_QUERIER_PRESENT;
    }

    fn has_old_querier(&self, link: LinkId, family: Family, now: Instant) -> bool {
        now < self.ports[link.index()].old_queriers_until[family as usize]
    }

    /// So many groups are named by one report.
    pub fn groups_per_report(&self, link: LinkId, family: Family, now: Instant) -> usize {
        match family {
            _ if self.has_old_querier(link, family, now) => 1,
            Family::V4 => igmp::GROUPS_PER_REPORT,
            Family::V6 => ndp::GROUPS_PER_REPORT,
        }
    }

    /// Says which groups are listened to, those of the given addresses; an address that is a group is one of them.
    pub fn report(&mut self, link: LinkId, why: Report, addresses: &[IpAddr], turn: &mut Turn<impl Egress>) {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for addr in addresses {
            match addr {
                IpAddr::V4(addr) => v4.push(*addr),
                IpAddr::V6(addr) => v6.push(*addr),
            }
        }
        self.report4(link, why, &v4, turn);
        self.report6(link, why, &v6, turn);
    }

    fn report4(&mut self, link: LinkId, why: Report, groups: &[Ipv4Addr], turn: &mut Turn<impl Egress>) {
        let own = self.link(link).addresses.iter().find_map(|prefix| match prefix.addr {
            IpAddr::V4(addr) => Some(addr),
            IpAddr::V6(_) => None,
        });
        // A station without an address may report too (RFC 3376 section 4.2.13).
        let from = (self.link(link).mac, own.unwrap_or(Ipv4Addr::UNSPECIFIED));
        if self.has_old_querier(link, Family::V4, turn.now) {
            return groups.iter().for_each(|group| say(link, turn, |frame| igmp::old_report(frame, from, *group)));
        }
        for some in groups.chunks(igmp::GROUPS_PER_REPORT) {
            say(link, turn, |frame| igmp::report(frame, from, why, some));
        }
    }

    fn report6(&mut self, link: LinkId, why: Report, addresses: &[Ipv6Addr], turn: &mut Turn<impl Egress>) {
        let mac = self.link(link).mac;
        let speaker = Speaker { mac, addr: ndp::link_local(mac) };
        if self.has_old_querier(link, Family::V6, turn.now) {
            return addresses.iter().for_each(|addr| say(link, turn, |frame| ndp::old_report(frame, speaker, *addr)));
        }
        for some in addresses.chunks(ndp::GROUPS_PER_REPORT) {
            say(link, turn, |frame| ndp::report(frame, speaker, why, some));
        }
    }

    pub(super) fn ask(&mut self, ask: Ask, turn: &mut Turn<impl Egress>) {
        let mac = self.link(ask.link).mac;
        match ask.addr {
            IpAddr::V4(target) => {
                let Some(IpAddr::V4(source)) = self.source(ask.link, ask.addr, ask.addr) else { return };
                let arp = Arp { op: ArpOp::Request, sender: (mac, source), target: (Mac::ZERO, target) };
                say(ask.link, turn, |frame| arp::build(frame, ask.to, &arp));
            }
            IpAddr::V6(target) => {
                let known = Some(ask.to).filter(|to| *to != Mac::BROADCAST);
                let speaker = Speaker { mac, addr: ndp::link_local(mac) };
                say(ask.link, turn, |frame| ndp::solicitation(frame, speaker, target, known));
            }
        }
    }
}

fn say(link: LinkId, turn: &mut Turn<impl Egress>, build: impl FnOnce(&mut PacketBuf)) {
    turn.lend(|turn, frame| {
        build(frame);
        turn.write_own(link, frame);
    });
}
