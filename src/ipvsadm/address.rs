//! Addresses as `ipvsadm` takes them: `10.0.0.1:80`, `10.0.0.1`, `[2001:db8::1]:80`, `10.0.0.1:http`.
//!
//! Never judges what an address is for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::names::{host_address, service_port};
use crate::base::Proto;

/// An address and, if it was given, a port.
pub(super) fn parse(text: &str, proto: Option<Proto>) -> Option<(IpAddr, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (addr, port) = rest.split_once(']')?;
        let port = port.strip_prefix(':')?;
        // An IPv4 address in brackets has no port, whatever follows: so ipvsadm reads it.
        return match addr.parse::<Ipv6Addr>() {
            Ok(addr) => Some((IpAddr::V6(addr), Some(parse_port(port, proto)?))),
            Err(_) => Some((IpAddr::V4(host(addr)?), None)),
        };
    }
    if let Ok(addr) = text.parse::<Ipv6Addr>() {
        return Some((IpAddr::V6(addr), None));
    }
    match text.split_once(':') {
        Some((addr, port)) => Some((IpAddr::V4(host(addr)?), Some(parse_port(port, proto)?))),
        // A number alone would be a port, and a port alone is no address.
        None if number(text).is_some() => None,
        None => Some((IpAddr::V4(host(text)?), None)),
    }
}

/// An IPv4 address, or the name of one.
fn host(text: &str) -> Option<Ipv4Addr> {
    ipv4(text).or_else(|| host_address(text))
}

/// The digits of a number as `strtol` reads it: blanks and a plus sign may stand before them.
pub(super) fn number(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let digits = text.strip_prefix('+').unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

/// An IPv4 address as `inet_aton` reads it: one to four numbers, decimal, octal (`0`) or hexadecimal (`0x`), the last
/// one filling what is left; blanks and anything after them are passed over.
pub(super) fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let text = text.split(|c: char| c.is_ascii_whitespace()).next()?;
    let parts = text.split('.').map(aton_number).collect::<Option<Vec<u32>>>()?;
    let (last, bytes) = parts.split_last()?;
    if bytes.len() > 3 || bytes.iter().any(|byte| *byte > 255) {
        return None;
    }
    let room = 32 - 8 * bytes.len() as u32;
    if u64::from(*last) >> room != 0 {
        return None;
    }
    let high = bytes.iter().enumerate().map(|(index, byte)| byte << (24 - 8 * index));
    Some(Ipv4Addr::from(high.fold(*last, |addr, byte| addr | byte)))
}

fn aton_number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // `from_str_radix` would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, radix).ok())?
}

fn parse_port(text: &str, proto: Option<Proto>) -> Option<u16> {
    if let Some(digits) = number(text) {
        return digits.parse().ok();
    }
    service_port(text, proto?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_address_and_what_is_not() {
        let read = |text| parse(text, Some(Proto::TCP)).map(|(addr, port)| (addr.to_string(), port));
        assert_eq!(read("10.0.0.1:80"), Some(("10.0.0.1".into(), Some(80))));
        assert_eq!(read("10.0.0.1"), Some(("10.0.0.1".into(), None)));
        assert_eq!(read("[2001:db8::1]:80"), Some(("2001:db8::1".into(), Some(80))));
        assert_eq!(read("2001:db8::1"), Some(("2001:db8::1".into(), None)));
        for bad in
            ["300.1.2.3:80", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:-1", "[2001:db8::1]", "[2001:db8::1", "x:1"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_ipv4_address_is_read_as_inet_aton_reads_it() {
        for (text, addr) in [
            ("5", "0.0.0.5"),
            ("1.2", "1.0.0.2"),
            ("1.2.3", "1.2.0.3"),
            ("0x7f.1", "127.0.0.1"),
            ("010.1.1.1", "8.1.1.1"),
            ("4294967295", "255.255.255.255"),
            ("1.2.3.4 x", "1.2.3.4"),
            ("0", "0.0.0.0"),
        ] {
            assert_eq!(ipv4(text).map(|addr| addr.to_string()).as_deref(), Some(addr), "{text}");
        }
        for bad in ["", " 1.2.3.4", "4294967296", "256.1", "1.2.3.256", "1..2", "1.2.3.", "1.2.3.4.5", "08", "+1", "0x"]
        {
            assert_eq!(ipv4(bad), None, "{bad}");
        }
        assert_eq!(parse("[1.2.3.4]:80", None), Some((IpAddr::V4([1, 2, 3, 4].into()), None)));
    }

    #[test]
    fn a_number_alone_is_no_address() {
        assert_eq!(parse("5", None), None);
    }
}
