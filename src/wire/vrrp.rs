//! Advertisements of VRRP, version 2 (RFC 3768, with the simple password of RFC 2338) and version 3 (RFC 9568).
//!
//! Reading is total over every byte string. Never decides what an advertisement means.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::field::{ETH_LEN, be16, put16};
use super::ip::{Header, header_len, ip_header};
use super::{PacketBuf, checksum};
use crate::base::{Family, Proto};

/// The group of all VRRP routers.
pub const GROUP4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
/// The same of IPv6.
pub const GROUP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));
/// TTL of every advertisement; less shows that a router has sent it on.
pub const TTL: u8 = 255;

const ADVERT: u8 = 1;
const LEN: usize = 8;
const AUTH_LEN: usize = 8;
const CHECKSUM: usize = 6;
/// Internetwork control.
const TOS: u8 = 0xc0;
const SIMPLE_PASSWORD: u8 = 1;
const CENTISECOND: Duration = Duration::from_millis(10);

/// Which message it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// RFC 3768: IPv4, whole seconds; eight bytes of a password, if there is one.
    V2(Option<[u8; AUTH_LEN]>),
    /// RFC 9568: both families, hundredths of a second.
    V3,
}

/// What the checksum of version 3 for IPv4 covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Covers {
    /// The pseudo-header too, as RFC 5798 was read by most (keepalived among them).
    #[default]
    PseudoHeader,
    /// The message alone (RFC 9568 5.2.8).
    Message,
}

/// What an advertisement says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advert {
    /// Version, with what only that one has.
    pub version: Version,
    /// The virtual router's number.
    pub id: u8,
    /// The sender's priority; 0: it leaves.
    pub priority: u8,
    /// Between two advertisements.
    pub interval: Duration,
    /// The virtual router's addresses.
    pub addresses: Vec<IpAddr>,
}

/// Why a message is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// Shorter or longer than it says.
    Length,
    /// Neither 2 nor 3, or 2 for IPv6.
    Version,
    /// No advertisement.
    Type,
    /// Its checksum is wrong.
    Checksum,
    /// An interval of 0 (RFC 9568 erratum 8301).
    Interval,
}

/// Writes an advertisement; MACs left open. `covers` matters for version 3 and IPv4 only.
pub fn build(buf: &mut PacketBuf, (src, dst): (IpAddr, IpAddr), advert: &Advert, covers: Covers) {
    let family = Family::of(dst);
    let each = if family == Family::V4 { 4 } else { 16 };
    let auth = if advert.version == Version::V3 { 0 } else { AUTH_LEN };
    let header = header_len(family);
    let frame = buf.reset(ETH_LEN + header + LEN + advert.addresses.len() * each + auth);
    let message = &mut frame[ETH_LEN + header..];
    message.fill(0);
    message[1..4].copy_from_slice(&[advert.id, advert.priority, advert.addresses.len() as u8]);
    match advert.version {
        Version::V2(password) => {
            message[0] = 2 << 4 | ADVERT;
            message[4] = if password.is_some() { SIMPLE_PASSWORD } else { 0 };
            message[5] = advert.interval.as_secs().clamp(1, 255) as u8;
            let at = message.len() - AUTH_LEN;
            message[at..].copy_from_slice(&password.unwrap_or_default());
        }
        Version::V3 => {
            message[0] = 3 << 4 | ADVERT;
            let interval = (advert.interval.as_millis() / CENTISECOND.as_millis()).clamp(1, 4095) as u16;
            put16(message, 4, interval);
        }
    }
    for (place, addr) in message[LEN..].chunks_mut(each).zip(&advert.addresses) {
        match addr {
            IpAddr::V4(addr) => place.copy_from_slice(&addr.octets()),
            IpAddr::V6(addr) => place.copy_from_slice(&addr.octets()),
        }
    }
    let sum = !sum(message, src, dst, advert.version == Version::V3 && covers == Covers::PseudoHeader);
    put16(message, CHECKSUM, sum);
    ip_header(frame, &Header { src, dst, proto: Proto::VRRP, ttl: TTL, tos: TOS, id: 0, dont_fragment: false });
}

/// IPv6 always covers the pseudo-header (RFC 8200 8.1).
fn sum(message: &[u8], src: IpAddr, dst: IpAddr, pseudo: bool) -> u16 {
    if pseudo || dst.is_ipv6() { checksum::with_pseudo(src, dst, Proto::VRRP, message) } else { checksum::sum(message) }
}

