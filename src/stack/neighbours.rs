//! The director as its neighbours see it: its addresses, and what it answers to ARP and neighbour discovery.
//!
//! The neighbour cache learns only from neighbours that it waits for, or that are in the link's nets and ask for an
//! address of the director.

use std::net::{IpAddr, Ipv6Addr};

use crate::base::{Consumed, DropReason, LinkId, Mac};
use crate::router::{Egress, Router, Turn, is_link_local};
use crate::service::Services;
use crate::wire::arp::{Arp, ArpOp};
use crate::wire::ndp::Ndp;

/// Who the director is: the addresses of its services and of its links.
pub struct Host<'a> {
    /// Brings virtual and local addresses.
    pub services: &'a Services,
    /// Brings the links' addresses, and says what is answered.
    pub router: &'a mut Router,
}

impl Host<'_> {
    /// True for every address that the director answers for.
    pub fn owns(&self, addr: IpAddr) -> bool {
        self.services.owns(addr) || self.router.owns(addr)
    }

    /// The address that an error about a packet to `addr` comes from: that one if it is the director's own. Of IPv6, a
    /// host does not count addresses that are merely routed to it, a whole prefix at once; of IPv4 it does.
    pub fn speaks_as(&self, addr: IpAddr) -> Option<IpAddr> {
        let routed = addr.is_ipv6() && self.router.is_in_local_prefix(addr);
        (self.owns(addr) && !routed).then_some(addr)
    }

    /// Every address that the neighbours are told of.
    pub fn announced(&self) -> Vec<IpAddr> {
        self.router.own_addresses().chain(self.services.addresses()).collect()
    }

    /// An ARP packet: answered if it asks for an address of the director, learned from if it is news.
    pub fn arp(&mut self, link: LinkId, arp: &Arp, turn: &mut Turn<impl Egress>) -> Result<(), DropReason> {
        let (mac, addr) = (arp.sender.0, IpAddr::V4(arp.sender.1));
        if mac.is_multicast() || mac == Mac::ZERO || self.owns(addr) {
            return Err(DropReason::Arp);
        }
        let for_us = arp.op == ArpOp::Request && self.owns(IpAddr::V4(arp.target.1));
        let asked = for_us && !self.router.answered_elsewhere(link, addr);
        let probe = arp.sender.1.is_unspecified();
        let news = !probe && (self.router.neighbours.knows(link, addr) || (asked && self.is_near(link, addr)));
        if news {
            self.router.learned(link, addr, mac, turn);
        }
        if asked {
            self.router.arp_reply(link, arp, turn);
            turn.consume(Consumed::ArpRequest);
            return Ok(());
        }
        if !news {
            return Err(DropReason::Arp);
        }
        turn.consume(Consumed::ArpReply);
        Ok(())
    }

    /// A message of neighbour discovery.
    pub fn ndp(&mut self, link: LinkId, ndp: &Ndp, turn: &mut Turn<impl Egress>) -> Result<(), DropReason> {
        match *ndp {
            Ndp::Solicitation { sender, mac, target } => self.solicited(link, (mac, sender), target, turn),
            Ndp::Advertisement { target, mac, overrides } => {
                let addr = IpAddr::V6(target);
                let before = self.router.neighbours.mac_of(link, addr);
                let mac = mac.or(before).filter(|mac| is_station(*mac)).ok_or(DropReason::Ndp)?;
                // Without the override flag another MAC is somebody's claim, not news (RFC 4861 7.2.5).
                let contradicts = !overrides && before.is_some_and(|before| before != mac);
                if contradicts || self.owns(addr) || !self.router.neighbours.knows(link, addr) {
                    return Err(DropReason::Ndp);
                }
                self.router.learned(link, addr, mac, turn);
                turn.consume(Consumed::NdpAnswer);
                Ok(())
            }
            // Of the stack's listeners.
            Ndp::Query(_) => Err(DropReason::Ndp),
        }
    }

    fn solicited(
        &mut self,
        link: LinkId,
        sender: (Mac, Ipv6Addr),
        target: Ipv6Addr,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), DropReason> {
        let (mac, addr) = (sender.0, IpAddr::V6(sender.1));
        let asked = self.is_asked(link, addr, IpAddr::V6(target));
        if !is_station(mac) || self.owns(addr) || !asked {
            return Err(DropReason::Ndp);
        }
        if self.is_near(link, addr) {
            self.router.learned(link, addr, mac, turn);
        }
        self.router.ndp_reply(link, target, sender, turn);
        turn.consume(Consumed::NdpSolicitation);
        Ok(())
    }

    /// True for a sender that packets may ever be sent to on that link: one in its nets.
    fn is_near(&self, link: LinkId, sender: IpAddr) -> bool {
        self.router.link(link).addresses.iter().any(|own| own.contains(sender))
    }

    /// A solicitation of `sender` on a link is for us, and not for another link of ours on the same bridge.
    fn is_asked(&self, link: LinkId, sender: IpAddr, target: IpAddr) -> bool {
        if is_link_local(target) {
            return self.router.link(link).addresses.iter().any(|own| own.addr == target);
        }
        // A sender without an address of a net is in the net of the address that it asks for.
        let from = if sender.is_unspecified() || is_link_local(sender) { target } else { sender };
        self.owns(target) && !self.router.answered_elsewhere(link, from)
    }
}

fn is_station(mac: Mac) -> bool {
    !mac.is_multicast() && mac != Mac::ZERO
}
