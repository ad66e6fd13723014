//! Names of addresses and ports in both directions, from this host's databases, `/etc/hosts` and `/etc/services`.
//!
//! Never asks over the network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::{Endpoint, Proto};
use crate::io;

/// What is called how. Without any names, numbers are shown.
#[derive(Default)]
pub struct Names {
    hosts: HashMap<IpAddr, String>,
    ports: HashMap<(u16, Proto), String>,
}

impl Names {
    /// The names that this host knows.
    pub fn of_this_host() -> Names {
        Names { hosts: host_names(&io::hosts_database()), ports: port_names(&io::services_database()) }
    }

    /// `www.example.test:http`, `10.0.0.1:80`, `[2001:db8::1]:80`.
    pub fn endpoint(&self, endpoint: Endpoint, proto: Proto) -> String {
        let host = self.hosts.get(&endpoint.addr).cloned().unwrap_or_else(|| address(endpoint.addr));
        let port = self.ports.get(&(endpoint.port, proto)).cloned().unwrap_or_else(|| endpoint.port.to_string());
        match endpoint.addr {
            IpAddr::V4(_) => format!("{host}:{port}"),
            IpAddr::V6(_) => format!("[{host}]:{port}"),
        }
    }
}

/// An address as `inet_ntop` writes it: IPv6 ones that hold an IPv4 address and nothing else show it as such.
fn address(addr: IpAddr) -> String {
    match addr {
        IpAddr::V6(addr) if holds_ipv4(addr) => format!("::{}", Ipv4Addr::from(u128::from(addr) as u32)),
        addr => addr.to_string(),
    }
}

fn holds_ipv4(addr: Ipv6Addr) -> bool {
    let value = u128::from(addr);
    value >> 32 == 0 && value >> 16 != 0
}

/// The first name of the first line that has an address is its name.
fn host_names(database: &str) -> HashMap<IpAddr, String> {
    let mut names = HashMap::new();
    for (addr, called) in hosts(database) {
        if let Some(name) = called.first() {
            names.entry(addr).or_insert_with(|| (*name).to_owned());
        }
    }
    names
}

fn port_names(database: &str) -> HashMap<(u16, Proto), String> {
    let mut names = HashMap::new();
    for (port, called) in services(database) {
        names.entry(port).or_insert_with(|| called[0].to_owned());
    }
    names
}

/// The IPv4 address that `/etc/hosts` gives to a name.
pub fn host_address(name: &str) -> Option<Ipv4Addr> {
    address_in(&io::hosts_database(), name)
}

fn address_in(database: &str, name: &str) -> Option<Ipv4Addr> {
    hosts(database).find_map(|(addr, called)| match addr {
        IpAddr::V4(addr) if called.contains(&name) => Some(addr),
        _ => None,
    })
}

/// The port that `/etc/services` gives to a name.
pub fn service_port(name: &str, proto: Proto) -> Option<u16> {
    port_in(&io::services_database(), name, proto)
}

fn port_in(database: &str, name: &str, proto: Proto) -> Option<u16> {
    services(database).find_map(|((port, of), called)| (of == proto && called.contains(&name)).then_some(port))
}

/// Addresses with their names.
fn hosts(database: &str) -> impl Iterator<Item = (IpAddr, Vec<&str>)> {
    database.lines().map(words).filter_map(|mut words| Some((words.next()?.parse().ok()?, words.collect())))
}

/// Ports with their names: at least one, the official one first.
fn services(database: &str) -> impl Iterator<Item = ((u16, Proto), Vec<&str>)> {
    database.lines().map(words).filter_map(|mut words| {
        let (name, (port, proto)) = (words.next()?, words.next()?.split_once('/')?);
        let port = (port.parse().ok()?, Proto::named(proto)?);
        Some((port, std::iter::once(name).chain(words).collect()))
    })
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split('#').next().unwrap_or_default().split_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_name_is_called_by_it() {
        let names = Names {
            hosts: host_names("192.0.2.1 www other # comment\n192.0.2.1 late\n2001:db8::1 six\n"),
            ports: port_names("http 80/tcp www\ndomain 53/udp\n# none 81/tcp\n"),
        };
        let shown = |addr: &str, port, proto| names.endpoint(Endpoint::new(addr.parse().unwrap(), port), proto);
        assert_eq!(shown("192.0.2.1", 80, Proto::TCP), "www:http");
        assert_eq!(shown("192.0.2.2", 53, Proto::TCP), "192.0.2.2:53");
        assert_eq!(shown("2001:db8::1", 53, Proto::UDP), "[six]:domain");
        assert_eq!(shown("2001:db8::2", 81, Proto::UDP), "[2001:db8::2]:81");
        assert_eq!(shown("::10.0.0.1", 1, Proto::UDP), "[::10.0.0.1]:1");
    }

    #[test]
    fn a_name_is_an_address_or_a_port() {
        let database = "::1 localhost\n127.0.0.1 localhost lo # here\n";
        assert_eq!(address_in(database, "lo"), Some(Ipv4Addr::LOCALHOST));
        assert_eq!(address_in(database, "here"), None);
        let database = "# services\nhttp  80/tcp  www  # WorldWideWeb\ndomain 53/udp\n";
        assert_eq!(port_in(database, "http", Proto::TCP), Some(80));
        assert_eq!(port_in(database, "www", Proto::TCP), Some(80));
        assert_eq!(port_in(database, "domain", Proto::TCP), None);
    }
}
