//! How a service and a server are written in one word: `tcp/10.0.0.100:80`, `10.0.0.21:8080,nat,weight=2`.
//!
//! Literal addresses only; a name is never resolved.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::base::{Endpoint, Family, Prefix, Proto};
use crate::service::MarkRule;
use crate::service::command::{DestOptions, Method, ServiceKey, Tunnel, TunnelChecksum};

/// The names of the forwarding methods.
pub const METHODS: &str = "nat, direct, tunnel, gre, gue, fullnat";
/// The port that IANA gave GUE.
const GUE_PORT: u16 = 6080;

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
        let proto = proto_of(proto).ok_or_else(bad_proto)?;
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
                Some((name, value)) => set_number(&mut options, name, value, text)?,
                None if tunnel.takes(word) => {}
                None => method = Some(method_of(word).ok_or_else(|| unknown_method(word, text))?),
            }
        }
        let method = method.ok_or_else(|| format!("'{text}': no forwarding method; add one of {METHODS}"))?;
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
        let checksum = match word {
            "nocsum" => TunnelChecksum::None,
            "csum" => TunnelChecksum::Full,
            "remcsum" => TunnelChecksum::Remote,
            _ => return false,
        };
        self.checksum = Some(checksum);
        true
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

/// A mark rule in one word: `7=tcp/198.51.100.1:80-443,src=192.0.2.0/24`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarkSpec(pub MarkRule);

impl FromStr for MarkSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<MarkSpec, String> {
        let bad = || {
            format!(
                "'{text}' is not a mark rule; write N=PROTOCOL/ADDRESS[/LENGTH][:PORT[-PORT]][,src=NET], like 7=tcp/198.51.100.1:80"
            )
        };
        let (mark, rest) = text.split_once('=').ok_or_else(bad)?;
        let mark = mark.parse().ok().filter(|mark| *mark != 0).ok_or_else(bad)?;
        let (what, src) = match rest.split_once(",src=") {
            Some((what, src)) => (what, Some(net(src).ok_or_else(bad)?)),
            None => (rest, None),
        };
        let (proto, what) = what.split_once('/').ok_or_else(bad)?;
        let proto = if proto == "any" { None } else { Some(proto_of(proto).ok_or_else(bad)?) };
        let (dst, ports) = destination(what).ok_or_else(bad)?;
        Ok(MarkSpec(MarkRule { proto, src, dst: Some(dst), ports, mark }))
    }
}

/// A mark rule as `MarkSpec` reads it.
pub fn mark_text(rule: &MarkRule) -> String {
    let proto = rule.proto.map_or("any".into(), |proto| proto.to_string().to_lowercase());
    let dst = match (rule.dst, &rule.ports) {
        (Some(dst), Some(_)) if Family::of(dst.addr) == Family::V6 => format!("[{dst}]"),
        (Some(dst), _) => dst.to_string(),
        (None, _) => "any".into(),
    };
    let ports = rule.ports.as_ref().map_or(String::new(), |ports| format!(":{}-{}", ports.start(), ports.end()));
    let src = rule.src.map_or(String::new(), |src| format!(",src={src}"));
    format!("{}={proto}/{dst}{ports}{src}", rule.mark)
}

/// A net, or a single address as the net of itself.
fn net(text: &str) -> Option<Prefix> {
    text.parse().ok().or_else(|| text.parse().ok().map(Prefix::host))
}

/// `NET`, `NET:PORT`, `NET:PORT-PORT`; an IPv6 net before a port is in brackets.
fn destination(text: &str) -> Option<(Prefix, Option<RangeInclusive<u16>>)> {
    if let Some(dst) = net(text) {
        return Some((dst, None));
    }
    let (dst, ports) = text.rsplit_once(':')?;
    let dst = dst.strip_prefix('[').and_then(|dst| dst.strip_suffix(']')).unwrap_or(dst);
    Some((net(dst)?, Some(self::ports(ports)?)))
}

/// `80` or `80-443`.
pub fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

