//! Mark rules: which packets carry which mark, for services by mark (`-f N`).
//!
//! Frames on a TAP carry no skb mark, so the director gives marks itself. The first rule that fits decides.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::base::{Family, Prefix, Proto, Tuple};

/// A condition on a packet and the mark it gives. What is `None` fits everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarkRule {
    /// Protocol.
    pub proto: Option<Proto>,
    /// Source prefix.
    pub src: Option<Prefix>,
    /// Destination prefix.
    pub dst: Option<Prefix>,
    /// Destination ports, both ends included.
    pub ports: Option<RangeInclusive<u16>>,
    /// The mark; not 0.
    pub mark: u32,
}

impl MarkRule {
    /// The destination, if the rule names one address.
    pub fn host(&self) -> Option<IpAddr> {
        self.dst.filter(|dst| dst.len == Family::of(dst.addr).bits()).map(|dst| dst.addr)
    }

    fn fits(&self, tuple: &Tuple) -> bool {
        self.proto.is_none_or(|proto| proto == tuple.proto)
            && self.src.is_none_or(|src| src.contains(tuple.src.addr))
            && self.dst.is_none_or(|dst| dst.contains(tuple.dst.addr))
            && self.ports.as_ref().is_none_or(|ports| ports.contains(&tuple.dst.port))
    }
}

impl FromStr for MarkRule {
    type Err = String;

    /// In one word: `7=tcp/198.51.100.1:80-443,src=192.0.2.0/24`.
    fn from_str(text: &str) -> Result<MarkRule, String> {
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
        let proto = if proto == "any" { None } else { Some(Proto::named(proto).ok_or_else(bad)?) };
        let (dst, ports) = destination(what).ok_or_else(bad)?;
        Ok(MarkRule { proto, src, dst, ports, mark })
    }
}

impl fmt::Display for MarkRule {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proto = self.proto.map_or("any".into(), |proto| proto.to_string().to_lowercase());
        let dst = match (self.dst, &self.ports) {
            (Some(dst), Some(_)) if dst.addr.is_ipv6() => format!("[{dst}]"),
            (Some(dst), _) => dst.to_string(),
            (None, _) => "any".into(),
        };
        write!(f, "{}={proto}/{dst}", self.mark)?;
        if let Some(ports) = &self.ports {
            write!(f, ":{}-{}", ports.start(), ports.end())?;
        }
        self.src.map_or(Ok(()), |src| write!(f, ",src={src}"))
    }
}

/// A net, or a single address as the net of itself.
fn net(text: &str) -> Option<Prefix> {
    text.parse().ok().or_else(|| text.parse().ok().map(Prefix::host))
}

/// `any`, `NET`, each with `:PORT` or `:PORT-PORT` behind it; an IPv6 net before a port is in brackets.
fn destination(text: &str) -> Option<(Option<Prefix>, Option<RangeInclusive<u16>>)> {
    let place = |text| if text == "any" { Some(None) } else { net(text).map(Some) };
    if let Some(dst) = place(text) {
        return Some((dst, None));
    }
    let (dst, range) = text.rsplit_once(':')?;
    let dst = dst.strip_prefix('[').and_then(|dst| dst.strip_suffix(']')).unwrap_or(dst);
    Some((place(dst)?, Some(ports(range)?)))
}

/// `80` or `80-443`.
pub fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

/// The rules in order.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Marks {
    rules: Vec<MarkRule>,
}

impl FromIterator<MarkRule> for Marks {
    fn from_iter<I: IntoIterator<Item = MarkRule>>(rules: I) -> Marks {
        Marks { rules: rules.into_iter().collect() }
    }
}

impl Marks {
    /// Adds a rule behind the others.
    #[cfg(any(test, feature = "testing"))]
    pub fn add(&mut self, rule: MarkRule) {
        self.rules.push(rule);
    }

    /// The rules, the one that is asked first in front.
    pub fn rules(&self) -> &[MarkRule] {
        &self.rules
    }

    /// The rules as they are written.
    pub fn texts(&self) -> Vec<String> {
        self.rules.iter().map(ToString::to_string).collect()
    }

    /// The mark of a packet; 0 if no rule fits.
    pub fn of(&self, tuple: &Tuple) -> u32 {
        self.rules.iter().find(|rule| rule.fits(tuple)).map_or(0, |rule| rule.mark)
    }

    /// The destinations that rules name exactly: these are virtual addresses.
    pub fn hosts(&self) -> impl Iterator<Item = IpAddr> {
        self.rules.iter().filter_map(MarkRule::host)
    }

    /// True if a rule takes packets to more than one address.
    pub fn any_net(&self) -> bool {
        self.rules.iter().any(|rule| rule.host().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Endpoint;

    #[test]
    fn the_first_rule_that_fits_decides() {
        let mut marks = Marks::default();
        let vip: Prefix = "198.51.100.1".parse().unwrap();
        let rule = MarkRule { proto: Some(Proto::TCP), src: None, dst: Some(vip), ports: Some(80..=80), mark: 1 };
        marks.add(rule.clone());
        marks.add(MarkRule { ports: Some(80..=443), mark: 2, ..rule.clone() });
        marks.add(MarkRule { proto: None, ports: None, src: Some("192.0.2.0/24".parse().unwrap()), mark: 3, ..rule });
        let of = |proto, src: [u8; 4], port| {
            let (src, dst) = (Endpoint::new(src.into(), 1), Endpoint::new(vip.addr, port));
            marks.of(&Tuple { proto, src, dst })
        };
        assert_eq!(of(Proto::TCP, [192, 0, 2, 1], 80), 1);
        assert_eq!(of(Proto::TCP, [192, 0, 2, 1], 443), 2);
        assert_eq!(of(Proto::UDP, [192, 0, 2, 1], 443), 3);
        assert_eq!(of(Proto::UDP, [192, 0, 3, 1], 443), 0);
        assert_eq!(marks.hosts().collect::<Vec<_>>(), [vip.addr; 3]);
        assert!(!marks.any_net());
    }

    #[test]
    fn a_mark_rule_is_read_with_what_it_leaves_out() {
        let rule = |text: &str| text.parse::<MarkRule>();
        let net = |text: &str| text.parse::<Prefix>().ok();
        let full = rule("7=tcp/198.51.100.0/24:80-443,src=192.0.2.0/24").unwrap();
        assert_eq!((full.mark, full.proto, full.ports), (7, Some(Proto::TCP), Some(80..=443)));
        assert_eq!((full.dst, full.src), (net("198.51.100.0/24"), net("192.0.2.0/24")));
        let least = rule("1=any/2001:db8::1").unwrap();
        assert_eq!((least.proto, least.ports, least.dst), (None, None, net("2001:db8::1/128")));
        assert_eq!(rule("1=udp/[2001:db8::/32]:53").unwrap().ports, Some(53..=53));
        for text in
            ["7=any/any", "7=tcp/any:80-80", "7=udp/[2001:db8::/32]:53-53,src=2001:db8:c::/48", "7=any/10.0.0.1/32"]
        {
            assert_eq!(rule(text).unwrap().to_string(), text);
        }
        for bad in ["", "7", "0=tcp/10.0.0.1", "7=icmp/10.0.0.1", "7=tcp/x", "7=tcp/10.0.0.1:x", "7=tcp/10.0.0.1,src=y"]
        {
            assert!(rule(bad).is_err(), "{bad}");
        }
    }
}
