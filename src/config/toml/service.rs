//! `[[service]]` and `[[service.server]]`.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use super::super::draft::{Field, ServerDraft, ServiceDraft};
use super::super::place::At;
use super::super::spec;
use super::kind::{Kind, both};
use super::reader::Section;
use super::{check, ip_address, policy};
use crate::base::{Family, Proto};
use crate::service::command::{ClientAddress, DestOptions, Method, ServiceKey, SynProxy};
use crate::service::limits;
use crate::service::quota::Quota;
use crate::service::words::{CHECKSUMS, method_names};

const KEYS: [&str; 16] = [
    "tcp",
    "udp",
    "sctp",
    "mark",
    "family",
    "scheduler",
    "flags",
    "persistent",
    "netmask",
    "pe",
    "one_packet",
    "limit",
    "syn_proxy",
    "local_address",
    "server",
    "check",
];
pub(super) const SERVICE: Kind =
    Kind { name: "[[service]]", keys: &both::<{ KEYS.len() + policy::KEYS.len() }>(&KEYS, &policy::KEYS) };
pub(super) const SERVER: Kind = Kind {
    name: "[[service.server]]",
    keys: &[
        "address",
        "method",
        "weight",
        "upper",
        "lower",
        "client_address",
        "tunnel_port",
        "tunnel_checksum",
        "check",
    ],
};

/// A service; none if it has no name to go by.
pub(super) fn service(mut section: Section) -> Option<ServiceDraft> {
    let servers: Vec<_> = section.sections("server", &SERVER).into_iter().filter_map(server).collect();
    let scheduler = section.text("scheduler");
    let flags = section.list("flags", |word| Ok(word.to_owned()));
    let persistent = section.number("persistent", 0..=u64::from(u32::MAX));
    let engine = section.text("pe");
    let one_packet = section.truth("one_packet");
    let quota = section.parsed("limit", Quota::parse).map_or_else(Quota::default, |limit| limit.value);
    let syn_proxy = section.truth_or("syn_proxy", "true, false or \"auto\"", SynProxy::named);
    let locals = section.list("local_address", ip_address);
    let checks = check::checks(&mut section);
    let has_checks = !checks.is_empty() || servers.iter().any(|server| !server.checks.is_empty());
    let (policy, sorry) = policy::policy(&mut section, has_checks);
    let key = key(&mut section)?;
    let netmask = netmask(&mut section, key.value.family());
    Some(ServiceDraft {
        place: key.place,
        key: key.value,
        scheduler,
        flags: joined(flags),
        persistent,
        netmask,
        engine,
        one_packet,
        quota,
        syn_proxy,
        locals,
        servers,
        checks,
        policy,
        sorry,
    })
}

fn joined(words: Vec<At<String>>) -> Option<At<String>> {
    let place = words.first()?.place.clone();
    Some(At { value: words.into_iter().map(|word| word.value).collect::<Vec<_>>().join(","), place })
}

/// Exactly one of `tcp`, `udp`, `sctp` and `mark` says which packets the service takes.
fn key(section: &mut Section) -> Option<At<ServiceKey>> {
    let named = [("tcp", Proto::TCP), ("udp", Proto::UDP), ("sctp", Proto::SCTP)];
    let form = |text: &str| spec::endpoint(text).ok_or_else(|| "write ADDRESS:PORT, like 10.0.0.100:80".to_owned());
    let mut keys: Vec<At<ServiceKey>> = Vec::new();
    let mut said = false;
    for (word, proto) in named {
        let at_service = |vip| ServiceKey::Address(proto, vip);
        said |= section.has(word);
        keys.extend(section.parsed(word, form).map(|vip| service_place(vip.map(at_service))));
    }
    let family = section.parsed("family", |word| match word {
        "ipv4" => Ok(Family::V4),
        "ipv6" => Ok(Family::V6),
        _ => Err("use ipv4 or ipv6".into()),
    });
    if let Some(family) = family.as_ref().filter(|_| !section.has("mark")) {
        section.report(&family.place, "only a service by mark has a family; other services have their address's");
    }
    said |= section.has("mark");
    let family = family.map_or(Family::V4, |family| family.value);
    let mark = section.number("mark", 1..=u64::from(u32::MAX));
    keys.extend(mark.map(|mark| service_place(mark.map(|mark| ServiceKey::Mark(family, mark)))));
    if keys.len() > 1 || !said {
        section.report(&section.place, "needs exactly one of tcp, udp, sctp (= \"ADDRESS:PORT\") and mark (= NUMBER)");
        return None;
    }
    keys.pop()
}

