//! What the kernel knows besides conns: who the director is on each link, and where next hops are.
//!
//! Never asks for a neighbour.

use std::net::IpAddr;

use super::Fast;
use crate::base::{LinkId, Mac, Medium};
use crate::fastpath::FastPath;
use crate::fastpath::abi::{Neighbour, Station};
use crate::router::Router;

impl Fast<'_> {
    pub(super) fn devices(&self) -> Vec<u32> {
        self.router.links().map(|(link, _)| self.path.device(link)).collect()
    }

    /// Says on each link who the director is: nobody, while another one works, or while conns are leaving.
    pub(super) fn station(&mut self) {
        let active = self.is_active() && !self.is_leaving();
        let links: Vec<(LinkId, Mac)> = self.router.links().map(|(id, link)| (id, link.mac)).collect();
        for (link, mac) in links {
            let mut station = Station { mac: active.then_some(mac), ..Station::default() };
            for Mac([_, _, _, _, family, number]) in self.router.virtuals.macs(link) {
                let routers = if family == 1 { &mut station.routers4 } else { &mut station.routers6 };
                routers[usize::from(number) / 64] |= 1 << (number % 64);
            }
            self.path.set_station(link, &station);
        }
    }
}

/// Where packets to a next hop are sent by the kernel.
pub(super) fn neighbour_of(router: &Router, path: &FastPath, link: LinkId, addr: IpAddr) -> Neighbour {
    neighbour_at(router, path.device(link), link, addr)
}

pub(super) fn neighbour_at(router: &Router, ifindex: u32, link: LinkId, addr: IpAddr) -> Neighbour {
    let is_host = router.medium(link) == Medium::Ip;
    let mac = if is_host { Some(Mac::ZERO) } else { router.neighbours.present_mac(link, addr) };
    Neighbour { mac, is_host, link_mac: router.link(link).mac, ifindex }
}
