//! Rules as `ipvsadm -S` prints them.
//!
//! `ipvsadm -S` leaves thresholds out, as recorded; `ipvsadm-save` saves them. Never reads anything.

use std::net::{IpAddr, Ipv4Addr};

use super::Names;
use crate::base::{Endpoint, Family, Proto};
use crate::sched::{self, Flags};
use crate::service::command::{ClientAddress, DestOptions, Method, ServiceKey, ServiceOptions, SynProxy};

/// How much of a rule is saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// What `ipvsadm -S` saves: all but thresholds.
    AsIpvsadm,
    /// All of it.
    Whole,
}

/// `-t 10.0.0.1:80`, `-f 7 -6` and their kind.
fn key_text(key: ServiceKey, names: &Names) -> String {
    match key {
        ServiceKey::Address(proto @ Proto::UDP, vip) => format!("-u {}", names.endpoint(vip, proto)),
        ServiceKey::Address(proto @ Proto::SCTP, vip) => format!("--sctp-service {}", names.endpoint(vip, proto)),
        ServiceKey::Address(proto, vip) => format!("-t {}", names.endpoint(vip, proto)),
        ServiceKey::Mark(Family::V4, mark) => format!("-f {}", mark.cast_signed()),
        ServiceKey::Mark(Family::V6, mark) => format!("-f {} -6", mark.cast_signed()),
    }
}

/// The rule that adds a service.
pub fn service_line(key: ServiceKey, options: &ServiceOptions, names: &Names) -> String {
    let mut line = format!("-A {} -s {}", key_text(key, names), options.scheduler);
    if let Some(persistence) = &options.persistence {
        line += &format!(" -p {}", persistence.timeout);
        line += &netmask_text(key, options.netmask).map_or(String::new(), |mask| format!(" -M {mask}"));
    }
    line += &options.engine.as_ref().map_or(String::new(), |engine| format!(" --pe {engine}"));
    if options.one_packet {
        line += " -o";
    }
    if options.quota.is_some() {
        line += &format!(" --limit {}", options.quota.words());
    }
    if options.syn_proxy != SynProxy::Off {
        line += &format!(" --syn-proxy {}", options.syn_proxy.name());
    }
    if options.flags != Flags(0) {
        line += &format!(" -b {}", sched::flags_text(&options.scheduler, options.flags));
    }
    line
}

/// The rule that adds a local address.
pub fn local_line(key: ServiceKey, local: IpAddr, names: &Names) -> String {
    format!("-P {} -z {local}", key_text(key, names))
}

/// The thresholds of a dest, if it has any, for the end of its rule.
pub fn thresholds_text(options: &DestOptions) -> String {
    let option = |letter, value| if value == 0 { String::new() } else { format!(" -{letter} {value}") };
    option('x', options.upper) + &option('y', options.lower)
}

/// A netmask other than the whole address.
pub fn netmask_text(key: ServiceKey, netmask: u32) -> Option<String> {
    match key.family() {
        Family::V4 => (netmask != u32::MAX).then(|| Ipv4Addr::from(netmask).to_string()),
        Family::V6 => (netmask != 128).then(|| netmask.to_string()),
    }
}

/// The rule that adds a dest.
pub fn dest_line(key: ServiceKey, real: Endpoint, options: &DestOptions, names: &Names) -> String {
    let words = options.method.words();
    let tunnel = words.tunnel.map_or_else(String::new, |kind| tunnel_text(kind, options.method));
    let (service, real) = (key_text(key, names), names.endpoint(real, key.proto()));
    let client_address = match options.client_address {
        ClientAddress::None => String::new(),
        told => format!(" --client-address {}", told.name()),
    };
    format!("-a {service} -r {real} {} -w {}{tunnel}{client_address}", words.option, options.weight)
}

fn tunnel_text(kind: &str, method: Method) -> String {
    let (port, checksum) = method.tunnel_options();
    let port = port.map_or_else(String::new, |port| format!(" --tun-port {port}"));
    let checksum = checksum.map_or_else(String::new, |words| format!(" {}", words.option));
    format!(" --tun-type {kind}{port}{checksum}")
}
