//! The key by which packets find their conn, and its hashes under a secret, because clients choose keys.
//!
//! Never looks at a record.

use super::flags as flag;
use crate::base::{Endpoint, Packed, Proto, siphash13};

/// Key of the hashes here and of the checks of records; no client may learn it.
pub type Secret = [u64; 2];

/// Which side of its conn a packet belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// From the client.
    Request,
    /// From the real server.
    Reply,
}

/// Both ends of a packet, and what kind of record is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub src: Packed,
    pub dst: Packed,
    pub src_port: u16,
    pub dst_port: u16,
    /// Protocol, and the template bit.
    pub kind: u16,
}

impl Key {
    /// Key of a packet between two endpoints.
    #[inline(always)]
    pub(super) fn new(proto: Proto, src: Endpoint, dst: Endpoint) -> Key {
        Key {
            src: src.addr.into(),
            dst: dst.addr.into(),
            src_port: src.port,
            dst_port: dst.port,
            kind: u16::from(proto.0),
        }
    }

    /// Key of a template.
    pub(super) fn template(proto: Proto, client: Endpoint, virt: Endpoint) -> Key {
        let key = Key::new(proto, client, virt);
        Key { kind: key.kind | flag::TEMPLATE, ..key }
    }

    /// Where the conns of the sender lie, if it is a client.
    #[inline(always)]
    pub(super) fn source_hash(&self, secret: Secret) -> u64 {
        home(secret, self.src, self.src_port, self.kind)
    }

    /// Where the conns of the receiver lie, if it is a client.
    #[inline(always)]
    pub(super) fn destination_hash(&self, secret: Secret) -> u64 {
        home(secret, self.dst, self.dst_port, self.kind)
    }

    /// Of everything: for what servers send to FULL-NAT's local endpoints, and for guests.
    pub(super) fn hash(&self, secret: Secret) -> u64 {
        let rest = u64::from(self.src_port) << 32 | u64::from(self.dst_port) << 16 | u64::from(self.kind);
        if let (Some(src), Some(dst)) = (self.src.ipv4_bits(), self.dst.ipv4_bits()) {
            return siphash13(secret, [u64::from(src) << 32 | u64::from(dst), rest]);
        }
        let ([a, b], [c, d]) = (self.src.halves(), self.dst.halves());
        siphash13(secret, [a, b, c, d, rest])
    }
}

/// As in the kernel, a conn is filed by its client's endpoint alone, which packets of both directions carry.
#[inline(always)]
fn home(secret: Secret, addr: Packed, port: u16, kind: u16) -> u64 {
    let rest = u64::from(port) << 16 | u64::from(kind);
    match addr.ipv4_bits() {
        Some(addr) => siphash13(secret, [u64::from(addr) << 32 | rest]),
        None => {
            let [upper, lower] = addr.halves();
            siphash13(secret, [upper, lower, rest])
        }
    }
}
