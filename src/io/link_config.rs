//! What the operator wants of a link, and what the kernel agreed to.
//!
//! Values only: never opens anything.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::sys;
use crate::base::{Mac, Medium};
use crate::wire::{Framing, VnetHeader};

/// What the operator wants of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkConfig {
    /// The device's name; one that exists is adopted and left in place. `None`: the kernel chooses.
    pub tap: Option<String>,
    /// The bridge to become a port of; `None` leaves that to the operator.
    pub bridge: Option<String>,
    /// Largest IP packet; `None` takes the bridge's.
    pub mtu: Option<u16>,
    /// Whether to accept superframes and unfinished checksums from the kernel.
    pub offload: bool,
    /// The director's own MAC on this link; never the TAP's. Zero without Ethernet.
    pub mac: Mac,
    /// A TAP or a TUN.
    pub medium: Medium,
}

/// What the kernel agreed to leave to us, and we may leave to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Offloads {
    /// Unfinished L4 checksums.
    pub checksum: bool,
    /// TCP superframes.
    pub tso: bool,
    /// UDP superframes.
    pub uso: bool,
    /// Superframes inside UDP tunnels.
    pub tunnel: bool,
}

impl Offloads {
    /// From the mask that `TUNSETOFFLOAD` accepted.
    pub fn from_mask(mask: u32) -> Offloads {
        let has = |bits: u32| mask & bits == bits;
        Offloads {
            checksum: has(sys::offload::CSUM),
            tso: has(sys::offload::TSO4 | sys::offload::TSO6),
            uso: has(sys::offload::USO4 | sys::offload::USO6),
            tunnel: has(sys::offload::UDP_TUNNEL | sys::offload::UDP_TUNNEL_CSUM),
        }
    }
}

impl fmt::Display for Offloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(self.checksum, "checksum"), (self.tso, "tso"), (self.uso, "uso"), (self.tunnel, "tunnel")];
        let granted: Vec<_> = names.into_iter().filter(|(granted, _)| *granted).map(|(_, name)| name).collect();
        f.pad(&if granted.is_empty() { "none".to_owned() } else { granted.join(" ") })
    }
}

/// What is true of an opened link for as long as its descriptor is open, whichever process reads it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LinkFacts {
    /// The device's name, the kernel's choice included.
    pub name: String,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// What the kernel agreed to.
    pub offloads: Offloads,
    /// Bytes of the virtio header in front of each frame.
    pub vnet_len: usize,
    /// True for a TUN, whose packets have no Ethernet header.
    pub is_tun: bool,
}

impl LinkFacts {
    /// How frames are handed over.
    pub fn framing(&self) -> Framing {
        let vnet = [VnetHeader::Plain, VnetHeader::Tunnel].into_iter().find(|header| header.size() == self.vnet_len);
        let medium = if self.is_tun { Medium::Ip } else { Medium::Ethernet };
        Framing { vnet: vnet.unwrap_or(VnetHeader::None), medium }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offloads_print_as_the_words_of_the_manual() {
        for (mask, words) in [
            (0x1ef, "checksum tso uso tunnel"),
            (0x18f, "checksum tso tunnel"),
            (0x6f, "checksum tso uso"),
            (0x0f, "checksum tso"),
            (0x07, "checksum tso"),
            (0x01, "checksum"),
            (0, "none"),
        ] {
            assert_eq!(Offloads::from_mask(mask).to_string(), words);
        }
    }

    #[test]
    fn framing_follows_from_the_facts() {
        for (vnet, medium) in [
            (VnetHeader::None, Medium::Ethernet),
            (VnetHeader::Plain, Medium::Ip),
            (VnetHeader::Tunnel, Medium::Ethernet),
        ] {
            let (offloads, name) = (Offloads::default(), "tap0".to_owned());
            let facts = LinkFacts { name, mtu: 1500, offloads, vnet_len: vnet.size(), is_tun: medium == Medium::Ip };
            assert_eq!((facts.framing().vnet, facts.framing().medium), (vnet, medium));
        }
    }
}
