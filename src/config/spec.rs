//! How a service and a server are written in one word: `tcp/10.0.0.100:80`, `10.0.0.21:8080,nat,weight=2`.
//!
//! Literal addresses only; a name is never resolved.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use crate::base::{Endpoint, Family, Proto};
use crate::outbound::{FORWARDS, Forward};
use crate::service::command::{ClientAddress, DestOptions, Method, ServiceKey, SynProxy, Tunnel, TunnelChecksum};
use crate::service::limits::COUNT;
use crate::service::words::{CHECKSUMS, method_names};

/// Whether handshakes are made here.
pub fn syn_proxy(text: &str) -> Result<SynProxy, String> {
    SynProxy::named(text)
}

/// A virtual service by address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceSpec {
    /// Protocol.
    pub proto: Proto,
    /// Address and port.
    pub vip: Endpoint,
}

impl FromStr for ServiceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<ServiceSpec, String> {
        let form = "write PROTOCOL/ADDRESS:PORT, like tcp/10.0.0.100:80";
        let (proto, address) = text.split_once('/').ok_or_else(|| format!("'{text}' is not a service; {form}"))?;
        let bad_proto = || format!("'{text}': '{proto}' is not a protocol; use tcp, udp or sctp");
        let proto = Proto::named(proto).ok_or_else(bad_proto)?;
        let vip = endpoint(address).ok_or_else(|| format!("'{text}' is not a service; {form}"))?;
        Ok(ServiceSpec { proto, vip })
    }
}

/// A real server; without a port it has the service's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerSpec {
    /// The address and port as written.
    pub text: String,
    /// Address.
    pub addr: IpAddr,
    /// Port, if one was given.
    pub port: Option<u16>,
    /// Method, weight, thresholds.
    pub options: DestOptions,
}

impl FromStr for ServerSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<ServerSpec, String> {
        let form = "write ADDRESS[:PORT],METHOD[,weight=N], like 10.0.0.21:8080,nat,weight=2";
        let mut words = text.split(',');
        let address = words.next().unwrap_or_default();
        let (addr, port) = self::address(address).ok_or_else(|| format!("'{text}' is not a real server; {form}"))?;
        let mut options = DestOptions::default();
        let (mut method, mut tunnel) = (None, TunnelWords::default());
        for word in words {
            match word.split_once('=') {
                Some(("tun-port", value)) => tunnel.port = Some(tunnel_port(value, text)?),
                Some(("proxy", value)) => {
                    let known = ClientAddress::of_version(value);
                    let unknown =
                        || format!("'{text}': proxy '{value}' is not a version of the PROXY protocol; use v1 or v2");
                    options.client_address = known.ok_or_else(unknown)?;
                }
                Some((name, value)) => set_number(&mut options, name, value, text)?,
                None if word == ClientAddress::Toa.name() => options.client_address = ClientAddress::Toa,
                None if tunnel.takes(word) => {}
                None => method = Some(Method::named(word).ok_or_else(|| unknown_method(word, text))?),
            }
        }
        let method = method.ok_or_else(|| format!("'{text}': no forwarding method; add one of {}", method_names()))?;
        options.method = tunnel.complete(method).map_err(|what| format!("'{text}': {what}"))?;
        Ok(ServerSpec { text: address.to_owned(), addr, port, options })
    }
}

/// What is said of a tunnel besides its kind.
#[derive(Clone, Copy, Default)]
pub struct TunnelWords {
    /// UDP port of GUE.
    pub port: Option<u16>,
    /// How checksums are treated.
    pub checksum: Option<TunnelChecksum>,
}

impl TunnelWords {
    /// True if the word says how checksums are treated.
    fn takes(&mut self, word: &str) -> bool {
        let found = CHECKSUMS.iter().find(|words| words.flag == word);
        self.checksum = found.map(|words| words.checksum).or(self.checksum);
        found.is_some()
    }

    /// The method with its tunnel's options, which must fit its kind.
    pub fn complete(&self, method: Method) -> Result<Method, String> {
        let asked = self.checksum.unwrap_or(TunnelChecksum::None);
        match method {
            Method::Tunnel(Tunnel::Gue { port, .. }) => {
                Ok(Method::Tunnel(Tunnel::Gue { port: self.port.unwrap_or(port), checksum: asked }))
            }
            _ if self.port.is_some() => Err("a port is for gue tunnels only; leave it out".into()),
            Method::Tunnel(Tunnel::Gre { .. }) if asked == TunnelChecksum::Remote => {
                Err("the remote checksum is for gue only; use the full one".into())
            }
            Method::Tunnel(Tunnel::Gre { .. }) => Ok(Method::Tunnel(Tunnel::Gre { checksum: asked })),
            _ if self.checksum.is_some() => Err("a checksum is for gre and gue tunnels; leave it out".into()),
            other => Ok(other),
        }
    }
}

fn tunnel_port(value: &str, text: &str) -> Result<u16, String> {
    let port = value.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| format!("'{text}': tun-port '{value}' is not a UDP port (1 to 65535)"))
}

/// An address with a port.
pub fn endpoint(text: &str) -> Option<Endpoint> {
    let socket: SocketAddr = text.parse().ok()?;
    Some(Endpoint::new(socket.ip(), socket.port()))
}

