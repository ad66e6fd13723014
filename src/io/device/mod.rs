//! How a TAP or TUN is opened, and how each change to the host is remembered and undone.
//!
//! Never deletes a device that it did not create; what it created vanishes with the descriptor.

mod follow;
mod set_up;

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use log::{debug, warn};

use follow::Followed;
pub use follow::LinkChange;
use set_up::{cannot, ipv6_switch, label, reverse_path};

use super::link_config::{LinkConfig, LinkFacts, Offloads};
use super::netlink::{LinkInfo, LinkKind, Netlink};
use super::{LinkError, sys, sysctl, tun};
use crate::base::{Medium, Prefix};
use crate::wire::{Framing, VnetHeader};

/// The kernel's limit for a name, without its zero.
const NAME_MAX: usize = 15;
/// The largest MTU of a TAP: 65535 less the Ethernet header.
const TAP_MTU_MAX: u32 = 65_521;

/// One change to an adopted TAP, with what was there before.
#[derive(Debug)]
enum Undo {
    /// It had this MTU.
    Mtu(u32),
    /// It was on no bridge.
    Master,
    /// It was down.
    Up,
    /// `disable_ipv6` had this value.
    Ipv6(String),
    /// `rp_filter` had this value.
    ReversePath(String),
    /// Offloads, length and byte order of the virtio header: back to the kernel's defaults, or the next user would be sent superframes.
    Offloads,
}

/// A TAP or TUN that is held open and set up; what was changed on the host is undone when this is dropped.
pub struct Device {
    device: ::tun::Device,
    name: String,
    index: u32,
    mtu: u16,
    framing: Framing,
    offloads: Offloads,
    followed: Followed,
    /// What to put back, in the order it was changed.
    undo: Vec<Undo>,
    /// Addresses that the host was told to route here.
    routed: HashSet<IpAddr>,
}

impl Device {
    /// Opens (or adopts) the device, puts it on its bridge and takes it up; on an error everything is undone.
    pub fn open(config: &LinkConfig) -> Result<Device, LinkError> {
        let medium = config.medium;
        let asked = config.tap.as_deref().unwrap_or(match medium {
            Medium::Ethernet => "tap%d",
            Medium::Ip => "tun%d",
        });
        check_name(asked)?;
        let cannot = |what| cannot(what, medium, asked);
        let mut netlink = Netlink::open().map_err(cannot("ask the kernel about"))?;
        let bridge = config.bridge.as_deref().map(|name| find_bridge(&mut netlink, name)).transpose()?;
        let before = netlink.link(asked).map_err(cannot("ask the kernel about"))?;
        check_adoptable(&mut netlink, medium, before.as_ref(), bridge.as_ref())?;

        let (device, vnet) = open_device(medium, asked)?;
        let name = ::tun::AbstractDevice::tun_name(&device).unwrap_or_else(|_| asked.to_owned());
        let found = netlink.link(&name).and_then(|info| info.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV)));
        let mut tap = found.map_err(cannot("find the new"))?;
        if before.is_none() && medium == Medium::Ethernet {
            raise_mac(&mut netlink, &mut tap).map_err(cannot("set the MAC of"))?;
        }
        let framing = Framing { vnet, medium };
        let (undo, routed, offloads) = (Vec::new(), HashSet::new(), Offloads::default());
        let followed = Followed::on(config.bridge.clone());
        let mut opened = Device { device, name, index: tap.index, mtu: 0, framing, offloads, followed, undo, routed };
        if config.mac == tap.mac && medium == Medium::Ethernet {
            return Err(LinkError::SameMac { tap: opened.name.clone(), mac: config.mac });
        }
        opened.set_up(&mut netlink, config, &tap, bridge.as_ref())?;
        if before.is_none() {
            opened.undo.clear();
        }
        Ok(opened)
    }

    /// What a process that reads and writes the device must know of it.
    pub fn facts(&self) -> LinkFacts {
        let (vnet_len, is_tun) = (self.framing.vnet.size(), self.framing.medium == Medium::Ip);
        LinkFacts { name: self.name.clone(), mtu: self.mtu, offloads: self.offloads, vnet_len, is_tun }
    }

    /// Its frames, read and written by this process.
    #[cfg(any(test, feature = "testing"))]
    pub fn link(&self) -> io::Result<super::Link> {
        Ok(super::Link::new(self.as_fd().try_clone_to_owned()?, self.facts()))
    }

    /// Has the host route an address to a TUN (`here`), or no more; a TAP's neighbours ask. What the host routes elsewhere
    /// it keeps there.
    pub fn route(&mut self, addr: IpAddr, here: bool) {
        if self.framing.medium == Medium::Ethernet || self.routed.contains(&addr) == here {
            return;
        }
        let Ok(mut netlink) = Netlink::open() else { return };
        if !here {
            self.routed.remove(&addr);
            if let Err(error) = netlink.remove_route(Prefix::host(addr), self.index) {
                debug!("{}: the route to {addr} stays: {error}", self.name);
            }
            return;
        }
        self.routed.insert(addr);
        match netlink.add_route(Prefix::host(addr), self.index) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => debug!("{addr} has a route already"),
            Err(error) => warn!("{}: no route to {addr}: {error}; packets to it will not come here", self.name),
            Ok(()) => {}
        }
    }

    /// Puts back what was changed, last change first. Nothing here may fail loudly: the program is ending.
    fn undo(&mut self) {
        let routed: Vec<IpAddr> = self.routed.iter().copied().collect();
        routed.into_iter().for_each(|addr| self.route(addr, false));
        if self.undo.is_empty() {
            return;
        }
        let found = Netlink::open().and_then(|mut netlink| Ok((netlink.link_by_index(self.index)?, netlink)));
        let Ok((Some(tap), mut netlink)) = found else {
            return;
        };
        while let Some(change) = self.undo.pop() {
            let result = match &change {
                Undo::Mtu(mtu) => netlink.set_mtu(tap.index, *mtu),
                Undo::Master => netlink.set_master(tap.index, None),
                Undo::Up => netlink.set_down(tap.index),
                Undo::Ipv6(value) => sysctl::write(&ipv6_switch(&self.name), value),
                Undo::ReversePath(value) => sysctl::write(&reverse_path(&self.name), value),
                Undo::Offloads => sys::set_offloads(&self.device, 0)
                    .and_then(|()| sys::set_vnet_little_endian(&self.device, 0))
                    .and_then(|()| sys::set_vnet_header_len(&self.device, VnetHeader::Plain.size() as i32)),
            };
            if let Err(error) = result {
                warn!("{}: not put back as it was ({change:?}): {error}", self.name);
            }
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.undo();
    }
}

