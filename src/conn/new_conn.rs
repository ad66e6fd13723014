//! What a conn is made of, before it has a slot.
//!
//! Never looks into the table.

use super::addresses::AddrId;
use crate::base::{DestId, Endpoint, Method, Proto};

/// What a record stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A flow of packets.
    Flow,
    /// A flow of packets to a real server whose address is the director's own.
    LocalFlow,
    /// A flow that was announced: its opener's port may be 0, which is not known yet. Its local port in FULL-NAT is free towards
    /// all ports of the server.
    Announced,
    /// A persistence template, which lives this many seconds after the last conn made by it.
    Template {
        /// Seconds.
        timeout: u32,
    },
}

/// What a new conn is made of.
#[derive(Clone, Copy, Debug)]
pub struct NewConn {
    /// Protocol.
    pub proto: Proto,
    /// Client endpoint; port 0 in a template.
    pub client: Endpoint,
    /// Virtual endpoint, as the packet was addressed.
    pub virt: Endpoint,
    /// Address of the real server.
    pub real: AddrId,
    /// Port at the real server.
    pub dport: u16,
    /// FULL-NAT: the local endpoint.
    pub local: Option<(AddrId, u16)>,
    /// Its dest.
    pub dest: DestId,
    /// Method.
    pub method: Method,
    /// Flow or template.
    pub kind: Kind,
}
