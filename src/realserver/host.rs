//! The changes to the host: settings, addresses, devices; each recorded before it is made.
//!
//! Never changes what is right already, and never records that: what we did not do, we do not undo.

use std::io;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use log::{debug, warn};

use super::state::{Entry, State};
use super::{Error, Kind, Method, UpConfig, sockets};
use crate::base::Prefix;
use crate::io::netlink::{LinkInfo, Netlink, Scope};
use crate::io::sysctl;

const KERNEL_TUNNEL: &str = "tunl0";

/// This host and its record.
pub struct Host {
    netlink: Netlink,
    /// The record.
    pub state: State,
}

impl Host {
    /// With a new record if there is none.
    pub fn create() -> Result<Host, Error> {
        Ok(Host { netlink: open_netlink()?, state: State::create()? })
    }

    /// Only if there is a record.
    pub fn existing() -> Result<Option<Host>, Error> {
        let netlink = open_netlink()?;
        Ok(State::existing()?.map(|state| Host { netlink, state }))
    }

    /// Quiet about the VIPs first, then the VIPs: the other way round a neighbour could learn the wrong MAC.
    pub fn take_vips(&mut self, config: &UpConfig) -> Result<(), Error> {
        let lo = self.link("lo")?.ok_or(Error::NoLoopback)?;
        for name in &config.interfaces {
            self.link(name)?.ok_or_else(|| Error::NoInterface(name.clone()))?;
        }
        let everywhere = ["all".to_owned()];
        let quiet = if config.interfaces.is_empty() { &everywhere[..] } else { &config.interfaces[..] };
        for interface in quiet.iter().map(String::as_str).chain(["lo"]) {
            // Answer only for addresses of the interface that was asked, and never name another's as sender.
            self.set(&format!("net/ipv4/conf/{interface}/arp_ignore"), "1")?;
            self.set(&format!("net/ipv4/conf/{interface}/arp_announce"), "2")?;
        }
        if let Method::Tunnel { .. } = config.method {
            // The larger of `all` and the device's own value counts.
            self.set("net/ipv4/conf/all/rp_filter", "0")?;
        }
        self.take_up(&lo)?;
        config.vips.iter().try_for_each(|vip| self.take_vip(&lo, *vip))
    }

    fn take_vip(&mut self, lo: &LinkInfo, vip: IpAddr) -> Result<(), Error> {
        self.state.record(Entry::Vip(vip))?;
        let present = self.netlink.addresses(lo.index).map_err(Error::refused("list the addresses of lo"))?;
        if present.iter().any(|prefix| prefix.addr == vip) {
            return Ok(());
        }
        let prefix = Prefix::host(vip);
        self.state.record(Entry::Address(prefix))?;
        // Scope host: a VIP is never the source of this host's own traffic.
        let added = self.netlink.add_address(lo.index, prefix, Scope::Host);
        added.map_err(Error::refused(format!("add {prefix} to lo")))?;
        await_route(vip);
        Ok(())
    }

