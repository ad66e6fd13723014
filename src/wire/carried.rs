//! A packet on its way: bytes and what was read of them, as one value.
//!
//! Never changes either itself.

use super::PacketBuf;
use super::field::ETH_LEN;
use super::packet::Ip;

/// An IP packet on its way: its bytes, and what was read of them. Whoever edits the one keeps the other true.
///
/// Borrowed, because a parsed packet is large: copied right after it was written, it would stall the processor.
pub struct Packet<'a> {
    /// The bytes, with their virtio header.
    pub buf: &'a mut PacketBuf,
    /// What they say.
    pub ip: &'a mut Ip,
}

impl<'a> Packet<'a> {
    /// A packet of its two parts.
    #[inline]
    pub fn new(buf: &'a mut PacketBuf, ip: &'a mut Ip) -> Packet<'a> {
        Packet { buf, ip }
    }

    /// The frame that carries it.
    #[inline]
    pub fn frame(&self) -> &[u8] {
        self.buf.frame()
    }

    /// The packet from its IP header on.
    pub fn bytes(&self) -> &[u8] {
        &self.buf.frame()[ETH_LEN..self.ip.end]
    }
}
