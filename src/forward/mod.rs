//! The four forwarding methods: what each changes in a packet, both ways.
//!
//! ```text
//! method    request becomes                    reply (if it passes here) becomes
//! NAT       CIP:cport -> RIP:rport             VIP:vport -> CIP:cport
//! FULL-NAT  LIP:lport -> RIP:rport             VIP:vport -> CIP:cport
//! direct    unchanged, to the MAC of RIP       unchanged
//! tunnel    unchanged, inside DIP -> RIP       unchanged
//! ```
//! Bytes only: never chooses a server, a route or a local port's owner.

pub mod ftp;
mod local_ports;
mod related;

pub use local_ports::LocalPorts;
pub use related::{about_reply, about_request};

use crate::base::{Endpoint, Tunnel};
use crate::conn::Forwarding;
use crate::wire::{End, Ip, PacketBuf, set_endpoint};

/// The ends of a conn, as its packets are rewritten between them.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Method.
    pub forwarding: Forwarding,
    /// Kind of tunnel, where that is the method.
    pub tunnel: Tunnel,
    /// Client.
    pub client: Endpoint,
    /// What the client addresses.
    pub virt: Endpoint,
    /// Real server.
    pub real: Endpoint,
    /// What the real server sees as its client: the local endpoint in FULL-NAT, else the client.
    pub peer: Endpoint,
}

/// Points a request at its real server.
pub fn request(buf: &mut PacketBuf, ip: &mut Ip, ends: &Ends) {
    match ends.forwarding {
        Forwarding::Nat => set_endpoint(buf, ip, End::Destination, ends.real),
        Forwarding::FullNat => {
            set_endpoint(buf, ip, End::Destination, ends.real);
            set_endpoint(buf, ip, End::Source, ends.peer);
        }
        Forwarding::Direct | Forwarding::Tunnel => {}
    }
}

/// Gives a reply the face of the virtual service.
pub fn reply(buf: &mut PacketBuf, ip: &mut Ip, ends: &Ends) {
    match ends.forwarding {
        Forwarding::Nat => set_endpoint(buf, ip, End::Source, ends.virt),
        Forwarding::FullNat => {
            set_endpoint(buf, ip, End::Source, ends.virt);
            set_endpoint(buf, ip, End::Destination, ends.client);
        }
        Forwarding::Direct | Forwarding::Tunnel => {}
    }
}
