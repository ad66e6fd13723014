//! The configuration file: TOML, read into a draft.
//!
//! Every key is known or refused. Never checks what words mean together; that is the plan's.

mod check;
mod kind;
mod policy;
mod reader;
mod service;
mod vrrp;
mod word;

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use super::draft::{ByHand, Draft, LinkDraft, RouteDraft};
use super::hop::Hop;
use super::place::{At, Problems};
use super::spec;
use crate::base::{Prefix, Proto};
use crate::io::{PROCESSORS, WithErrno};
use crate::outbound::Masquerade;
use crate::service::MarkRule;
use crate::service::command::{SharedKey, SyncOptions, SyncRole};
use crate::service::limits;
pub use check::check_of_word;
use kind::Kind;
use reader::{Section, Source};
pub use vrrp::vrrp_of_word;

const TOP: Kind = Kind {
    name: "",
    keys: &[
        "max_flows",
        "cpu",
        "metrics",
        "user",
        "sandbox",
        "rules",
        "gateway",
        "link",
        "route",
        "mark",
        "service",
        "sync",
        "vrrp",
        "timeouts",
        "settings",
    ],
};
const LINK: Kind = Kind {
    name: "[[link]]",
    keys: &["bridge", "tap", "tun", "address", "mac", "mtu", "offload", "forward", "masquerade"],
};
const ROUTE: Kind = Kind { name: "[[route]]", keys: &["to", "via"] };
const MARK: Kind = Kind { name: "[[mark]]", keys: &["mark", "protocol", "source", "destination", "ports"] };
const SYNC: Kind =
    Kind { name: "[[sync]]", keys: &["role", "link", "syncid", "maxlen", "group", "port", "ttl", "peers", "key"] };
const TIMEOUTS: Kind = Kind { name: "[timeouts]", keys: &["tcp", "tcp_fin", "udp"] };
const SETTINGS: Kind = Kind { name: "[settings]", keys: crate::settings::Settings::NAMES };

/// Reads a file.
pub fn read_file(path: &Path) -> Result<Draft, Problems> {
    let name = path.display().to_string();
    match crate::io::read_to_string(path) {
        Ok(text) => read(&name, &text),
        Err(error) => Err(Problems(vec![format!("{name}: cannot be read: {}", WithErrno(&error))])),
    }
}

/// Reads the text of a file of that name.
pub fn read(name: &str, text: &str) -> Result<Draft, Problems> {
    let source = Source::new(name, text);
    let draft = source.section(&TOP).map(draft).unwrap_or_default();
    source.problems().none_or(draft)
}

fn draft(mut top: Section) -> Draft {
    if !top.has("link") {
        top.report(&top.place, "no [[link]]; the director needs one, with bridge and address");
    }
    let mut draft = Draft {
        gateways: top.list("gateway", Hop::from_str),
        max_flows: top.number("max_flows", 0..=u64::MAX),
        metrics: top.parsed("metrics", |text| {
            spec::endpoint(text).ok_or_else(|| "write ADDRESS:PORT, like 127.0.0.1:9464".to_owned())
        }),
        cpu: top.number("cpu", 0..=PROCESSORS as u64 - 1),
        by_hand: by_hand(&mut top),
        user: top.text("user"),
        sandbox: top.truth("sandbox").map(|said| said.value),
        ..Draft::default()
    };
    draft.links = top.sections("link", &LINK).into_iter().map(link).collect();
    draft.routes = top.sections("route", &ROUTE).into_iter().filter_map(route).collect();
    draft.marks = top.sections("mark", &MARK).into_iter().filter_map(mark).collect();
    draft.services = top.sections("service", &service::SERVICE).into_iter().filter_map(service::service).collect();
    draft.syncs = top.sections("sync", &SYNC).into_iter().filter_map(sync).collect();
    draft.vrrps = top.sections("vrrp", &vrrp::VRRP).iter_mut().filter_map(vrrp::vrrp).collect();
    if let Some(timeouts) = top.section("timeouts", &TIMEOUTS) {
        draft.timeouts = seconds(timeouts);
    }
    if let Some(mut settings) = top.section("settings", &SETTINGS) {
        draft.settings = settings.switches();
    }
    draft
}

fn by_hand(top: &mut Section) -> ByHand {
    let said = top.parsed("rules", |word| match word {
        "keep" => Ok(ByHand::Kept),
        "file-only" => Ok(ByHand::Dropped),
        _ => Err("use keep or file-only".to_owned()),
    });
    said.map_or(ByHand::Kept, |said| said.value)
}