/// A protocol that a service can have.
pub fn proto_of(word: &str) -> Option<Proto> {
    match word {
        "tcp" => Some(Proto::TCP),
        "udp" => Some(Proto::UDP),
        "sctp" => Some(Proto::SCTP),
        _ => None,
    }
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

/// A forwarding method by its name.
pub fn method_of(word: &str) -> Option<Method> {
    match word {
        "nat" | "masq" => Some(Method::Nat),
        "direct" | "route" | "dr" => Some(Method::Direct),
        "tunnel" | "ipip" => Some(Method::Tunnel(Tunnel::Ipip)),
        "gre" => Some(Method::Tunnel(Tunnel::Gre { checksum: TunnelChecksum::None })),
        "gue" => Some(Method::Tunnel(Tunnel::Gue { port: GUE_PORT, checksum: TunnelChecksum::None })),
        "fullnat" => Some(Method::FullNat),
        _ => None,
    }
}

fn unknown_method(word: &str, text: &str) -> String {
    format!("'{text}': '{word}' is not a forwarding method; use one of {METHODS}")
}

fn set_number(options: &mut DestOptions, name: &str, value: &str, text: &str) -> Result<(), String> {
    let field = match name {
        "weight" => &mut options.weight,
        "upper" => &mut options.upper,
        "lower" => &mut options.lower,
        _ => return Err(format!("'{text}': '{name}' is not known; use weight, upper or lower")),
    };
    let number = value.parse().ok().filter(|number| name != "weight" || *number <= 65_535);
    *field = number.ok_or_else(|| format!("'{text}': {name} '{value}' is not a number it can be (0 to 65535)"))?;
    Ok(())
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

/// The family of a service's packets.
pub fn family_of(key: ServiceKey) -> Family {
    match key {
        ServiceKey::Address(_, vip) => Family::of(vip.addr),
        ServiceKey::Mark(family, _) => family,
    }
}

/// A service's key as the operator wrote it.
pub fn key_text(key: ServiceKey) -> String {
    match key {
        ServiceKey::Address(proto, vip) => format!("{}/{vip}", proto.to_string().to_lowercase()),
        ServiceKey::Mark(Family::V4, mark) => format!("fwmark/{mark}"),
        ServiceKey::Mark(Family::V6, mark) => format!("fwmark6/{mark}"),
    }
}

/// A method as the operator wrote it.
pub fn method_text(method: Method) -> &'static str {
    match method {
        Method::Nat => "nat",
        Method::Direct => "direct",
        Method::Tunnel(Tunnel::Ipip) => "tunnel",
        Method::Tunnel(Tunnel::Gue { .. }) => "gue",
        Method::Tunnel(Tunnel::Gre { .. }) => "gre",
        Method::FullNat => "fullnat",
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
            "10.0.0.1,nat,weight=65536",
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
    fn a_mark_rule_is_read_with_what_it_leaves_out() {
        let rule = |text: &str| text.parse::<MarkSpec>().map(|spec| spec.0);
        let net = |text: &str| text.parse::<Prefix>().ok();
        let full = rule("7=tcp/198.51.100.0/24:80-443,src=192.0.2.0/24").unwrap();
        assert_eq!((full.mark, full.proto, full.ports), (7, Some(Proto::TCP), Some(80..=443)));
        assert_eq!((full.dst, full.src), (net("198.51.100.0/24"), net("192.0.2.0/24")));
        let least = rule("1=any/2001:db8::1").unwrap();
        assert_eq!((least.proto, least.ports, least.dst), (None, None, net("2001:db8::1/128")));
        assert_eq!(rule("1=udp/[2001:db8::/32]:53").unwrap().ports, Some(53..=53));
        for bad in ["", "7", "0=tcp/10.0.0.1", "7=icmp/10.0.0.1", "7=tcp/x", "7=tcp/10.0.0.1:x", "7=tcp/10.0.0.1,src=y"]
        {
            assert!(rule(bad).is_err(), "{bad}");
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
