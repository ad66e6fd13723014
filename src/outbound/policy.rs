//! What a link is told about packets that belong to no service: which pass, and whose senders are masqueraded.
//!
//! Values only.

use std::net::IpAddr;

use crate::base::Prefix;

/// Which packets that came by a link are forwarded. Packets of services are not asked.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Forward {
    /// All, as by a kernel with `ip_forward`.
    #[default]
    All,
    /// Those of real servers, and those of flows that a real server has opened.
    FromServers,
    /// None.
    None,
}

/// The choices with their words.
pub const FORWARDS: [(&str, Forward); 3] =
    [("all", Forward::All), ("from-servers", Forward::FromServers), ("none", Forward::None)];

/// Whose packets leave by a link from the director's own address.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Masquerade {
    /// Nobody's.
    #[default]
    Off,
    /// Those that came by another link, and those of real servers.
    On,
    /// Those from these nets.
    Nets(Vec<Prefix>),
}

/// Both, of one link.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Policy {
    /// Which of the packets that come pass.
    pub forward: Forward,
    /// Which of those that leave are masqueraded.
    pub masquerade: Masquerade,
}

impl Policy {
    /// True if a packet from this source is to leave from the director's address; `inside` for one that came by another
    /// link or from a real server.
    pub(super) fn masquerades(&self, src: IpAddr, inside: bool) -> bool {
        match &self.masquerade {
            Masquerade::Off => false,
            Masquerade::On => inside,
            Masquerade::Nets(nets) => nets.iter().any(|net| net.contains(src)),
        }
    }
}