fn link(mut link: Section) -> LinkDraft {
    let place = link.place.clone();
    let tun = link.text("tun");
    if tun.is_none() {
        link.require("bridge", "name the bridge that the director is to sit on");
    }
    LinkDraft {
        place,
        bridge: link.text("bridge"),
        tap: link.text("tap"),
        tun,
        addresses: link.list("address", Prefix::from_str),
        mac: link.parsed("mac", str::parse),
        mtu: link.number("mtu", 68..=65_521),
        offload: link.truth("offload").is_none_or(|said| said.value),
        forward: link.parsed("forward", spec::forward).map(|said| said.value).unwrap_or_default(),
        masquerade: masquerade(&mut link),
    }
}

/// `true`, or the nets whose packets are masqueraded.
fn masquerade(link: &mut Section) -> Masquerade {
    if link.is_truth("masquerade") {
        let on = link.truth("masquerade").is_some_and(|said| said.value);
        return if on { Masquerade::On } else { Masquerade::Off };
    }
    let nets = link.list("masquerade", Prefix::from_str);
    if nets.is_empty() { Masquerade::Off } else { Masquerade::Nets(nets.into_iter().map(|net| net.value).collect()) }
}

fn route(mut route: Section) -> Option<RouteDraft> {
    route.require("to", "name the net that it leads to, like 192.0.2.0/24");
    route.require("via", "name the neighbour that it goes by");
    let (to, via) = (route.parsed("to", Prefix::from_str), route.parsed("via", Hop::from_str));
    Some(RouteDraft { to: to?, via: via? })
}

fn mark(mut rule: Section) -> Option<MarkRule> {
    rule.require("mark", "give the number that these packets carry");
    let mark = rule.number("mark", 1..=u64::from(u32::MAX));
    let proto = rule.parsed("protocol", |word| match word {
        "any" => Ok(None),
        word => Proto::named(word).map(Some).ok_or_else(|| "use tcp, udp, sctp or any".into()),
    });
    let ports = rule.text_or_number("ports").and_then(|text| {
        let ports = crate::service::ports(&text.value);
        if ports.is_none() {
            rule.report(&text.place, "not a port or a range of ports, like \"80-443\"");
        }
        ports
    });
    let proto: Option<Proto> = proto.and_then(|proto| proto.value);
    let src = rule.parsed("source", Prefix::from_str).map(|net| net.value);
    let dst = rule.parsed("destination", Prefix::from_str).map(|net| net.value);
    Some(MarkRule { proto, src, dst, ports, mark: mark?.value })
}

fn sync(mut daemon: Section) -> Option<At<(SyncRole, SyncOptions)>> {
    daemon.require("role", "say master or backup");
    daemon.require("link", "name the TAP by which other directors are reached");
    let role = daemon.parsed("role", |word| match word {
        "master" => Ok(SyncRole::Master),
        "backup" => Ok(SyncRole::Backup),
        _ => Err("use master or backup".into()),
    });
    let group = daemon.parsed("group", |text| match ip_address(text)? {
        group if group.is_multicast() => Ok(group),
        _ => Err("not a multicast group, like 224.0.0.81".into()),
    });
    let usual = SyncOptions::default();
    let interface = daemon.text("link");
    let options = SyncOptions {
        syncid: daemon.number("syncid", 0..=255).map_or(usual.syncid, |id| id.value),
        maxlen: daemon.number("maxlen", 1..=65_507).map_or(usual.maxlen, |bytes| bytes.value),
        group: group.map_or(usual.group, |group| group.value),
        port: daemon.number("port", 1..=65_535).map_or(usual.port, |port| port.value),
        ttl: daemon.number("ttl", 1..=255).map_or(usual.ttl, |ttl| ttl.value),
        peers: daemon.list("peers", ip_address).into_iter().map(|peer| peer.value).collect(),
        key: shared_key(&mut daemon, "key"),
        interface: interface?.value,
    };
    Some(At { value: (role?.value, options), place: daemon.place.clone() })
}

/// A key that directors share; a complaint does not repeat it.
fn shared_key(section: &mut Section, name: &str) -> Option<SharedKey> {
    let text = section.text(name)?.value;
    if (16..=256).contains(&text.len()) {
        return Some(SharedKey(text));
    }
    let place = section.place.clone();
    section.report(&place, format!("{name} has {} bytes; give 16 to 256, like 'openssl rand -hex 32'", text.len()));
    None
}

fn seconds(mut timeouts: Section) -> [Option<u32>; 3] {
    let longest = u64::from(limits::LONGEST);
    ["tcp", "tcp_fin", "udp"].map(|key| timeouts.number(key, 1..=longest).map(|seconds| seconds.value))
}

fn ip_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "not an address, like 10.0.0.1; names are not resolved".into())
}

#[cfg(test)]
mod tests;
