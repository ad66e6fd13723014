//! Endpoints as listings show them: by name, or as numbers.
//!
//! Names come from the databases of this host, `/etc/hosts` and `/etc/services`; nobody is asked over the network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::{Endpoint, Proto};

/// What is called how. Without any names, numbers are shown.
#[derive(Default)]
pub struct Names {
    hosts: HashMap<IpAddr, String>,
    ports: HashMap<(u16, Proto), String>,
}

impl Names {
    /// The names that this host knows.
    pub fn of_this_host() -> Names {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Names { hosts: hosts(&read("/etc/hosts")), ports: ports(&read("/etc/services")) }
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

/// The first line that has an address decides; its first name is the host's own.
fn hosts(database: &str) -> HashMap<IpAddr, String> {
    let mut hosts = HashMap::new();
    for mut words in database.lines().map(words) {
        let addr = words.next().and_then(|word| word.parse().ok());
        if let (Some(addr), Some(name)) = (addr, words.next()) {
            hosts.entry(addr).or_insert_with(|| name.to_owned());
        }
    }
    hosts
}

fn ports(database: &str) -> HashMap<(u16, Proto), String> {
    let mut ports = HashMap::new();
    for mut words in database.lines().map(words) {
        let (Some(name), Some((port, proto))) = (words.next(), words.next().and_then(|word| word.split_once('/')))
        else {
            continue;
        };
        let proto = match proto {
            "tcp" => Proto::TCP,
            "udp" => Proto::UDP,
            "sctp" => Proto::SCTP,
            _ => continue,
        };
        if let Ok(port) = port.parse() {
            ports.entry((port, proto)).or_insert_with(|| name.to_owned());
        }
    }
    ports
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
            hosts: hosts("192.0.2.1 www other # comment\n192.0.2.1 late\n2001:db8::1 six\n"),
            ports: ports("http 80/tcp www\ndomain 53/udp\n# none 81/tcp\n"),
        };
        let shown = |addr: &str, port, proto| names.endpoint(Endpoint::new(addr.parse().unwrap(), port), proto);
        assert_eq!(shown("192.0.2.1", 80, Proto::TCP), "www:http");
        assert_eq!(shown("192.0.2.2", 53, Proto::TCP), "192.0.2.2:53");
        assert_eq!(shown("2001:db8::1", 53, Proto::UDP), "[six]:domain");
        assert_eq!(shown("2001:db8::2", 81, Proto::UDP), "[2001:db8::2]:81");
        assert_eq!(shown("::10.0.0.1", 1, Proto::UDP), "[::10.0.0.1]:1");
    }
}
