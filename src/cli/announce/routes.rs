//! Which addresses routers are to send to a director, and why not the others.
//!
//! Pure: what the director has said is an argument.

use std::net::IpAddr;

use crate::base::{self, Family, Prefix};
use crate::service::MarkRule;
use crate::service::command::ServiceKey;

/// What a director has said of itself.
#[derive(Default, Debug)]
pub(super) struct Facts {
    /// Why it serves no address at all.
    pub away: Option<String>,
    /// Addresses of virtual routers that are not active here.
    pub elsewhere: Vec<IpAddr>,
    /// Its services, each with the reason why it does not serve.
    pub services: Vec<(ServiceKey, Option<&'static str>)>,
    /// Its mark rules: where services by mark have their addresses from.
    pub marks: Vec<MarkRule>,
}

/// A net of virtual addresses, mostly one address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Route {
    pub prefix: Prefix,
    /// Why it is withdrawn; announced without a reason.
    pub withdrawn: Option<String>,
}

/// The routes of the services that are named, each of which must serve; without names of all services, of which one must
/// serve for each address.
pub(super) fn routes(facts: &Facts, named: &[ServiceKey]) -> Vec<Route> {
    let mut found: Vec<(IpAddr, u8, Option<String>)> = Vec::new();
    let all: Vec<ServiceKey> = facts.services.iter().map(|(key, _)| *key).collect();
    for key in if named.is_empty() { &all } else { named } {
        for prefix in prefixes(*key, &facts.marks) {
            found.push((prefix.addr, prefix.len, failing(facts, *key)));
        }
    }
    base::sort_by(&mut found, |one, other| (one.0, one.1).cmp(&(other.0, other.1)));
    let judge = |found: &[(IpAddr, u8, Option<String>)]| {
        let (addr, len, _) = found[0];
        let elsewhere = facts.elsewhere.contains(&addr).then(|| "the virtual router is not active here".to_owned());
        let served = named.is_empty() && found.iter().any(|(.., failing)| failing.is_none());
        let failing = found.iter().find_map(|(.., failing)| failing.clone()).filter(|_| !served);
        Route { prefix: Prefix { addr, len }, withdrawn: facts.away.clone().or(elsewhere).or(failing) }
    };
    found.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)).map(judge).collect()
}

/// Whether all is well with what was asked about: all that was named, or else anything.
pub(super) fn is_well(routes: &[Route], named: &[ServiceKey]) -> bool {
    let mut served = routes.iter().map(|route| route.withdrawn.is_none());
    if named.is_empty() { served.any(|served| served) } else { !routes.is_empty() && served.all(|served| served) }
}

fn failing(facts: &Facts, key: ServiceKey) -> Option<String> {
    match facts.services.iter().find(|(other, _)| *other == key) {
        Some((_, None)) => None,
        Some((_, Some(why))) => Some(format!("{key} {why}")),
        None => Some(format!("there is no service {key}")),
    }
}

fn prefixes(key: ServiceKey, marks: &[MarkRule]) -> Vec<Prefix> {
    match key {
        ServiceKey::Address(_, vip) => vec![Prefix::host(vip.addr)],
        ServiceKey::Mark(family, mark) => {
            let rules = marks.iter().filter(|rule| rule.mark == mark);
            let nets = rules.filter_map(|rule| rule.dst).filter(|net| Family::of(net.addr) == family);
            nets.map(Prefix::network).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::spec::service_key;

    fn facts(services: &[(&str, Option<&'static str>)], marks: &[&str]) -> Facts {
        let services = services.iter().map(|(key, why)| (service_key(key).unwrap(), *why));
        let marks = marks.iter().map(|rule| rule.parse().unwrap());
        Facts { services: services.collect(), marks: marks.collect(), ..Facts::default() }
    }

    fn texts(facts: &Facts, named: &[&str]) -> Vec<String> {
        let named: Vec<ServiceKey> = named.iter().map(|key| service_key(key).unwrap()).collect();
        let text = |route: Route| format!("{} {}", route.prefix, route.withdrawn.as_deref().unwrap_or("-"));
        routes(facts, &named).into_iter().map(text).collect()
    }

    const LOST: Option<&'static str> = Some("has no quorum");

    #[test]
    fn an_address_is_announced_while_any_of_its_services_serves() {
        let some =
            facts(&[("tcp/10.0.0.100:80", None), ("tcp/10.0.0.100:443", LOST), ("udp/[2001:db8::1]:53", LOST)], &[]);
        assert_eq!(texts(&some, &[]), ["10.0.0.100/32 -", "2001:db8::1/128 udp/[2001:db8::1]:53 has no quorum"]);
    }

    #[test]
    fn of_services_that_are_named_all_must_serve() {
        let some =
            facts(&[("tcp/10.0.0.100:80", None), ("tcp/10.0.0.100:443", LOST), ("tcp/10.0.0.101:80", LOST)], &[]);
        assert_eq!(texts(&some, &["tcp/10.0.0.100:80"]), ["10.0.0.100/32 -"]);
        let both = ["tcp/10.0.0.100:80", "tcp/10.0.0.100:443"];
        assert_eq!(texts(&some, &both), ["10.0.0.100/32 tcp/10.0.0.100:443 has no quorum"]);
        assert_eq!(texts(&some, &["tcp/10.0.0.9:1"]), ["10.0.0.9/32 there is no service tcp/10.0.0.9:1"]);
    }

    #[test]
    fn a_service_by_mark_has_the_nets_of_its_rules() {
        let rules =
            ["7=tcp/10.0.0.100:80", "7=tcp/10.0.0.100:443", "7=tcp/10.9.1.1/16", "7=tcp/2001:db8::1", "8=any/10.8.0.1"];
        let some = facts(&[("fwmark/7", None), ("fwmark6/7", LOST)], &rules);
        assert_eq!(texts(&some, &[]), ["10.0.0.100/32 -", "10.9.0.0/16 -", "2001:db8::1/128 fwmark6/7 has no quorum"]);
    }

    #[test]
    fn a_director_that_stands_by_announces_nothing_and_a_virtual_router_only_where_it_is() {
        let mut some = facts(&[("tcp/10.0.0.100:80", None), ("tcp/10.0.0.101:80", None)], &[]);
        some.elsewhere = vec!["10.0.0.101".parse().unwrap()];
        assert_eq!(texts(&some, &[]), ["10.0.0.100/32 -", "10.0.0.101/32 the virtual router is not active here"]);
        some.away = Some("stands by".into());
        assert_eq!(texts(&some, &[]), ["10.0.0.100/32 stands by", "10.0.0.101/32 stands by"]);
    }

    #[test]
    fn all_that_was_named_is_well_or_anything() {
        let keys = ["tcp/10.0.0.100:80", "tcp/10.0.0.101:80"].map(|key| service_key(key).unwrap());
        let some = facts(&[("tcp/10.0.0.100:80", None), ("tcp/10.0.0.101:80", LOST)], &[]);
        assert!(is_well(&routes(&some, &[]), &[]));
        assert!(!is_well(&routes(&some, &keys), &keys));
        assert!(is_well(&routes(&some, &keys[..1]), &keys[..1]));
        assert!(!is_well(&[], &[]));
        assert!(!is_well(&[], &keys));
    }
}
