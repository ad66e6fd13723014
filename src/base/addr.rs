//! Addresses as people write them: MAC, prefix, endpoint, protocol.
//!
//! Both families everywhere. Never resolves a name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Mac = Mac([0xff; 6]);
    /// All zeros: "unknown" in ARP.
    pub const ZERO: Mac = Mac([0; 6]);

    /// Where a multicast group is reached (RFC 1112 6.4, RFC 2464 7).
    pub fn of_group(group: IpAddr) -> Mac {
        match group {
            IpAddr::V4(group) => {
                let [_, b, c, d] = group.octets();
                Mac([0x01, 0x00, 0x5e, b & 0x7f, c, d])
            }
            IpAddr::V6(group) => {
                let [.., a, b, c, d] = group.octets();
                Mac([0x33, 0x33, a, b, c, d])
            }
        }
    }

    /// Group bit set: broadcast or multicast.
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Mac, String> {
        let bad = || format!("'{text}' is not a MAC address; write six hex bytes, like 02:00:00:00:00:01");
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() {
            return Err(bad());
        }
        Ok(Mac(bytes))
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(addr: IpAddr) -> Family {
        match addr {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Bits in an address: 32 or 128.
    pub fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// The other one.
    pub fn other(self) -> Family {
        match self {
            Family::V4 => Family::V6,
            Family::V6 => Family::V4,
        }
    }
}

/// An IP protocol number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Proto(pub u8);

impl Proto {
    /// A protocol that a service can have, by its name in lower case.
    pub fn named(name: &str) -> Option<Proto> {
        match name {
            "tcp" => Some(Proto::TCP),
            "udp" => Some(Proto::UDP),
            "sctp" => Some(Proto::SCTP),
            _ => None,
        }
    }

    /// IPv4 "hop-by-hop" number, also the protocol of a mark service's templates ("IP").
    pub const IP: Proto = Proto(0);
    /// ICMP.
    pub const ICMP: Proto = Proto(1);
    /// IPv4 in IP (RFC 2003).
    pub const IPIP: Proto = Proto(4);
    /// TCP.
    pub const TCP: Proto = Proto(6);
    /// UDP.
    pub const UDP: Proto = Proto(17);
    /// IPv6 in IP (RFC 2473, RFC 4213).
    pub const IPV6: Proto = Proto(41);
    /// GRE.
    pub const GRE: Proto = Proto(47);
    /// ICMPv6.
    pub const ICMP6: Proto = Proto(58);
    /// IGMP.
    pub const IGMP: Proto = Proto(2);
    /// Authentication header.
    pub const AH: Proto = Proto(51);
    /// VRRP.
    pub const VRRP: Proto = Proto(112);
    /// SCTP.
    pub const SCTP: Proto = Proto(132);

    /// Protocols that a virtual service can have.
    pub fn has_ports(self) -> bool {
        matches!(self, Proto::TCP | Proto::UDP | Proto::SCTP)
    }
}

impl fmt::Display for Proto {
    /// Names as in a connection listing: `TCP`, `UDP`, `SCTP`, `IP`, `ICMP`, `ICMPv6`, else `IP_n`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Proto::TCP => f.pad("TCP"),
            Proto::UDP => f.pad("UDP"),
            Proto::SCTP => f.pad("SCTP"),
            Proto::IP => f.pad("IP"),
            Proto::ICMP => f.pad("ICMP"),
            Proto::ICMP6 => f.pad("ICMPv6"),
            Proto(other) => f.pad(&format!("IP_{other}")),
        }
    }
}

/// An address and a port; prints as `10.0.0.1:80` or `[2001:db8::1]:80`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// The address.
    pub addr: IpAddr,
    /// The port, host order; 0 where there is none.
    pub port: u16,
}

impl Endpoint {
    /// Both parts together.
    pub const fn new(addr: IpAddr, port: u16) -> Endpoint {
        Endpoint { addr, port }
    }

    /// `0.0.0.0:0`.
    pub const UNSPECIFIED: Endpoint = Endpoint::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            IpAddr::V4(addr) => write!(f, "{addr}:{}", self.port),
            IpAddr::V6(addr) => write!(f, "[{addr}]:{}", self.port),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An address with a prefix length, `10.0.0.2/24`; the host bits are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// The address as given.
    pub addr: IpAddr,
    /// How many leading bits name the network.
    pub len: u8,
}

impl Prefix {
    /// The prefix that covers exactly one address.
    pub fn host(addr: IpAddr) -> Prefix {
        Prefix { addr, len: Family::of(addr).bits() }
    }

    /// The prefix without its host bits.
    pub fn network(self) -> Prefix {
        let addr = match self.addr {
            IpAddr::V4(addr) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.len)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(addr) & mask))
            }
            IpAddr::V6(addr) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.len)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(addr) & mask))
            }
        };
        Prefix { addr, ..self }
    }

    /// True if `addr` is of the same family and shares the first `len` bits.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.addr, addr) {
            (IpAddr::V4(net), IpAddr::V4(addr)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.len)).unwrap_or(0);
                (u32::from(net) ^ u32::from(addr)) & mask == 0
            }
            (IpAddr::V6(net), IpAddr::V6(addr)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.len)).unwrap_or(0);
                (u128::from(net) ^ u128::from(addr)) & mask == 0
            }
            _ => false,
        }
    }

    /// The IPv4 broadcast address of the prefix, if it has one (shorter than /31).
    pub fn broadcast(&self) -> Option<IpAddr> {
        match self.addr {
            IpAddr::V4(addr) if self.len < 31 => {
                let host = u32::MAX.checked_shr(u32::from(self.len)).unwrap_or(0);
                Some(IpAddr::V4(Ipv4Addr::from(u32::from(addr) | host)))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl FromStr for Prefix {
    type Err = String;

    /// A missing length means the whole address.
    fn from_str(text: &str) -> Result<Prefix, String> {
        let bad = || format!("'{text}' is not an address with prefix length, like 10.0.0.2/24");
        let (addr, len) = match text.split_once('/') {
            Some((addr, len)) => (addr, Some(len)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| bad())?;
        let bits = Family::of(addr).bits();
        let len = match len {
            Some(len) => len.parse().ok().filter(|len| *len <= bits).ok_or_else(bad)?,
            None => bits,
        };
        Ok(Prefix { addr, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_prints_as_it_was_written() {
        let mac: Mac = "02:00:5e:10:00:ff".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:10:00:ff");
        for bad in ["", "02:00:5e:10:00", "02:00:5e:10:00:ff:00", "2:0:5e:10:0:ff", "zz:00:5e:10:00:ff"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_holds_its_own_network_only() {
        let net: Prefix = "10.1.2.3/24".parse().unwrap();
        assert!(net.contains("10.1.2.255".parse().unwrap()));
        assert!(!net.contains("10.1.3.0".parse().unwrap()));
        assert!(!net.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert_eq!(net.broadcast(), Some("10.1.2.255".parse().unwrap()));
        let all: Prefix = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("203.0.113.9".parse().unwrap()));
        let six: Prefix = "2001:db8::1/64".parse().unwrap();
        assert!(six.contains("2001:db8::ffff".parse().unwrap()));
        assert!(!six.contains("2001:db8:0:1::".parse().unwrap()));
        for bad in ["10.0.0.0/33", "10.0.0/8", "x/1", "::/129", "10.0.0.1/"] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }
}
