//! What a router says to its neighbours: questions, answers and announcements, by ARP or by neighbour discovery.
//!
//! Never decides whether something is to be said.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::neighbours::Ask;
use super::{Egress, Router};
use crate::base::{LinkId, Mac, Medium};
use crate::wire::arp::{self, Arp, ArpOp};
use crate::wire::ndp::{self, Report, Speaker};

impl Router {
    /// Answers an ARP request for an own address.
    pub fn arp_reply(&mut self, link: LinkId, request: &Arp, out: &mut impl Egress) {
        let mac = self.link(link).mac;
        let reply = Arp { op: ArpOp::Reply, sender: (mac, request.target.1), target: request.sender };
        arp::build(&mut self.scratch, request.sender.0, &reply);
        self.say(link, out);
    }

    /// Answers a solicitation for an own address; who wants to have it himself is answered before all.
    pub fn ndp_reply(&mut self, link: LinkId, addr: Ipv6Addr, asked_by: (Mac, Ipv6Addr), out: &mut impl Egress) {
        let speaker = Speaker { mac: self.link(link).mac, addr };
        let one = Some(asked_by).filter(|(_, sender)| !sender.is_unspecified());
        ndp::advertisement(&mut self.scratch, speaker, one);
        self.say(link, out);
    }

    /// Tells everybody on a link that an address is here: gratuitous ARP (RFC 5227 section 3), or an unsolicited
    /// advertisement (RFC 4861 7.2.6) and, for bridges that snoop, the group that hears questions about it.
    pub fn announce(&mut self, link: LinkId, addr: IpAddr, out: &mut impl Egress) {
        if self.medium(link) == Medium::Ip {
            return;
        }
        match addr {
            IpAddr::V4(addr) => self.announce4(link, addr, out),
            IpAddr::V6(addr) => {
                self.report(link, Report::Joined, &[addr], out);
                let speaker = Speaker { mac: self.link(link).mac, addr };
                ndp::advertisement(&mut self.scratch, speaker, None);
                self.say(link, out);
            }
        }
    }

    fn announce4(&mut self, link: LinkId, addr: Ipv4Addr, out: &mut impl Egress) {
        let arp = Arp { op: ArpOp::Request, sender: (self.link(link).mac, addr), target: (Mac::ZERO, addr) };
        arp::build(&mut self.scratch, Mac::BROADCAST, &arp);
        self.say(link, out);
    }

    /// Says which groups are listened to, those of the given addresses.
    pub fn report(&mut self, link: LinkId, why: Report, addresses: &[Ipv6Addr], out: &mut impl Egress) {
        let mac = self.link(link).mac;
        for some in addresses.chunks(ndp::GROUPS_PER_REPORT) {
            ndp::report(&mut self.scratch, Speaker { mac, addr: ndp::link_local(mac) }, why, some);
            self.say(link, out);
        }
    }

    pub(super) fn ask(&mut self, ask: Ask, out: &mut impl Egress) {
        let mac = self.link(ask.link).mac;
        match ask.addr {
            IpAddr::V4(target) => {
                let Some(IpAddr::V4(source)) = self.source(ask.link, ask.addr, ask.addr) else { return };
                let arp = Arp { op: ArpOp::Request, sender: (mac, source), target: (Mac::ZERO, target) };
                arp::build(&mut self.scratch, ask.to, &arp);
            }
            IpAddr::V6(target) => {
                let known = Some(ask.to).filter(|to| *to != Mac::BROADCAST);
                ndp::solicitation(&mut self.scratch, Speaker { mac, addr: ndp::link_local(mac) }, target, known);
            }
        }
        self.say(ask.link, out);
    }

    fn say(&mut self, link: LinkId, out: &mut impl Egress) {
        self.ledger.generated += 1;
        match out.transmit(link, &mut self.scratch) {
            Ok(()) => self.ledger.tx += 1,
            Err(reason) => self.ledger.drop(reason),
        }
    }
}
