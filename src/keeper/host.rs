//! The host around the devices: what changes there is heard, said with its cure, and told to the worker.
//!
//! An address of the director that the host has too is a frequent mistake: set-ups made for the kernel's IPVS have the
//! virtual address on the director itself. The host then keeps the packets, or answers ARP beside the director. Never takes
//! an address from the host.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use super::carriers::Carriers;
use crate::base::Prefix;
use crate::io::{Device, HostChange, HostWatch, LinkChange, Netlink};

/// What is known of the host.
pub(super) struct Host {
    watch: HostWatch,
    netlink: Netlink,
    /// The host's addresses, each with its prefix length and the numbers of the links that have it.
    addresses: HashMap<IpAddr, (u8, HashSet<u32>)>,
    /// The director's addresses.
    own: HashSet<IpAddr>,
    /// Those of both that were said.
    said: HashSet<IpAddr>,
    /// Links that virtual routers track.
    pub(super) carriers: Carriers,
}

impl Host {
    /// Begins to listen, then looks.
    pub(super) fn open() -> std::io::Result<Host> {
        let (watch, mut netlink) = (HostWatch::open()?, Netlink::open()?);
        let addresses = by_address(netlink.all_addresses()?);
        Ok(Host { watch, netlink, addresses, own: HashSet::new(), said: HashSet::new(), carriers: Carriers::default() })
    }

    /// Ready to be read when something has changed.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Another worker begins, without addresses.
    pub(super) fn forget_own(&mut self) {
        self.own.clear();
    }

    /// An address is the director's (`here`), or no more.
    pub(super) fn own(&mut self, addr: IpAddr, here: bool) {
        let _news = if here { self.own.insert(addr) } else { self.own.remove(&addr) };
        self.judge(addr);
    }

    /// Reads what has changed; what the worker must know of each device, by its place in the list.
    pub(super) fn heed(&mut self, devices: &mut [Device]) -> Vec<(usize, LinkChange)> {
        let mut concerned = HashSet::new();
        while let Some(changes) = self.watch.next_changes() {
            for change in changes {
                match change {
                    HostChange::Link { index, name } => {
                        let about = |device: &Device| device.is_about(index, &name);
                        concerned.extend((0..devices.len()).filter(|number| about(&devices[*number])));
                    }
                    HostChange::Address(index, Prefix { addr, len }) => {
                        let entry = self.addresses.entry(addr).or_default();
                        entry.0 = len;
                        entry.1.insert(index);
                        self.judge(addr);
                    }
                    HostChange::AddressGone(index, addr) => self.gone(index, addr),
                    HostChange::Missed => {
                        concerned.extend(0..devices.len());
                        self.look_again();
                    }
                }
            }
        }
        self.follow(devices, concerned)
    }

    /// The tracked links that frames can pass now and could not before, or the other way round, and why.
    pub(super) fn changed_carriers(&mut self) -> Vec<(String, Option<String>)> {
        self.carriers.changed(|| self.netlink.all_links())
    }

    /// Looks at all devices, whatever was heard.
    pub(super) fn look(&mut self, devices: &mut [Device]) -> Vec<(usize, LinkChange)> {
        self.follow(devices, (0..devices.len()).collect())
    }

    fn follow(&mut self, devices: &mut [Device], concerned: HashSet<usize>) -> Vec<(usize, LinkChange)> {
        let mut told = Vec::new();
        for number in concerned {
            told.extend(devices[number].follow(&mut self.netlink).into_iter().map(|change| (number, change)));
        }
        told
    }

    fn gone(&mut self, index: u32, addr: IpAddr) {
        if let Some((_, links)) = self.addresses.get_mut(&addr) {
            links.remove(&index);
            if links.is_empty() {
                self.addresses.remove(&addr);
            }
        }
        self.judge(addr);
    }

    fn look_again(&mut self) {
        match self.netlink.all_addresses() {
            Ok(all) => self.addresses = by_address(all),
            Err(error) => return log::warn!("the host's addresses cannot be listed: {error}"),
        }
        let both: Vec<IpAddr> = self.own.union(&self.said).copied().collect();
        both.into_iter().for_each(|addr| self.judge(addr));
    }

    /// Says that the host has one of the director's addresses, or has it no more; each once.
    fn judge(&mut self, addr: IpAddr) {
        let found = self.addresses.get(&addr).filter(|_| self.own.contains(&addr));
        let Some((len, links)) = found else {
            if self.said.remove(&addr) && self.own.contains(&addr) {
                log::info!("{addr} is this director's alone now, the host has it no more");
            }
            return;
        };
        if !self.said.insert(addr) {
            return;
        }
        let index = links.iter().min().copied().unwrap_or_default();
        let link =
            self.netlink.link_by_index(index).ok().flatten().map_or_else(|| format!("#{index}"), |link| link.name);
        log::warn!(
            "{addr} is an address of this director and of the host, on {link}: the host keeps packets to it, or answers \
             for it beside this director. Take it from the host: ip address del {addr}/{len} dev {link}"
        );
    }
}

fn by_address(all: Vec<(u32, Prefix)>) -> HashMap<IpAddr, (u8, HashSet<u32>)> {
    let mut addresses: HashMap<IpAddr, (u8, HashSet<u32>)> = HashMap::new();
    for (index, Prefix { addr, len }) in all {
        let entry = addresses.entry(addr).or_default();
        entry.0 = len;
        entry.1.insert(index);
    }
    addresses
}
