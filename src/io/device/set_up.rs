//! The changes that are made to a TAP or TUN, each remembered: offloads, the bridge, the size, what the host does with it.
//!
//! Never undoes one.

use std::io;

use log::debug;

use super::super::link_config::{LinkConfig, Offloads};
use super::super::netlink::{LinkInfo, Netlink};
use super::super::{LinkError, sys, sysctl};
use super::{Device, TAP_MTU_MAX, Undo};
use crate::base::Medium;
use crate::wire::VnetHeader;

impl Device {
    pub(super) fn set_up(
        &mut self,
        netlink: &mut Netlink,
        config: &LinkConfig,
        tap: &LinkInfo,
        bridge: Option<&LinkInfo>,
    ) -> Result<(), LinkError> {
        let name = self.name.clone();
        let cannot = |what| cannot(what, config.medium, &name);
        self.set_offloads(config).map_err(cannot("set the offloads of"))?;
        match config.medium {
            Medium::Ethernet => self.turn(ipv6_switch(&self.name), "1", Undo::Ipv6),
            Medium::Ip => self.turn(reverse_path(&self.name), "2", Undo::ReversePath),
        }
        // Before it is on the bridge: the bridge would otherwise take over a smaller MTU.
        let on = netlink.link_by_index(tap.master.unwrap_or(0)).ok().flatten();
        self.set_mtu(netlink, config, tap, bridge.or(on.as_ref()))?;
        if let Some(bridge) = bridge.filter(|bridge| tap.master != Some(bridge.index)) {
            netlink.set_master(tap.index, Some(bridge.index)).map_err(cannot("put on its bridge"))?;
            self.undo.push(Undo::Master);
        }
        if !tap.up {
            netlink.set_up(tap.index).map_err(cannot("take up"))?;
            self.undo.push(Undo::Up);
        }
        Ok(())
    }

    fn set_offloads(&mut self, config: &LinkConfig) -> io::Result<()> {
        self.undo.push(Undo::Offloads);
        let has_header = self.framing.vnet != VnetHeader::None;
        if has_header {
            // A persistent TAP keeps the last user's values: say everything explicitly.
            sys::set_vnet_header_len(&self.device, self.framing.vnet.size() as i32)?;
            sys::set_vnet_little_endian(&self.device, 1)?;
        }
        use sys::offload::{CSUM, TSO_ECN, TSO4, TSO6, USO4, USO6};
        const TCP: u32 = CSUM | TSO4 | TSO6;
        let wanted: &[u32] = match config.offload && has_header {
            true => &[TCP | TSO_ECN | USO4 | USO6, TCP | TSO_ECN, TCP, CSUM, 0],
            false => &[0],
        };
        let mut result = Ok(());
        for mask in wanted {
            result = sys::set_offloads(&self.device, *mask);
            if result.is_ok() {
                self.offloads = Offloads::from_mask(*mask);
                return self.offer_tunnels(*mask);
            }
        }
        result
    }

    /// Superframes inside UDP tunnels, both ways, if the kernel knows them (Linux 6.17): the long header is for those that
    /// we write, the bits are for those that we read. Not on a TUN: Linux 6.18 refuses what we write there, for it counts an
    /// Ethernet header in.
    fn offer_tunnels(&mut self, mask: u32) -> io::Result<()> {
        if !self.offloads.tso || self.framing.medium == Medium::Ip {
            return Ok(());
        }
        // The header first: a kernel that may give us such a frame must have room to describe it.
        sys::set_vnet_header_len(&self.device, VnetHeader::Tunnel.size() as i32)?;
        let mask = mask | sys::offload::UDP_TUNNEL | sys::offload::UDP_TUNNEL_CSUM;
        if sys::set_offloads(&self.device, mask).is_err() {
            return sys::set_vnet_header_len(&self.device, self.framing.vnet.size() as i32);
        }
        self.framing.vnet = VnetHeader::Tunnel;
        self.offloads = Offloads::from_mask(mask);
        Ok(())
    }

    /// A TAP's host must not speak IPv6 through its end of our wire; a TUN's must not doubt where our packets come from.
    /// Where /proc is read-only it is left as it is.
    fn turn(&mut self, switch: String, wanted: &str, undo: fn(String) -> Undo) {
        match sysctl::read(&switch) {
            Ok(value) if value == wanted => {}
            Ok(value) => match sysctl::write(&switch, wanted) {
                Ok(()) => self.undo.push(undo(value)),
                Err(error) => debug!("{switch} stays {value}: {error}"),
            },
            Err(error) => debug!("no {switch} to set: {error}"),
        }
    }

    fn set_mtu(
        &mut self,
        netlink: &mut Netlink,
        config: &LinkConfig,
        tap: &LinkInfo,
        bridge: Option<&LinkInfo>,
    ) -> Result<(), LinkError> {
        let like_bridge = bridge.map(|bridge| bridge.mtu.min(TAP_MTU_MAX));
        let mtu = config.mtu.map(u32::from).or(like_bridge).unwrap_or(tap.mtu);
        if mtu != tap.mtu {
            let refused = |source| LinkError::Mtu { tap: label(config.medium, &self.name), mtu, source };
            netlink.set_mtu(tap.index, mtu).map_err(refused)?;
            self.undo.push(Undo::Mtu(tap.mtu));
        }
        self.mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        Ok(())
    }
}

pub(super) fn cannot(what: &'static str, medium: Medium, tap: &str) -> impl FnOnce(io::Error) -> LinkError + use<> {
    let tap = label(medium, tap);
    move |source| LinkError::Setup { tap, what, source }
}

/// A device with the word for it, as errors name it.
pub(super) fn label(medium: Medium, name: &str) -> String {
    format!("{} {name}", medium.device())
}

/// What a balancer sends comes from addresses that the host would look for elsewhere: 2 asks only that there is a way.
pub(super) fn reverse_path(tun: &str) -> String {
    format!("net/ipv4/conf/{tun}/rp_filter")
}

pub(super) fn ipv6_switch(tap: &str) -> String {
    // A dot may stand in a device's name and is no separator in this form of the path.
    format!("net/ipv6/conf/{tap}/disable_ipv6")
}
