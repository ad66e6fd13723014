//! The five values that name a flow on the wire, seen from one packet.

use super::{Endpoint, Proto};

/// Protocol, source and destination of one packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tuple {
    /// Layer-4 protocol.
    pub proto: Proto,
    /// Where the packet comes from.
    pub src: Endpoint,
    /// Where it is addressed to.
    pub dst: Endpoint,
}

impl Tuple {
    /// The tuple of an answer to this packet.
    pub fn reversed(self) -> Tuple {
        Tuple { proto: self.proto, src: self.dst, dst: self.src }
    }
}
