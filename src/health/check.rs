//! What a check is: its kind with the parameters, and its timing. Values only.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::verdict::Verdict;
use crate::base::Endpoint;

/// When a server is probed, and how many answers make a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Timing {
    /// From the start of a probe to the start of the next, while the server is up.
    pub interval: Duration,
    /// The same while a verdict is about to change.
    pub fast: Duration,
    /// The same while the server is down.
    pub down: Duration,
    /// From the start of a probe to its failure: one deadline over all of its stages.
    pub timeout: Duration,
    /// Successes in a row that bring a server up.
    pub rise: u32,
    /// Failures in a row that take it down.
    pub fall: u32,
}

impl Default for Timing {
    /// A hang is noticed within 5 s, a refusal within 4 s.
    fn default() -> Timing {
        let seconds = Duration::from_secs;
        Timing { interval: seconds(2), fast: seconds(1), down: seconds(5), timeout: seconds(1), rise: 2, fall: 3 }
    }
}

impl Timing {
    /// From probe to probe of a server of which this is held.
    pub(super) fn between(&self, verdict: Verdict) -> Duration {
        if verdict == Verdict::Down { self.down } else { self.interval }
    }
}

/// One check of a server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Check {
    /// What is asked, and which answer is right.
    pub kind: Kind,
    /// When.
    pub timing: Timing,
    /// The address to connect to; the server's without one.
    pub address: Option<IpAddr>,
    /// The port to connect to; the server's without one.
    pub port: Option<u16>,
    /// The source address.
    pub bind: Option<IpAddr>,
}

impl Check {
    /// True if its outcome may say something of the server's weight.
    pub(super) fn gives_weight(&self) -> bool {
        matches!(self.kind, Kind::Agent | Kind::Exec(Exec { dynamic: true, .. }))
    }
}

/// What is asked of a server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A TCP handshake.
    Tcp,
    /// An HTTP request, perhaps inside TLS.
    Http(Http),
    /// A DNS query by UDP.
    Dns(Dns),
    /// A datagram.
    Udp(Udp),
    /// An SMTP dialogue; the name that EHLO gives.
    Smtp(String),
    /// A line of words in the grammar of HAProxy's agent-check.
    Agent,
    /// The exit code of a program.
    Exec(Exec),
    /// An echo by the director's own packet.
    Icmp,
    /// The answer of a neighbour, by ARP or neighbour discovery.
    Neigh,
    /// A SYN to the virtual address at this server, by its forwarding method.
    Path,
}

impl Kind {
    /// The kind's name in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Tcp => "tcp",
            Kind::Http(Http { tls: None, .. }) => "http",
            Kind::Http(Http { tls: Some(_), .. }) => "https",
            Kind::Dns(_) => "dns",
            Kind::Udp(_) => "udp",
            Kind::Smtp(_) => "smtp",
            Kind::Agent => "agent",
            Kind::Exec(_) => "exec",
            Kind::Icmp => "icmp",
            Kind::Neigh => "neigh",
            Kind::Path => "path",
        }
    }
}

/// The method of an HTTP request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum HttpMethod {
    /// Asks for the body too.
    #[default]
    Get,
    /// Asks for the headers only.
    Head,
}

/// An HTTP request and the right answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Http {
    /// Inside TLS.
    pub tls: Option<Tls>,
    /// GET or HEAD.
    pub method: HttpMethod,
    /// Path and query.
    pub path: String,
    /// The Host header; the server's address and port without one.
    pub host: Option<String>,
    /// Right status codes.
    pub status: Vec<RangeInclusive<u16>>,
    /// Text that the body must contain.
    pub contains: Option<String>,
}

impl Default for Http {
    fn default() -> Http {
        let path = "/".to_owned();
        Http { tls: None, method: HttpMethod::Get, path, host: None, status: vec![200..=299], contains: None }
    }
}

impl Http {
    /// The name that TLS asks for and verifies: `sni`, else the host without its port, else the server's address.
    pub fn server_name(&self, server: Endpoint) -> String {
        if let Some(name) = self.tls.as_ref().and_then(|tls| tls.sni.clone()) {
            return name;
        }
        let Some(host) = &self.host else { return server.addr.to_string() };
        let bare = host.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(addr, _)| addr);
        let named =
            || host.rsplit_once(':').filter(|(name, _)| !name.contains(':')).map_or(host.as_str(), |(name, _)| name);
        bare.unwrap_or_else(named).to_owned()
    }
}

/// How TLS is spoken.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tls {
    /// A file of certificates that the server's must be signed by; none: any certificate will do.
    pub verify: Option<PathBuf>,
    /// The server name to ask for; the host's without one.
    pub sni: Option<String>,
}

/// A DNS query and the right answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Dns {
    /// The name, dots between labels; `.` is the root.
    pub name: String,
    /// The type's number.
    pub qtype: u16,
    /// NXDOMAIN will do: the server has answered.
    pub nxdomain: bool,
    /// An answer without records will do.
    pub empty: bool,
    /// An address that must be among the answers.
    pub expect: Option<IpAddr>,
}

/// A datagram and the right answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Udp {
    /// What is sent.
    pub payload: Vec<u8>,
    /// Silence will do; an ICMP error fails all the same.
    pub silence: bool,
    /// What the answer must contain.
    pub contains: Option<Vec<u8>>,
}

/// A program.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Exec {
    /// The program's path and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// Exit codes from 2 on are success and give the weight, code - 2.
    pub dynamic: bool,
    /// The user that it runs as; the worker's without one.
    pub user: Option<String>,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        match &self.kind {
            Kind::Http(http) => write!(f, ":{}", http.path)?,
            Kind::Dns(dns) => write!(f, ":{}", dns.name)?,
            Kind::Exec(exec) => write!(f, ":{}", exec.command.first().map_or("", String::as_str))?,
            Kind::Tcp | Kind::Udp(_) | Kind::Smtp(_) | Kind::Agent | Kind::Icmp | Kind::Neigh | Kind::Path => {}
        }
        match (self.address, self.port) {
            (Some(addr), _) => write!(f, "@{addr}"),
            (None, Some(port)) => write!(f, "@:{port}"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_for_tls_is_the_hosts_unless_another_is_given() {
        let server = Endpoint::new(IpAddr::from([10, 0, 0, 1]), 443);
        let http = |host: &str| Http { host: Some(host.into()), ..Http::default() };
        for (host, name) in [
            ("shop.example", "shop.example"),
            ("shop.example:8443", "shop.example"),
            ("192.0.2.1:443", "192.0.2.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(http(host).server_name(server), name);
        }
        assert_eq!(Http::default().server_name(server), "10.0.0.1");
        let tls = Some(Tls { sni: Some("a.example".into()), verify: None });
        assert_eq!(Http { tls, ..http("b.example") }.server_name(server), "a.example");
    }
}
