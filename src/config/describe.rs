//! A reload in words: `+ server ...`, `- service ...`, `~ server ... weight 1 -> 3`, a line a change.
//!
//! Words only.

use std::net::IpAddr;

use super::plan::{Plan, PlannedLink};
use super::spec;
use crate::base::Prefix;
use crate::health;
use crate::sched;
use crate::service::MarkRule;
use crate::service::command::{Command, DestOptions, Method, ServiceKey, ServiceOptions, Tunnel, TunnelChecksum};

/// Named values, in the order in which they are told.
type Words = Vec<(&'static str, String)>;

/// One change, as seen from the rules before it.
pub fn describe(before: &[Command], change: &Command) -> String {
    match change {
        Command::AddService(key, options) => {
            let words = plain(
                &service_words(*key, options),
                &service_words(*key, &ServiceOptions::defaults(spec::family_of(*key))),
            );
            format!("+ service {} scheduler {}{words}", spec::key_text(*key), options.scheduler)
        }
        Command::EditService(key, options) => {
            let was = before.iter().find_map(|rule| match rule {
                Command::AddService(other, options) if other == key => Some(service_words(*key, options)),
                _ => None,
            });
            format!(
                "~ service {}{}",
                spec::key_text(*key),
                moved(&was.unwrap_or_default(), &service_words(*key, options))
            )
        }
        Command::DeleteService(key) => format!("- service {}", spec::key_text(*key)),
        Command::AddDest(key, real, options) => {
            let mut usual = dest_words(&DestOptions::default());
            // Method and weight are always told.
            usual[..2].iter_mut().for_each(|(_, value)| value.clear());
            format!("+ server {real} of {}{}", spec::key_text(*key), plain(&dest_words(options), &usual))
        }
        Command::EditDest(key, real, options) => {
            let was = before.iter().find_map(|rule| match rule {
                Command::AddDest(other, end, options) if (other, end) == (key, real) => Some(dest_words(options)),
                _ => None,
            });
            let words = moved(&was.unwrap_or_default(), &dest_words(options));
            format!("~ server {real} of {}{words}", spec::key_text(*key))
        }
        Command::DeleteDest(key, real) => format!("- server {real} of {}", spec::key_text(*key)),
        Command::AddLocalAddress(key, local) => format!("+ local address {local} of {}", spec::key_text(*key)),
        Command::DeleteLocalAddress(key, local) => format!("- local address {local} of {}", spec::key_text(*key)),
        Command::SetTimeouts { .. } => {
            let was = before.iter().find(|rule| matches!(rule, Command::SetTimeouts { .. })).map(timeout_words);
            format!("~ timeouts{}", moved(&was.unwrap_or_default(), &timeout_words(change)))
        }
        Command::StartDaemon(role, options) => format!("+ {} sync daemon on {}", role.name(), options.interface),
        Command::StopDaemon(role) => format!("- {} sync daemon", role.name()),
        Command::Clear | Command::Zero(_) => format!("{change:?}"),
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
    ]
}

fn dest_words(options: &DestOptions) -> Words {
    vec![
        ("method", method_words(options.method)),
        ("weight", options.weight.to_string()),
        ("upper", options.upper.to_string()),
        ("lower", options.lower.to_string()),
    ]
}

fn method_words(method: Method) -> String {
    let checksum = |checksum| match checksum {
        TunnelChecksum::None => "",
        TunnelChecksum::Full => ",csum",
        TunnelChecksum::Remote => ",remcsum",
    };
    let name = spec::method_text(method);
    match method {
        Method::Tunnel(Tunnel::Gue { port, checksum: kind }) => format!("{name},tun-port={port}{}", checksum(kind)),
        Method::Tunnel(Tunnel::Gre { checksum: kind }) => format!("{name}{}", checksum(kind)),
        Method::Tunnel(Tunnel::Ipip) | Method::Nat | Method::Direct | Method::FullNat => name.to_owned(),
    }
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
pub fn processor_text(before: &Plan, after: &Plan) -> Option<String> {
    let name = |plan: &Plan| plan.cpu.as_ref().map_or("any".to_owned(), |cpu| cpu.value.to_string());
    let (before, after) = (name(before), name(after));
    (before != after).then(|| format!("~ cpu {before} -> {after}"))
}

/// A route by a neighbour.
pub fn route_text((to, via): (Prefix, IpAddr)) -> String {
    format!("route {to} via {via}")
}

/// A mark rule.
pub fn mark_text(rule: &MarkRule) -> String {
    format!("mark {}", spec::mark_text(rule))
}

/// A link as it was configured.
pub fn link_text(link: &PlannedLink) -> String {
    let device = &link.device;
    let named = |word: &str, value: Option<String>| value.map_or(String::new(), |value| format!(" {word} {value}"));
    let addresses: Vec<String> = link.addresses.iter().map(ToString::to_string).collect();
    format!(
        "link{}{} address {} mac {}{} offload {}",
        named("bridge", device.bridge.clone()),
        named(&device.medium.device().to_lowercase(), device.tap.clone()),
        addresses.join(","),
        device.mac,
        named("mtu", device.mtu.map(|mtu| mtu.to_string())),
        device.offload,
    )
}
