//! What programs of routing are told: static routes for BIRD, lines of its API for ExaBGP.
//!
//! Only makes text.

use std::net::IpAddr;

use crate::base::{Family, Prefix};

/// Where routers send packets for an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Hop {
    /// To the director's own address.
    At(IpAddr),
    /// To this host, which has a route into this device.
    Through(String),
}

/// A route that is announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Announced {
    pub prefix: Prefix,
    pub hop: Hop,
}

/// The file that BIRD includes: a protocol for each family, also for one without routes, so that filters may name both.
pub(super) fn bird(routes: &[Announced]) -> String {
    let mut text = "# Written by tapvs announce.\n".to_owned();
    for (family, digit) in [(Family::V4, 4), (Family::V6, 6)] {
        text += &format!("protocol static tapvs{digit} {{\n    ipv{digit};\n");
        for Announced { prefix, hop } in routes.iter().filter(|route| Family::of(route.prefix.addr) == family) {
            text += &match hop {
                Hop::At(addr) => format!("    route {prefix} via {addr};\n"),
                Hop::Through(device) => format!("    route {prefix} via \"{device}\";\n"),
            };
        }
        text += "}\n";
    }
    text
}

/// The lines that take ExaBGP from the routes that it was told to those that there are.
pub(super) fn exabgp(told: &[Announced], now: &[Announced]) -> String {
    let line = |verb: &str, Announced { prefix, hop }: &Announced| match hop {
        Hop::At(addr) => format!("{verb} route {prefix} next-hop {addr}\n"),
        Hop::Through(_) => format!("{verb} route {prefix} next-hop self\n"),
    };
    let gone = told.iter().filter(|route| !now.contains(route)).map(|route| line("withdraw", route));
    let new = now.iter().filter(|route| !told.contains(route)).map(|route| line("announce", route));
    gone.chain(new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(addr: &str, hop: Hop) -> Announced {
        Announced { prefix: Prefix::host(addr.parse().unwrap()), hop }
    }

    fn at(addr: &str, hop: &str) -> Announced {
        route(addr, Hop::At(hop.parse().unwrap()))
    }

    #[test]
    fn bird_has_a_protocol_for_each_family() {
        let all = [
            at("10.0.0.100", "10.0.0.2"),
            at("2001:db8::100", "2001:db8::2"),
            route("10.0.0.101", Hop::Through("tun0".into())),
        ];
        let wanted = "# Written by tapvs announce.\n\
            protocol static tapvs4 {\n    ipv4;\n    route 10.0.0.100/32 via 10.0.0.2;\n    route 10.0.0.101/32 via \"tun0\";\n}\n\
            protocol static tapvs6 {\n    ipv6;\n    route 2001:db8::100/128 via 2001:db8::2;\n}\n";
        assert_eq!(bird(&all), wanted);
    }

    #[test]
    fn exabgp_is_told_what_differs() {
        let (one, two) = (at("10.0.0.100", "10.0.0.2"), route("10.0.0.101", Hop::Through("tun0".into())));
        let both = "announce route 10.0.0.100/32 next-hop 10.0.0.2\nannounce route 10.0.0.101/32 next-hop self\n";
        assert_eq!(exabgp(&[], &[one.clone(), two.clone()]), both);
        assert_eq!(
            exabgp(&[one.clone(), two.clone()], std::slice::from_ref(&two)),
            "withdraw route 10.0.0.100/32 next-hop 10.0.0.2\n"
        );
        assert_eq!(exabgp(std::slice::from_ref(&one), std::slice::from_ref(&one)), "");
        // Another next hop takes the place of the first.
        let moved = at("10.0.0.100", "10.0.0.3");
        let wanted = "withdraw route 10.0.0.100/32 next-hop 10.0.0.2\nannounce route 10.0.0.100/32 next-hop 10.0.0.3\n";
        assert_eq!(exabgp(&[one], &[moved]), wanted);
    }
}
