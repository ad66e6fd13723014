//! Mark rules: which packets carry which mark, for services by mark (`-f N`).
//!
//! Frames on a TAP carry no skb mark, so the director gives marks itself. The first rule that fits decides.

use std::net::IpAddr;
use std::ops::RangeInclusive;

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

/// The rules in order.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Marks {
    rules: Vec<MarkRule>,
}

impl Marks {
    /// Adds a rule behind the others.
    pub fn add(&mut self, rule: MarkRule) {
        self.rules.push(rule);
    }

    /// The rules, the one that is asked first in front.
    pub fn rules(&self) -> &[MarkRule] {
        &self.rules
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
}
