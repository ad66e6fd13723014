//! Values as the kernel has them: bytes one behind the other.
//!
//! Never knows what they mean.

use std::net::IpAddr;

use crate::base::Packed;

/// Bytes that are written from the first to the last.
pub(super) struct Out<const N: usize> {
    pub(super) bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Out<N> {
    pub(super) fn new() -> Out<N> {
        Out { bytes: [0; N], len: 0 }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    pub(super) fn address(&mut self, addr: IpAddr) {
        let [upper, lower] = Packed::from(addr).halves();
        self.put(&upper.to_be_bytes());
        self.put(&lower.to_be_bytes());
    }
}

/// Bytes that are read from the first to the last.
pub(super) struct In<'a>(pub(super) &'a [u8]);

impl In<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((first, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *first
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    pub(super) fn port(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }

    pub(super) fn address(&mut self) -> IpAddr {
        Packed::from_halves([u64::from_be_bytes(self.take()), u64::from_be_bytes(self.take())]).into()
    }
}