    /// Lets the kernel unpack what it has devices for; their names. IPv4 in IPv4 is worth loading a module for.
    pub fn use_kernel_tunnels(&mut self, kinds: &[Kind]) -> Result<Vec<&'static str>, Error> {
        let mut used = Vec::new();
        for device in sockets::arrivals(kinds).map(|arrival| arrival.device) {
            if device == KERNEL_TUNNEL && self.link(device)?.is_none() {
                self.make_kernel_tunnel()?;
            }
            let Some(link) = self.link(device)? else { continue };
            self.set(&format!("net/ipv4/conf/{device}/rp_filter"), "0")?;
            self.take_up(&link)?;
            used.push(device);
        }
        Ok(used)
    }

    fn make_kernel_tunnel(&mut self) -> Result<(), Error> {
        let before = self.state.entries().len();
        self.state.record(Entry::Created(KERNEL_TUNNEL.to_owned()))?;
        // Asking for one loads the module, which may bring a tunl0 of its own: then ours is "there already".
        if let Err(error) = self.netlink.add_link(KERNEL_TUNNEL, "ipip") {
            self.state.truncate(before)?;
            debug!("the kernel makes no ipip device: {error}");
        }
        Ok(())
    }

    fn take_up(&mut self, link: &LinkInfo) -> Result<(), Error> {
        if link.up {
            return Ok(());
        }
        self.state.record(Entry::Up(link.name.clone()))?;
        self.netlink.set_up(link.index).map_err(Error::refused(format!("take {} up", link.name)))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let former = sysctl::read(name).map_err(Error::refused(format!("read {name}")))?;
        if former == value {
            return Ok(());
        }
        let known = |entry: &Entry| matches!(entry, Entry::Sysctl { name: recorded, .. } if recorded == name);
        // Someone changed it since the first `up`: the value to go back to is still the first one.
        if !self.state.entries().iter().any(known) {
            self.state.record(Entry::Sysctl { name: name.to_owned(), former })?;
        }
        sysctl::write(name, value).map_err(Error::refused(format!("set {name} to {value}")))
    }

    fn link(&mut self, name: &str) -> Result<Option<LinkInfo>, Error> {
        self.netlink.link(name).map_err(Error::refused(format!("look up {name}")))
    }

    /// Puts back everything from line `keep` of the record on, newest first, and strikes it from the record.
    pub fn restore(&mut self, keep: usize) -> Result<(), Error> {
        let mut failed = None;
        let changes = self.state.entries()[keep.min(self.state.entries().len())..].to_vec();
        for change in changes.iter().rev() {
            if let Err(source) = undo(&mut self.netlink, change) {
                warn!("not put back ({change}): {source}");
                failed = Some((change.clone(), source));
            }
        }
        match failed {
            None => self.state.truncate(keep),
            // Undoing twice does no harm, so the whole record stays for the next try.
            Some((change, source)) => Err(Error::NotRestored { what: format!("undo '{change}'"), source }),
        }
    }
}

fn open_netlink() -> Result<Netlink, Error> {
    Netlink::open().map_err(Error::refused("open a netlink socket"))
}

/// Undoes one change. Looks first: it may be undone already, or never have been made.
fn undo(netlink: &mut Netlink, change: &Entry) -> io::Result<()> {
    match change {
        Entry::Vip(_) | Entry::Decapsulator { .. } => Ok(()),
        Entry::Sysctl { name, former } => match sysctl::read(name) {
            Ok(value) if value == *former => Ok(()),
            // The setting went with its device.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => sysctl::write(name, former),
        },
        Entry::Address(prefix) => on_link(netlink, "lo", |netlink, lo| {
            if !netlink.addresses(lo.index)?.contains(prefix) {
                return Ok(());
            }
            netlink.delete_address(lo.index, *prefix)
        }),
        Entry::Up(name) => on_link(netlink, name, |netlink, link| match link.up {
            true => netlink.set_down(link.index),
            false => Ok(()),
        }),
        Entry::Created(name) => on_link(netlink, name, |netlink, link| netlink.delete_link(link.index)),
    }
}

fn on_link(
    netlink: &mut Netlink,
    name: &str,
    act: impl FnOnce(&mut Netlink, LinkInfo) -> io::Result<()>,
) -> io::Result<()> {
    match netlink.link(name)? {
        Some(link) => act(netlink, link),
        None => Ok(()),
    }
}

/// The VIPs on record.
pub fn vips(entries: &[Entry]) -> Vec<IpAddr> {
    let vip = |entry: &Entry| if let Entry::Vip(vip) = entry { Some(*vip) } else { None };
    entries.iter().filter_map(vip).collect()
}

/// Waits until the kernel takes packets to this address: the route of an IPv6 address comes a moment after it, and until then
/// the kernel answers that there is none. A second is enough for any; nobody is refused a VIP for it.
fn await_route(vip: IpAddr) {
    let has_route = || {
        // What goes to an address of the host itself comes from there.
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        socket.connect((vip, 9))?;
        socket.local_addr().map(|own| own.ip() == vip)
    };
    let mut tries = 0..1000;
    while vip.is_ipv6() && !has_route().unwrap_or(false) && tries.next().is_some() {
        thread::sleep(Duration::from_millis(1));
    }
}
