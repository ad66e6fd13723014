//! What the hash schedulers share: an address as 32 bits, the kernel's multiplicative hash, 256 buckets.
//!
//! Never keyed: the same packet must find the same server on every director with the same rules.

use std::net::IpAddr;

use super::{Flow, Server, Servers};
use crate::base::DestId;

/// An address as a number: IPv4 as it is, IPv6 as its four words XORed.
#[inline]
pub(super) fn fold(addr: IpAddr) -> u32 {
    match addr {
        IpAddr::V4(addr) => u32::from(addr),
        IpAddr::V6(addr) => {
            let all = u128::from(addr);
            (all >> 96) as u32 ^ (all >> 64) as u32 ^ (all >> 32) as u32 ^ all as u32
        }
    }
}

/// The upper eight bits of `value` times 2^32 divided by the golden ratio.
#[inline]
pub(super) fn hash_8(value: u32) -> u8 {
    (value.wrapping_mul(0x61c8_8647) >> 24) as u8
}

/// The client's port, or 0 for protocols that have none.
#[inline]
pub(super) fn client_port(flow: &Flow) -> u16 {
    if flow.proto.has_ports() { flow.src.port } else { 0 }
}

/// The 256 buckets of dh and sh; all empty or none.
pub(super) struct Buckets([Option<DestId>; 256]);

impl Buckets {
    /// Deals the buckets to the servers in list order, round after round, `share` of them at a time.
    pub(super) fn deal(servers: &Servers, share: impl Fn(&Server) -> u32) -> Buckets {
        let mut buckets = [None; 256];
        let dealt = (0..servers.len()).cycle().flat_map(|position| {
            let (id, server) = servers.at(position);
            // More than all buckets is all buckets; this spares counting to the weight.
            std::iter::repeat_n(id, share(server).clamp(1, 256) as usize)
        });
        for (bucket, id) in buckets.iter_mut().zip(dealt) {
            *bucket = Some(id);
        }
        Buckets(buckets)
    }

    /// The owner of a bucket.
    #[inline]
    pub(super) fn owner(&self, bucket: u8) -> Option<DestId> {
        self.0[usize::from(bucket)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_folds_to_the_xor_of_its_words() {
        assert_eq!(fold("2001:db8::1".parse().unwrap()), 0x2001_0db9);
        assert_eq!(fold("10.0.0.1".parse().unwrap()), 0x0a00_0001);
    }

    #[test]
    fn addresses_fall_into_the_kernels_buckets() {
        let vectors = [
            ("10.0.0.1", 39, 134),
            ("10.0.0.2", 137, 232),
            ("10.0.0.3", 235, 74),
            ("10.1.2.3", 2, 97),
            ("172.16.5.9", 115, 209),
            ("192.0.2.1", 50, 145),
            ("198.51.100.77", 103, 198),
            ("203.0.113.200", 52, 147),
        ];
        for (addr, alone, with_port) in vectors {
            let folded = fold(addr.parse().unwrap());
            assert_eq!(hash_8(folded), alone, "{addr}");
            assert_eq!(hash_8(folded.wrapping_add(12345)), with_port, "{addr} port 12345");
        }
        assert_eq!(hash_8(fold("2001:db8::1".parse().unwrap())), 63);
    }
}
