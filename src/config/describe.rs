//! A reload in words: `+ server ...`, `- service ...`, `~ server ... weight 1 -> 3`, a line a change.
//!
//! Words only.

use std::net::IpAddr;

use super::diff::Change;
use super::link::PlannedLink;
use super::spec;
use crate::base::Prefix;
use crate::health;
use crate::outbound::{FORWARDS, Forward, Masquerade, Policy};
use crate::sched;
use crate::service::MarkRule;
use crate::service::command::{Command, DestOptions, Method, ServiceKey, ServiceOptions, TunnelChecksum};
use crate::vrrp;

/// Named values, in the order in which they are told.
type Words = Vec<(&'static str, String)>;

/// One change in a line.
pub fn describe(change: &Change) -> String {
    let (was, name) = (change.was.as_ref(), spec::key_text);
    match &change.command {
        Command::AddService(key, options) => {
            let usual = service_words(*key, &ServiceOptions::defaults(key.family()));
            let words = plain(&service_words(*key, options), &usual);
            format!("+ service {} scheduler {}{words}", name(*key), options.scheduler)
        }
        Command::EditService(key, options) => {
            let was = match was {
                Some(Command::AddService(_, options)) => service_words(*key, options),
                _ => Words::new(),
            };
            format!("~ service {}{}", name(*key), moved(&was, &service_words(*key, options)))
        }
        Command::DeleteService(key) => format!("- service {}", name(*key)),
        Command::AddDest(key, real, options) => {
            let mut usual = dest_words(&DestOptions::default());
            // Method and weight are always told.
            usual[..2].iter_mut().for_each(|(_, value)| value.clear());
            format!("+ server {real} of {}{}", name(*key), plain(&dest_words(options), &usual))
        }
        Command::EditDest(key, real, options) => {
            let was = match was {
                Some(Command::AddDest(_, _, options)) => dest_words(options),
                _ => Words::new(),
            };
            format!("~ server {real} of {}{}", name(*key), moved(&was, &dest_words(options)))
        }
        Command::DeleteDest(key, real) => format!("- server {real} of {}", name(*key)),
        Command::AddLocalAddress(key, local) => format!("+ local address {local} of {}", name(*key)),
        Command::DeleteLocalAddress(key, local) => format!("- local address {local} of {}", name(*key)),
        timeouts @ Command::SetTimeouts { .. } => {
            format!("~ timeouts{}", moved(&was.map(timeout_words).unwrap_or_default(), &timeout_words(timeouts)))
        }
        Command::StartDaemon(role, options) => format!("+ {} sync daemon on {}", role.name(), options.interface),
        Command::StopDaemon(role) => format!("- {} sync daemon", role.name()),
        other @ (Command::Clear | Command::Zero(_)) => format!("{other:?}"),
    }
}

fn service_words(key: ServiceKey, options: &ServiceOptions) -> Words {
    let none = || "none".to_owned();
    let flags = sched::flags_text(&options.scheduler, options.flags);
    let persistence = options.persistence.as_ref();
    vec![
        ("scheduler", options.scheduler.clone()),
        ("flags", if flags.is_empty() { none() } else { flags }),
        ("persistent", persistence.map_or_else(none, |persistence| persistence.timeout.to_string())),
        ("pe", options.engine.clone().unwrap_or_else(none)),
        ("netmask", crate::ipvsadm::netmask_text(key, options.netmask).unwrap_or_else(none)),
        ("one_packet", options.one_packet.to_string()),
        ("limit", if options.quota.is_some() { options.quota.words() } else { none() }),
        ("syn_proxy", options.syn_proxy.name().into()),
    ]
}

fn dest_words(options: &DestOptions) -> Words {
    vec![
        ("method", method_words(options.method)),
        ("weight", options.weight.to_string()),
        ("upper", options.upper.to_string()),
        ("lower", options.lower.to_string()),
        ("client_address", options.client_address.name().to_owned()),
    ]
}

/// `gue,tun-port=6080,csum`
fn method_words(method: Method) -> String {
    let (port, checksum) = method.tunnel_options();
    let port = port.map_or_else(String::new, |port| format!(",tun-port={port}"));
    let checksum = checksum.filter(|words| words.checksum != TunnelChecksum::None);
    let checksum = checksum.map_or_else(String::new, |words| format!(",{}", words.flag));
    format!("{}{port}{checksum}", method.words().name)
}

fn timeout_words(command: &Command) -> Words {
    let Command::SetTimeouts { tcp, tcp_fin, udp } = command else { return Words::new() };
    vec![("tcp", tcp.to_string()), ("tcp_fin", tcp_fin.to_string()), ("udp", udp.to_string())]
}

/// ` name value` of what is not as usual; the scheduler is always told before.
fn plain(words: &Words, usual: &Words) -> String {
    let unusual = words.iter().zip(usual).filter(|(word, usual)| word != usual && word.0 != "scheduler");
    unusual.map(|((name, value), _)| format!(" {name} {value}")).collect()
}

/// ` name old -> new` of what differs, with commas between.
fn moved(before: &Words, after: &Words) -> String {
    let changed = before.iter().zip(after).filter(|(before, after)| before != after);
    let told: Vec<String> = changed.map(|((name, old), (_, new))| format!(" {name} {old} -> {new}")).collect();
    told.join(",")
}

/// `- x` for what is only in the first list, `+ x` for what is only in the second; or that the order is another.
pub fn note_moves(before: &[String], after: &[String], lines: &mut Vec<String>) {
    let first = lines.len();
    lines.extend(before.iter().filter(|text| !after.contains(text)).map(|text| format!("- {text}")));
    lines.extend(after.iter().filter(|text| !before.contains(text)).map(|text| format!("+ {text}")));
    if lines.len() == first {
        lines.push(format!("~ order: {}", after.join(", ")));
    }
}

/// The services whose checks are others.
pub fn note_checks(before: &[health::Plan], after: &[health::Plan], lines: &mut Vec<String>) {
    let of = |plans: &[health::Plan], key| plans.iter().find(|plan| plan.key == key).cloned();
    for plan in before.iter().filter(|plan| of(after, plan.key).is_none()) {
        lines.push(format!("- checks of {}", plan.key));
    }
    for plan in after {
        match of(before, plan.key) {
            None => lines.push(format!("+ checks of {}", plan.key)),
            Some(old) if old != *plan => lines.push(format!("~ checks of {}", plan.key)),
            Some(_) => {}
        }
    }
}

/// That the director runs on another processor, if it does.
pub fn processor_text(before: Option<usize>, after: Option<usize>) -> Option<String> {
    let name = |cpu: Option<usize>| cpu.map_or("any".to_owned(), |cpu| cpu.to_string());
    (before != after).then(|| format!("~ cpu {} -> {}", name(before), name(after)))
}

/// A route by a neighbour.
/// Which rights there are.
pub fn sandbox_text(user: Option<&str>, sandbox: bool) -> String {
    format!("user {}, sandbox {sandbox}", user.unwrap_or("usual"))
}

/// A route, as it is told.
pub fn route_text((to, via): (Prefix, IpAddr)) -> String {
    format!("route {to} via {via}")
}

/// A mark rule.
pub fn mark_text(rule: &MarkRule) -> String {
    format!("mark {rule}")
}

/// A virtual router as it was configured; its password stays with those who have the file.
pub fn vrrp_text(options: &vrrp::Options) -> String {
    let vrrp::Options { id, rank, addresses, peers, from, virtual_mac, tracks, group, notify, user, .. } = options;
    let mut more: Vec<String> = tracks.iter().map(|track| format!(" track {} {}", track.what, track.weight)).collect();
    more.extend((!options.accept).then(|| " accept false".to_owned()));
    more.extend(from.iter().map(|addr| format!(" from {addr}")));
    more.extend(group.iter().map(|group| format!(" group {group}")));
    more.extend((!notify.is_empty()).then(|| format!(" notify {}", notify.join(" "))));
    more.extend(user.iter().map(|user| format!(" user {user}")));
    let list = |all: &[IpAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let peers = if peers.is_empty() { "multicast".into() } else { format!("peers {}", list(peers)) };
    format!(
        "vrrp {id} priority {} interval {:?} version {} preempt {} virtual_mac {virtual_mac} {peers} {}",
        rank.priority,
        rank.interval,
        if rank.is_v2 { 2 } else { 3 },
        rank.preempt,
        if options.follows { "of all services".into() } else { format!("address {}", list(addresses)) },
    ) + &more.concat()
}

/// A link as it was configured.
pub fn link_text(link: &PlannedLink) -> String {
    let device = &link.device;
    let named = |word: &str, value: Option<String>| value.map_or(String::new(), |value| format!(" {word} {value}"));
    let addresses: Vec<String> = link.addresses.iter().map(ToString::to_string).collect();
    let Policy { forward, masquerade } = &link.policy;
    let forward = FORWARDS.iter().find(|(_, it)| it == forward && *it != Forward::default());
    let masquerade = match masquerade {
        Masquerade::Off => None,
        Masquerade::On => Some("true".to_owned()),
        Masquerade::Nets(nets) => Some(nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
    };
    format!(
        "link{}{} address {} mac {}{} offload {}{}{}",
        named("bridge", device.bridge.clone()),
        named(&device.medium.device().to_lowercase(), device.tap.clone()),
        addresses.join(","),
        device.mac,
        named("mtu", device.mtu.map(|mtu| mtu.to_string())),
        device.offload,
        named("forward", forward.map(|(word, _)| (*word).to_owned())),
        named("masquerade", masquerade),
    )
}
