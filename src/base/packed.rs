//! Addresses of both families in one number: compared, hashed and copied in a step or two.
//!
//! An `IpAddr` is seventeen bytes in pieces; what is kept for each of millions, or handed on for each packet, is this.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Endpoint;

/// The upper 96 bits of `::ffff:a.b.c.d`.
const MAPPED: u128 = 0xffff;

/// An address: IPv4 as `::ffff:a.b.c.d`, which no IPv6 packet may carry (it is dropped as martian).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packed(u128);

impl Packed {
    /// The IPv4 address, if it is one.
    #[inline(always)]
    pub fn ipv4_bits(self) -> Option<u32> {
        self.is_ipv4().then_some(self.0 as u32)
    }

    /// True for IPv4.
    #[inline(always)]
    pub fn is_ipv4(self) -> bool {
        self.0 >> 32 == MAPPED
    }

    /// The number's upper and lower half.
    #[inline(always)]
    pub fn halves(self) -> [u64; 2] {
        [(self.0 >> 64) as u64, self.0 as u64]
    }
}

impl Packed {
    /// The number of these halves.
    pub fn from_halves([upper, lower]: [u64; 2]) -> Packed {
        Packed(u128::from(upper) << 64 | u128::from(lower))
    }
}

impl From<IpAddr> for Packed {
    #[inline(always)]
    fn from(addr: IpAddr) -> Packed {
        match addr {
            IpAddr::V4(addr) => Packed(MAPPED << 32 | u128::from(addr.to_bits())),
            IpAddr::V6(addr) => Packed(addr.to_bits()),
        }
    }
}

impl From<Packed> for IpAddr {
    #[inline(always)]
    fn from(packed: Packed) -> IpAddr {
        match packed.ipv4_bits() {
            Some(addr) => IpAddr::V4(Ipv4Addr::from_bits(addr)),
            None => IpAddr::V6(Ipv6Addr::from_bits(packed.0)),
        }
    }
}

/// An endpoint with such an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackedEndpoint {
    /// The address.
    pub addr: Packed,
    /// The port, host order; 0 where there is none.
    pub port: u16,
}

impl From<Endpoint> for PackedEndpoint {
    #[inline(always)]
    fn from(endpoint: Endpoint) -> PackedEndpoint {
        PackedEndpoint { addr: endpoint.addr.into(), port: endpoint.port }
    }
}

impl From<PackedEndpoint> for Endpoint {
    #[inline(always)]
    fn from(packed: PackedEndpoint) -> Endpoint {
        Endpoint::new(packed.addr.into(), packed.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was() {
        for (text, ipv4) in [("0.0.0.0", true), ("255.1.2.3", true), ("::", false), ("2001:db8::1", false)] {
            let endpoint = Endpoint::new(text.parse().unwrap(), 80);
            let packed = PackedEndpoint::from(endpoint);
            assert_eq!((Endpoint::from(packed), packed.addr.is_ipv4()), (endpoint, ipv4));
            assert_eq!(packed.addr.ipv4_bits().is_some(), ipv4);
        }
    }
}
