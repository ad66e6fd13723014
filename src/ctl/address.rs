//! Addresses as `ipvsadm` takes them: `10.0.0.1:80`, `10.0.0.1`, `[2001:db8::1]:80`, `10.0.0.1:http`.
//!
//! Literal addresses only; names of services come from the services database, names of hosts are never resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::{Endpoint, Proto};

/// An address and, if it was given, a port.
pub(super) fn parse(text: &str, proto: Option<Proto>) -> Option<(IpAddr, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (addr, port) = rest.split_once(']')?;
        let addr: Ipv6Addr = addr.parse().ok()?;
        return Some((IpAddr::V6(addr), Some(parse_port(port.strip_prefix(':')?, proto)?)));
    }
    if let Ok(addr) = text.parse::<Ipv6Addr>() {
        return Some((IpAddr::V6(addr), None));
    }
    match text.split_once(':') {
        Some((addr, port)) => {
            let addr: Ipv4Addr = addr.parse().ok()?;
            Some((IpAddr::V4(addr), Some(parse_port(port, proto)?)))
        }
        None => Some((IpAddr::V4(text.parse().ok()?), None)),
    }
}

fn parse_port(text: &str, proto: Option<Proto>) -> Option<u16> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let name = match proto? {
        Proto::TCP => "tcp",
        Proto::UDP => "udp",
        Proto::SCTP => "sctp",
        _ => return None,
    };
    service_port(&std::fs::read_to_string("/etc/services").ok()?, text, name)
}

fn service_port(database: &str, service: &str, proto: &str) -> Option<u16> {
    database.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (name, port) = (words.next()?, words.next()?.split_once('/')?);
        let named = name == service || words.any(|alias| alias == service);
        (named && port.1 == proto).then(|| port.0.parse().ok())?
    })
}

/// An endpoint as rules are saved.
pub(super) fn text(endpoint: Endpoint) -> String {
    endpoint.to_string()
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
            ["300.1.2.3:80", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:-1", "[2001:db8::1]", "[2001:db8::1", "5", "x:1"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_service_has_a_name_and_aliases() {
        let database = "# services\nhttp  80/tcp  www  # WorldWideWeb\ndomain 53/udp\n";
        assert_eq!(service_port(database, "http", "tcp"), Some(80));
        assert_eq!(service_port(database, "www", "tcp"), Some(80));
        assert_eq!(service_port(database, "domain", "tcp"), None);
    }
}
