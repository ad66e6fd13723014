//! The forwarding methods: what each changes in a packet, both ways.
//!
//! ```text
//! method    request becomes                    reply (if it passes here) becomes
//! NAT       CIP:cport -> RIP:rport             VIP:vport -> CIP:cport
//! FULL-NAT  LIP:lport -> RIP:rport             VIP:vport -> CIP:cport
//! direct    unchanged, to the MAC of RIP       unchanged
//! tunnel    unchanged, inside DIP -> RIP       unchanged
//! bypass    unchanged                          unchanged
//! ```
//! FULL-NAT also works between families: the packet is translated to that of the other side (RFC 7915).
//! Bytes only: never chooses a server, a route or a local port's owner.

pub mod local_ports;
mod related;
mod send;
mod seqadj;
mod sequence;

pub use local_ports::LocalPorts;
pub use related::{about_reply, about_request};
pub use send::{check_translatable, largest, route_to_server, send_by_method, send_to_server};
pub use seqadj::SequenceShift;

use std::net::IpAddr;

use crate::base::{DropReason, Endpoint, Method, PackedEndpoint};
use crate::router::{Route, Router};
use crate::wire::translate::{fit_segments, translate};
use crate::wire::{End, Packet, set_endpoint, set_endpoints};

/// The ends of a conn, as its packets are rewritten between them. Few packets need more than one.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Method.
    pub method: Method,
    /// Real server; of a conn that passes by, where it is addressed.
    pub real: Endpoint,
    /// Client.
    client: PackedEndpoint,
    /// What the client addresses.
    virt: PackedEndpoint,
    /// What the real server sees as its client: the local endpoint in FULL-NAT, else the client.
    peer: PackedEndpoint,
    /// By how much sequence numbers of the client are moved (FULL-NAT).
    pub shift: u32,
}

impl Ends {
    /// The ends of a conn to `real`, which sees `local` as its client if it has that.
    #[inline(always)]
    pub fn new(
        method: Method,
        client: PackedEndpoint,
        virt: PackedEndpoint,
        real: Endpoint,
        local: Option<Endpoint>,
    ) -> Ends {
        Ends { method, real, client, virt, peer: local.map_or(client, PackedEndpoint::from), shift: 0 }
    }

    /// Client.
    #[inline]
    pub fn client(&self) -> Endpoint {
        self.client.into()
    }

    /// What the client addresses.
    #[inline]
    pub fn virt(&self) -> Endpoint {
        self.virt.into()
    }

    /// What the real server sees as its client.
    #[inline]
    pub fn peer(&self) -> Endpoint {
        self.peer.into()
    }

    /// True if client and real server are of different families, so that packets are translated between them.
    #[inline]
    pub fn translates(&self) -> bool {
        matches!(self.method, Method::FullNat) && self.real.addr.is_ipv4() != self.client.addr.is_ipv4()
    }
}

/// What a packet between families must fit.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// Largest IP packet of the next link.
    pub mtu: u16,
    /// Identification for an IPv4 packet that is made of one of IPv6.
    pub id: u16,
}

impl Fit {
    /// What a packet that leaves by this route must fit.
    #[inline]
    pub fn on(router: &mut Router, route: &Route) -> Fit {
        Fit { mtu: route.mtu, id: router.fresh_id() }
    }
}

/// Points a request at its real server.
#[inline]
pub fn request(packet: &mut Packet, ends: &Ends, fit: Fit) -> Result<(), DropReason> {
    if ends.translates() {
        translate_to(packet, ends.peer().addr, ends.real.addr, fit)?;
    }
    match ends.method {
        Method::Nat => set_endpoint(packet.buf, packet.ip, End::Destination, ends.real),
        Method::FullNat => {
            set_endpoints(packet.buf, packet.ip, ends.peer(), ends.real);
            sequence::request(packet, ends.shift);
        }
        Method::Direct | Method::Tunnel(_) | Method::Bypass => {}
    }
    Ok(())
}

/// Gives a reply the virtual endpoint as its source.
#[inline]
pub fn reply(packet: &mut Packet, ends: &Ends, fit: Fit) -> Result<(), DropReason> {
    if ends.translates() {
        translate_to(packet, ends.virt().addr, ends.client().addr, fit)?;
    }
    match ends.method {
        Method::Nat => set_endpoint(packet.buf, packet.ip, End::Source, ends.virt()),
        Method::FullNat => {
            set_endpoints(packet.buf, packet.ip, ends.virt(), ends.client());
            sequence::reply(packet, ends.shift);
        }
        Method::Direct | Method::Tunnel(_) | Method::Bypass => {}
    }
    Ok(())
}

/// Translates a packet to the other family; segments of a superframe shrink where the larger header needs it.
fn translate_to(packet: &mut Packet, src: IpAddr, dst: IpAddr, fit: Fit) -> Result<(), DropReason> {
    translate(packet.buf, packet.ip, src, dst, fit.id)?;
    fit_segments(packet.buf, packet.ip, fit.mtu);
    Ok(())
}