/// `FILE:3:7: service tcp "10.0.0.100:80"`.
fn service_place(key: At<ServiceKey>) -> At<ServiceKey> {
    let name = format!("service {}", key.place.what);
    At { value: key.value, place: key.place.named(name) }
}

/// A dotted mask for IPv4, a prefix length for IPv6, as in ipvsadm.
fn netmask(section: &mut Section, family: Family) -> Option<At<u32>> {
    match family {
        Family::V4 => section.parsed("netmask", |text| {
            let mask = text.parse::<Ipv4Addr>().map(u32::from);
            mask.map_err(|_| "not a netmask, like \"255.255.255.0\"".into())
        }),
        Family::V6 => section.number("netmask", 1..=128),
    }
}

/// What weights and thresholds can be.
fn count() -> RangeInclusive<u64> {
    u64::from(*limits::COUNT.start())..=u64::from(*limits::COUNT.end())
}

fn server(mut section: Section) -> Option<ServerDraft> {
    let form = "write ADDRESS or ADDRESS:PORT, like 10.0.0.21:8080";
    section.require("address", "give the real server's");
    let address = section.parsed("address", |text| spec::address(text).ok_or_else(|| form.to_owned()));
    let method = method(&mut section);
    let checks = check::checks(&mut section);
    let weight = section.number("weight", count()).map_or(1, |weight| weight.value);
    let upper = section.number("upper", count()).map_or(0, |upper| upper.value);
    let lower = section.number("lower", count());
    let client_address = section.parsed("client_address", ClientAddress::named);
    let (address, method) = (address?, method?);
    let fields = [
        Some((Field::Method, method.place)),
        lower.as_ref().map(|lower| (Field::Lower, lower.place.clone())),
        client_address.as_ref().map(|found| (Field::ClientAddress, found.place.clone())),
    ];
    let lower = lower.map_or(0, |lower| lower.value);
    let client_address = client_address.map_or(ClientAddress::None, |found| found.value);
    let (addr, port) = address.value;
    Some(ServerDraft {
        place: address.place.named("server".to_owned()),
        addr,
        port,
        options: DestOptions { method: method.value, weight, upper, lower, client_address },
        fields: fields.into_iter().flatten().collect(),
        checks,
    })
}

fn method(section: &mut Section) -> Option<At<Method>> {
    let words = format!("use one of {}", method_names());
    section.require("method", &words);
    let method = section.parsed("method", |word| Method::named(word).ok_or_else(|| words.clone()));
    let port = section.number("tunnel_port", 1..=65_535);
    let checksum = section.parsed("tunnel_checksum", |word| {
        let found = CHECKSUMS.iter().find(|words| words.name == word);
        found.map(|words| words.checksum).ok_or_else(|| "use none, full or remote".to_owned())
    });
    let method = method?;
    let place =
        port.as_ref().map(|port| port.place.clone()).or(checksum.as_ref().map(|checksum| checksum.place.clone()));
    let tunnel = spec::TunnelWords { port: port.map(|port| port.value), checksum: checksum.map(|said| said.value) };
    match tunnel.complete(method.value) {
        Ok(value) => Some(At { value, ..method }),
        Err(what) => {
            section.report(&place.unwrap_or(method.place), what);
            None
        }
    }
}
