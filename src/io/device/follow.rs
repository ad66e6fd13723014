//! What becomes of a device while it is open: its MTU changes, it is taken down, its bridge goes and comes again.
//!
//! Each fault is said once, with its cure, and its end too. The kernel is asked for the present state, so that it does not
//! matter which messages were heard. Never takes up a device that somebody took down.

use std::io;
use std::time::{Duration, Instant};

use log::{info, warn};

use super::Device;
use crate::base::Medium;
use crate::io::netlink::{LinkInfo, Netlink};

/// A device that is taken off its bridge again within this time is managed by somebody else.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the process that reads and writes the device must know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkChange {
    /// It takes packets of so many bytes.
    Mtu(u16),
    /// Frames pass again: neighbours and bridges may have forgotten whose addresses are here.
    Back,
}

/// Why no frame passes.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Fault {
    Down,
    BridgeGone(String),
    OffBridge(String),
    Elsewhere { bridge: String, other: String },
    BridgeDown(String),
}

/// What was last seen of a device, and which bridge it belongs on.
pub(super) struct Followed {
    /// The bridge that it is to be on.
    bridge: Option<String>,
    /// The configuration names that bridge, so it is put back.
    is_configured: bool,
    fault: Option<Fault>,
    /// When it was put back on a bridge, and on which.
    put_back: Option<(u32, Instant)>,
}

impl Followed {
    /// Of a device that the configuration puts on that bridge, if it does.
    pub(super) fn on(bridge: Option<String>) -> Followed {
        Followed { is_configured: bridge.is_some(), bridge, fault: None, put_back: None }
    }
}

impl Device {
    /// True if a change of that link may concern this device.
    pub fn is_about(&self, index: u32, name: &str) -> bool {
        index == self.index || self.followed.bridge.as_deref() == Some(name)
    }

    /// Looks what has become of the device; says it, and puts it back on its bridge.
    pub fn follow(&mut self, netlink: &mut Netlink) -> Vec<LinkChange> {
        // Whoever reads a deleted device is told by the read.
        let Ok(Some(link)) = netlink.link_by_index(self.index) else { return Vec::new() };
        let mut changes = Vec::new();
        if link.name != self.name {
            info!("{} has the name {} now", self.name, link.name);
            self.name.clone_from(&link.name);
        }
        changes.extend(self.follow_mtu(&link));
        let fault = match self.fault(&link, netlink) {
            Ok(fault) => fault,
            Err(error) => {
                warn!("{}: its bridge cannot be looked up: {error}", self.name);
                return changes;
            }
        };
        if fault == self.followed.fault {
            return changes;
        }
        match &fault {
            Some(fault) => warn!("{}: {}", self.name, fault.sentence(self)),
            None => {
                info!("{}: frames pass again", self.name);
                self.restore_routes();
                changes.push(LinkChange::Back);
            }
        }
        self.followed.fault = fault;
        changes
    }

    fn follow_mtu(&mut self, link: &LinkInfo) -> Option<LinkChange> {
        let mtu = u16::try_from(link.mtu).unwrap_or(u16::MAX);
        let before = std::mem::replace(&mut self.mtu, mtu);
        if before == mtu {
            return None;
        }
        warn!(
            "{0}: its MTU was changed from {before} to {mtu}; packets are kept to it from now on. \
             If that was not meant: ip link set {0} mtu {before}",
            self.name
        );
        Some(LinkChange::Mtu(mtu))
    }

    /// What is wrong at present; a device that is on no bridge is put back first, if that is ours to do.
    fn fault(&mut self, link: &LinkInfo, netlink: &mut Netlink) -> io::Result<Option<Fault>> {
        if !link.up {
            return Ok(Some(Fault::Down));
        }
        let on = link.master.map(|master| netlink.link_by_index(master)).transpose()?.flatten();
        let Some(wanted) = self.followed.bridge.clone() else {
            // Whoever puts it on a bridge means it to stay there.
            self.followed.bridge = on.map(|bridge| bridge.name);
            return Ok(None);
        };
        Ok(match on {
            Some(on) if on.name != wanted => Some(Fault::Elsewhere { bridge: wanted, other: on.name }),
            Some(on) => (!on.up).then_some(Fault::BridgeDown(wanted)),
            None => match netlink.link(&wanted)? {
                None => Some(Fault::BridgeGone(wanted)),
                Some(bridge) if self.puts_back(&bridge, netlink) => (!bridge.up).then_some(Fault::BridgeDown(wanted)),
                Some(_) => Some(Fault::OffBridge(wanted)),
            },
        })
    }

    /// Puts the device back on its bridge; false if it was not.
    fn puts_back(&mut self, bridge: &LinkInfo, netlink: &mut Netlink) -> bool {
        let tried = self.followed.put_back;
        let again = tried.is_some_and(|(index, at)| index == bridge.index && at.elapsed() < PATIENCE);
        if !self.followed.is_configured || again {
            return false;
        }
        self.followed.put_back = Some((bridge.index, Instant::now()));
        match netlink.set_master(self.index, Some(bridge.index)) {
            Ok(()) => {
                warn!("{}: was on no bridge, and is put back on {}, as configured", self.name, bridge.name);
                // The end of a fault that was put right at once is worth an announcement too.
                self.followed.fault.get_or_insert(Fault::OffBridge(bridge.name.clone()));
                true
            }
            Err(error) => {
                warn!("{}: not put back on {}: {error}", self.name, bridge.name);
                false
            }
        }
    }

    /// The kernel forgets the routes by a device that goes down.
    fn restore_routes(&mut self) {
        if self.framing.medium == Medium::Ip {
            let routed = std::mem::take(&mut self.routed);
            routed.into_iter().for_each(|addr| self.route(addr, true));
        }
    }
}

impl Fault {
    fn sentence(&self, device: &Device) -> String {
        let name = &device.name;
        match self {
            Fault::Down => format!("it was taken down, so no frame passes; take it up: ip link set {name} up"),
            Fault::BridgeGone(bridge) if device.followed.is_configured => {
                format!(
                    "bridge {bridge} is gone, so no frame passes; once it is made again {name} becomes its port by itself"
                )
            }
            Fault::BridgeGone(bridge) => format!(
                "bridge {bridge} is gone, so no frame passes; make it again, and then: ip link set {name} master {bridge}"
            ),
            Fault::OffBridge(bridge) => format!(
                "it was taken off bridge {bridge}, so no frame passes; put it back: ip link set {name} master {bridge}"
            ),
            Fault::Elsewhere { bridge, other } => format!(
                "it was moved from bridge {bridge} to {other}; if that was not meant: ip link set {name} master {bridge}"
            ),
            Fault::BridgeDown(bridge) => {
                format!("bridge {bridge} is down, so no frame passes; take it up: ip link set {bridge} up")
            }
        }
    }
}