/// Reads a message, and tells what its checksum covers.
pub fn parse(message: &[u8], src: IpAddr, dst: IpAddr) -> Result<(Advert, Covers), Fault> {
    if message.len() < LEN {
        return Err(Fault::Length);
    }
    let is_v3 = match (message[0] >> 4, dst) {
        (2, IpAddr::V4(_)) => false,
        (3, _) => true,
        _ => return Err(Fault::Version),
    };
    if message[0] & 0x0f != ADVERT {
        return Err(Fault::Type);
    }
    let each = if dst.is_ipv4() { 4 } else { 16 };
    let (count, auth) = (usize::from(message[3]), if is_v3 { 0 } else { AUTH_LEN });
    let end = LEN + count * each;
    if message.len() != end + auth || (is_v3 && count == 0) {
        return Err(Fault::Length);
    }
    let covers = match [false, true].into_iter().find(|pseudo| sum(message, src, dst, *pseudo && is_v3) == 0xffff) {
        Some(false) => Covers::Message,
        Some(true) => Covers::PseudoHeader,
        None => return Err(Fault::Checksum),
    };
    let interval = if is_v3 {
        CENTISECOND * u32::from(be16(message, 4) & 0x0fff)
    } else {
        Duration::from_secs(u64::from(message[5]))
    };
    if interval.is_zero() {
        return Err(Fault::Interval);
    }
    let password = || {
        let bytes = message[end..].try_into().unwrap_or_default();
        (message[4] == SIMPLE_PASSWORD).then_some(bytes)
    };
    let version = if is_v3 { Version::V3 } else { Version::V2(password()) };
    let addresses = message[LEN..end].chunks(each).filter_map(address).collect();
    Ok((Advert { version, id: message[1], priority: message[2], interval, addresses }, covers))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const SECRET: Version = Version::V2(Some(*b"secret\0\0"));

    /// Messages that keepalived 2.2.7 has sent, and the same in the form of RFC 9568.
    #[test]
    fn messages_are_those_of_others_bit_by_bit() {
        let second = Duration::from_secs(1);
        let four = || vec![addr("10.9.0.100")];
        let six = || vec![addr("fe80::100"), addr("fd09::100")];
        let from6 = (addr("fe80::ff:fe00:1"), GROUP6);
        let from4 = (addr("10.9.0.1"), GROUP4);
        let advert = |version, id, priority, interval, addresses| Advert { version, id, priority, interval, addresses };
        for (bytes, ends, said, covers) in [
            (
                "2133960101010111 0a090064 7365637265740000",
                from4,
                advert(SECRET, 51, 150, second, four()),
                Covers::Message,
            ),
            (
                "2133640101013311 0a090064 7365637265740000",
                from4,
                advert(SECRET, 51, 100, second, four()),
                Covers::Message,
            ),
            (
                "2133960100013e5d 0a090064 0000000000000000",
                from4,
                advert(Version::V2(None), 51, 150, second, four()),
                Covers::Message,
            ),
            ("3107c801001411dd 0a090064", from4, advert(Version::V3, 7, 200, second / 5, four()), Covers::PseudoHeader),
            ("3107c8010014fc75 0a090064", from4, advert(Version::V3, 7, 200, second / 5, four()), Covers::Message),
            ("310700010014d9dd 0a090064", from4, advert(Version::V3, 7, 0, second / 5, four()), Covers::PseudoHeader),
            (
                "3108c80200320c09 fe800000000000000000000000000100 fd090000000000000000000000000100",
                from6,
                advert(Version::V3, 8, 200, second / 2, six()),
                Covers::PseudoHeader,
            ),
        ] {
            let message = hex(bytes);
            let (read, form) = parse(&message, ends.0, ends.1).unwrap();
            assert_eq!(read, said, "{bytes}");
            if ends.1.is_ipv4() {
                assert_eq!(form, covers, "{bytes}");
            }
            let mut buf = PacketBuf::new();
            build(&mut buf, ends, &said, covers);
            let at = ETH_LEN + header_len(Family::of(ends.1));
            assert_eq!(&buf.frame()[at..], &message[..], "{bytes}");
        }
    }

    #[test]
    fn what_is_no_advertisement_has_a_name() {
        let good = hex("3107c801001411dd 0a090064");
        let (src, dst) = (addr("10.9.0.1"), GROUP4);
        let with = |at: usize, byte: u8| {
            let mut message = good.clone();
            message[at] = byte;
            parse(&message, src, dst).err()
        };
        assert_eq!(parse(&good[..7], src, dst).err(), Some(Fault::Length));
        assert_eq!(parse(&[&good[..], &[0; 4]].concat(), src, dst).err(), Some(Fault::Length));
        assert_eq!(with(3, 0), Some(Fault::Length), "RFC 9568 erratum 8299");
        assert_eq!(with(3, 255), Some(Fault::Length));
        for version in (0..16).filter(|version| ![2, 3].contains(version)) {
            assert_eq!(with(0, version << 4 | 1), Some(Fault::Version));
        }
        assert_eq!(with(0, 0x32), Some(Fault::Type));
        assert_eq!(with(2, 201), Some(Fault::Checksum));
        let mut buf = PacketBuf::new();
        let never = Advert { version: Version::V3, id: 1, priority: 1, interval: Duration::ZERO, addresses: vec![src] };
        build(&mut buf, (src, dst), &never, Covers::Message);
        let mut message = buf.frame()[ETH_LEN + 20..].to_vec();
        message[5] = 0;
        let sum = u16::from_be_bytes([message[6], message[7]]) + 1;
        message[6..8].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(parse(&message, src, dst).err(), Some(Fault::Interval));
    }
}