impl AsRawFd for Device {
    fn as_raw_fd(&self) -> RawFd {
        self.device.as_raw_fd()
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        sys::borrowed(self)
    }
}

/// A bridge takes over the lowest MAC of its ports, and with it the host's changes: ours must be the highest.
fn raise_mac(netlink: &mut Netlink, tap: &mut LinkInfo) -> io::Result<()> {
    tap.mac.0[0] = 0xfe;
    netlink.set_mac(tap.index, tap.mac)
}

/// Refuses what the kernel would refuse as a device's name.
pub fn check_name(name: &str) -> Result<(), LinkError> {
    let refused = |c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace();
    let bad = name.is_empty() || name.len() > NAME_MAX || name == "." || name == ".." || name.contains(refused);
    if bad { Err(LinkError::BadName { name: name.to_owned() }) } else { Ok(()) }
}

fn find_bridge(netlink: &mut Netlink, name: &str) -> Result<LinkInfo, LinkError> {
    check_name(name)?;
    let found = netlink.link(name).map_err(cannot("look up the bridge of", Medium::Ethernet, name))?;
    match found {
        Some(bridge) if bridge.kind == LinkKind::Bridge => Ok(bridge),
        Some(_) => Err(LinkError::NotABridge { bridge: name.to_owned() }),
        None => Err(LinkError::NoBridge { bridge: name.to_owned() }),
    }
}

/// Looks before opening, because the kernel's EINVAL would not say which of these it was.
fn check_adoptable(
    netlink: &mut Netlink,
    medium: Medium,
    tap: Option<&LinkInfo>,
    bridge: Option<&LinkInfo>,
) -> Result<(), LinkError> {
    let Some(tap) = tap else {
        return Ok(());
    };
    let name = tap.name.clone();
    match (&tap.kind, medium) {
        (LinkKind::Tap, Medium::Ethernet) | (LinkKind::Tun, Medium::Ip) => {}
        (LinkKind::MultiQueue, _) => return Err(LinkError::MultiQueue { tap: label(medium, &name) }),
        (LinkKind::Tap | LinkKind::Tun | LinkKind::Bridge | LinkKind::Other(_), _) => {
            return Err(LinkError::NotATap { tap: label(medium, &name), wanted: medium.device() });
        }
    }
    let (Some(master), Some(bridge)) = (tap.master, bridge) else {
        return Ok(());
    };
    if master == bridge.index {
        return Ok(());
    }
    let other = netlink.link_by_index(master).ok().flatten().map_or_else(|| format!("#{master}"), |info| info.name);
    Err(LinkError::OnAnotherBridge { tap: name, other })
}

/// Opens it with a virtio header; a kernel that refuses the flag gets us without.
fn open_device(medium: Medium, name: &str) -> Result<(::tun::Device, VnetHeader), LinkError> {
    let opened = match tun::open(medium, name, true) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            tun::open(medium, name, false).map(|tap| (tap, VnetHeader::None))
        }
        other => other.map(|tap| (tap, VnetHeader::Plain)),
    };
    opened.map_err(|source| {
        let tap = label(medium, name);
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => LinkError::NotPermitted { tap, source },
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => LinkError::NoTunDriver { tap },
            Some(libc::EBUSY) => LinkError::Busy { tap },
            _ => LinkError::Setup { tap, what: "open", source },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Mac;

    #[test]
    fn a_name_the_kernel_would_refuse_is_refused_by_us_first() {
        for bad in ["", ".", "..", "a/b", "a b", "a:1", "sixteen-bytes-xx"] {
            assert!(matches!(check_name(bad), Err(LinkError::BadName { .. })), "{bad}");
        }
        for good in ["tap0", "tap%d", "fifteen-bytes-x", "lb.100"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_device_that_is_no_bridge_is_named_in_the_error() {
        let config = LinkConfig {
            tap: None,
            bridge: Some("lo".to_owned()),
            mtu: None,
            offload: true,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            medium: Medium::Ethernet,
        };
        let error = Device::open(&config).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error, "lo is not a bridge; name the bridge that the director is to sit on");
    }
}