/// An address, with or without a port; an IPv6 address may stand in brackets without one.
pub fn address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).filter(|bare| bare.contains(':'));
    let alone = bare.unwrap_or(text).parse().ok().map(|addr| (addr, None));
    alone.or_else(|| endpoint(text).map(|end| (end.addr, Some(end.port))))
}

fn unknown_method(word: &str, text: &str) -> String {
    format!("'{text}': '{word}' is not a forwarding method; use one of {}", method_names())
}

fn set_number(options: &mut DestOptions, name: &str, value: &str, text: &str) -> Result<(), String> {
    let field = match name {
        "weight" => &mut options.weight,
        "upper" => &mut options.upper,
        "lower" => &mut options.lower,
        _ => return Err(format!("'{text}': '{name}' is not known; use weight, upper, lower or proxy")),
    };
    let (number, most) = (value.parse().ok().filter(|number| COUNT.contains(number)), COUNT.end());
    *field = number.ok_or_else(|| format!("'{text}': {name} '{value}' is not a number it can be (0 to {most})"))?;
    Ok(())
}

/// Which packets of no service a link lets pass.
pub fn forward(word: &str) -> Result<Forward, String> {
    let found = FORWARDS.iter().find(|(known, _)| *known == word).map(|(_, forward)| *forward);
    found.ok_or_else(|| format!("'{word}' is not known; use all, from-servers or none"))
}

/// A number of seconds, or one with its unit.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let milliseconds = match &text[digits..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// A service by its name: `tcp/10.0.0.100:80`, `fwmark/7`, `fwmark6/7`.
pub fn service_key(text: &str) -> Result<ServiceKey, String> {
    let marked = |prefix: &str, family| {
        let mark = text.strip_prefix(prefix)?.parse().ok()?;
        Some(ServiceKey::Mark(family, mark))
    };
    if let Some(key) = marked("fwmark/", Family::V4).or_else(|| marked("fwmark6/", Family::V6)) {
        return Ok(key);
    }
    text.parse().map(|spec: ServiceSpec| ServiceKey::Address(spec.proto, spec.vip))
}

/// A service's key as the operator wrote it.
pub fn key_text(key: ServiceKey) -> String {
    match key {
        ServiceKey::Address(proto, vip) => format!("{}/{vip}", proto.to_string().to_lowercase()),
        ServiceKey::Mark(Family::V4, mark) => format!("fwmark/{mark}"),
        ServiceKey::Mark(Family::V6, mark) => format!("fwmark6/{mark}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_with_all_its_words() {
        let spec: ServerSpec = "10.0.0.21:8080,nat,weight=2,upper=9".parse().unwrap();
        assert_eq!((spec.addr.to_string(), spec.port), ("10.0.0.21".into(), Some(8080)));
        assert_eq!((spec.options.method, spec.options.weight, spec.options.upper), (Method::Nat, 2, 9));
        let spec: ServerSpec = "2001:db8::21,tunnel".parse().unwrap();
        assert_eq!((spec.port, spec.options.method), (None, Method::Tunnel(Tunnel::Ipip)));
        let spec: ServerSpec = "[2001:db8::21],direct".parse().unwrap();
        assert_eq!((spec.addr.to_string(), spec.port), ("2001:db8::21".into(), None));
        for (text, tunnel) in [
            ("10.0.0.1,gre", Tunnel::Gre { checksum: TunnelChecksum::None }),
            ("10.0.0.1,csum,gre", Tunnel::Gre { checksum: TunnelChecksum::Full }),
            ("10.0.0.1,gue", Tunnel::Gue { port: 6080, checksum: TunnelChecksum::None }),
            ("10.0.0.1,gue,tun-port=5555,remcsum", Tunnel::Gue { port: 5555, checksum: TunnelChecksum::Remote }),
        ] {
            let spec: ServerSpec = text.parse().unwrap();
            assert_eq!(spec.options.method, Method::Tunnel(tunnel), "{text}");
        }
        for bad in [
            "",
            "x,nat",
            "10.0.0.1",
            "[10.0.0.1],nat",
            "10.0.0.1,foo",
            "10.0.0.1,nat,weight=x",
            "10.0.0.1,nat,weight=2147483648",
            "10.0.0.1,nat,upper=2147483648",
            "10.0.0.1,nat,size=1",
            "10.0.0.1,nat,csum",
            "10.0.0.1,tunnel,csum",
            "10.0.0.1,gre,remcsum",
            "10.0.0.1,gre,tun-port=6080",
            "10.0.0.1,gue,tun-port=0",
        ] {
            assert!(bad.parse::<ServerSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_service_is_read_as_it_is_printed() {
        for text in ["tcp/10.0.0.100:80", "udp/[2001:db8::1]:53"] {
            let spec: ServiceSpec = text.parse().unwrap();
            assert_eq!(key_text(ServiceKey::Address(spec.proto, spec.vip)), text);
        }
        for bad in ["", "tcp", "tcp/", "tcp/10.0.0.1", "icmp/10.0.0.1:1", "tcp/host:80"] {
            assert!(bad.parse::<ServiceSpec>().is_err(), "{bad}");
        }
    }
}
