//! What a scrape tells of a director, its checks and its servers: the lines of each family of metrics.
//!
//! Bounded work a page, where there may be many servers.

use std::fmt::Write;
use std::net::IpAddr;

use super::protocol::WorkerEntry;
use crate::base::{DestId, Endpoint, Family, Instant, Ledger, LinkId, Method, Proto, ServiceId};
use crate::director::Director;
use crate::flows::own_address;
use crate::forward::LocalPorts;
use crate::health::{Monitor, ServerReport, ServiceReport, Verdict};
use crate::service::command::ServiceKey;
use crate::service::{Service, Services};
use crate::vrrp::Report;

/// A page ends with the service that brings it to so many servers.
const SERVERS_A_PAGE: usize = 256;

/// What a scrape reads.
pub struct Shown<'a> {
    /// The director.
    pub director: &'a Director,
    /// What became of every frame.
    pub ledger: &'a Ledger,
    /// Its checks.
    pub monitor: &'a Monitor,
    /// The worker, and those before it.
    pub worker: &'a WorkerEntry,
    /// The time.
    pub now: Instant,
}

/// What a family says of a pool of local ports.
pub(super) type PortsValue = fn(&LocalPorts, IpAddr, Proto, Endpoint) -> Option<u64>;

pub(super) fn frames(shown: &Shown, out: &mut String) {
    for (name, count) in shown.ledger.entries().into_iter().filter(|(name, _)| name != "held") {
        let _ = writeln!(out, "tapvs_frames_total{{fate=\"{}\"}} {count}", escaped(&name));
    }
}

pub(super) fn neighbours(shown: &Shown, out: &mut String) {
    let director = shown.director;
    for (id, link) in director.router.links() {
        let of_link = || director.router.neighbours.iter().filter(|(on, _, _)| *on == id);
        let known = of_link().filter(|(_, _, mac)| mac.is_some()).count();
        let name = escaped(&link.name);
        let _ = writeln!(out, "tapvs_neighbours{{link=\"{name}\",state=\"known\"}} {known}");
        let _ = writeln!(out, "tapvs_neighbours{{link=\"{name}\",state=\"asked\"}} {}", of_link().count() - known);
    }
}

pub(super) fn virtual_routers(shown: &Shown, out: &mut String, mut tell: impl FnMut(&Report, &str, &mut String)) {
    for report in shown.director.vrrp.reports() {
        let link = &shown.director.router.link(LinkId(report.link)).name;
        tell(&report, &format!("link=\"{link}\",id=\"{}\",family=\"{}\"", report.id, report.family), out);
    }
}

pub(super) fn vrrp_active(shown: &Shown, out: &mut String) {
    virtual_routers(shown, out, |report, labels, out| {
        let active = u8::from(report.state == "active");
        let _ = writeln!(out, "tapvs_vrrp_active{{{labels}}} {active}");
    });
}

pub(super) fn vrrp_transitions(shown: &Shown, out: &mut String) {
    virtual_routers(shown, out, |report, labels, out| {
        for (state, count) in [("active", report.transitions.0), ("backup", report.transitions.1)] {
            let _ = writeln!(out, "tapvs_vrrp_transitions_total{{{labels},to=\"{state}\"}} {count}");
        }
    });
}

pub(super) fn vrrp_adverts(shown: &Shown, out: &mut String) {
    virtual_routers(shown, out, |report, labels, out| {
        let usual = [("sent", report.sent), ("heeded", report.received)];
        let refused = report.refused.iter().map(|(reason, count)| (reason.as_str(), *count));
        for (what, count) in usual.into_iter().chain(refused) {
            let _ = writeln!(out, "tapvs_vrrp_advertisements_total{{{labels},what=\"{what}\"}} {count}");
        }
    });
}

/// A page of dests; the service to go on with.
pub(super) fn dests(services: &Services, from: u32, mut tell: impl FnMut(u32, &Service, DestId)) -> Option<u32> {
    let mut size = 0;
    for (place, service) in services.slots_from(from) {
        if size >= SERVERS_A_PAGE {
            return Some(place);
        }
        size += 1 + service.dests.len();
        service.dests.iter().for_each(|dest| tell(place, service, *dest));
    }
    None
}

/// What is to be said of the ports that conns by FULL-NAT can still have, by local address and server.
pub(super) fn ports_left(
    director: &Director,
    (place, service, dest): (u32, &Service, DestId),
    (name, value): (&str, PortsValue),
    out: &mut String,
) {
    let (services, key) = (&director.flows.services, service.key);
    let real = services.server(dest).endpoint;
    if services.dest(dest).method != Method::FullNat {
        return;
    }
    let named = services.locals_of_family(ServiceId(place), Family::of(real.addr));
    let own = || own_address(&director.router, real.addr).filter(|_| named.is_empty());
    let protos = match key {
        ServiceKey::Address(proto, _) => vec![proto],
        ServiceKey::Mark(..) => vec![Proto::TCP, Proto::UDP],
    };
    for local in named.iter().copied().chain(own()) {
        for proto in &protos {
            let Some(value) = value(&director.flows.ports, local, *proto, real) else { continue };
            let labels = format!("service=\"{key}\",server=\"{real}\",local=\"{local}\",proto=\"{proto}\"");
            let _ = writeln!(out, "{name}{{{labels}}} {value}");
        }
    }
}

pub(super) fn restart_reason(shown: &Shown, out: &mut String) {
    if let Some(reason) = &shown.worker.reason {
        let _ = writeln!(out, "tapvs_worker_restart_info{{reason=\"{}\"}} 1", escaped(reason));
    }
}

pub(super) fn sync_daemons(shown: &Shown, out: &mut String) {
    for (role, _) in shown.director.sync.daemons() {
        let _ = writeln!(out, "tapvs_sync_daemons{{role=\"{}\"}} 1", role.name());
    }
}

pub(super) fn sync_records(shown: &Shown, out: &mut String) {
    let report = shown.director.sync.report(shown.now);
    let refused = report.refused.iter().map(|(why, count)| (why.as_str(), *count));
    for (what, count) in [("told", report.sent_records), ("heard", report.heard_records)].into_iter().chain(refused) {
        let _ = writeln!(out, "tapvs_sync_records_total{{what=\"{what}\"}} {count}");
    }
}

/// node_exporter's labels of a dest.
pub(super) fn backend(service: &Service, dest: DestId, services: &Services) -> String {
    let real = services.server(dest).endpoint;
    let (local, proto, mark) = match service.key {
        ServiceKey::Address(proto, vip) => (vip, proto.to_string(), String::new()),
        ServiceKey::Mark(Family::V4 | Family::V6, mark) => (Endpoint::UNSPECIFIED, "FWM".into(), format!("{mark:08X}")),
    };
    let address = if mark.is_empty() { local.addr.to_string() } else { String::new() };
    format!(
        "local_address=\"{address}\",local_port=\"{}\",remote_address=\"{}\",remote_port=\"{}\",proto=\"{proto}\",local_mark=\"{mark}\"",
        local.port, real.addr, real.port
    )
}

/// A page of services with checks; the service to go on with.
pub(super) fn reports(monitor: &Monitor, from: u32, now: Instant, mut tell: impl FnMut(&ServiceReport)) -> Option<u32> {
    let (mut place, mut size) = (from, 0);
    while let Some(report) = monitor.report(place as usize, now) {
        if size >= SERVERS_A_PAGE {
            return Some(place);
        }
        size += 1 + report.servers.len();
        tell(&report);
        place += 1;
    }
    None
}

pub(super) fn server_up(service: &str, report: &ServerReport, out: &mut String) {
    let up = match report.verdict {
        Verdict::Up => 1,
        Verdict::Down => 0,
        Verdict::Unknown => return,
    };
    let _ = writeln!(out, "tapvs_server_up{{service=\"{service}\",server=\"{}\"}} {up}", report.endpoint);
}

pub(super) fn server_down(service: &str, report: &ServerReport, out: &mut String) {
    let down = report.probes.iter().filter(|probe| probe.verdict == Verdict::Down);
    let probes = down.map(|probe| (probe.check.to_string(), probe.last_failure.map(|(_, reason)| reason)));
    for (check, reason) in probes.chain(report.accused.map(|reason| ("clients".to_owned(), Some(reason)))) {
        let reason = reason.map_or(String::new(), |reason| escaped(&reason.to_string()));
        let (server, check) = (report.endpoint, escaped(&check));
        let _ = writeln!(
            out,
            "tapvs_server_down_info{{service=\"{service}\",server=\"{server}\",check=\"{check}\",reason=\"{reason}\"}} 1"
        );
    }
}

pub(super) fn probe_seconds(service: &str, report: &ServerReport, out: &mut String) {
    for (number, probe) in report.probes.iter().enumerate() {
        let (server, check) = (report.endpoint, escaped(&probe.check.to_string()));
        let seconds = probe.took as f64 / 1000.0;
        let _ = writeln!(
            out,
            "tapvs_probe_duration_seconds{{service=\"{service}\",server=\"{server}\",number=\"{number}\",check=\"{check}\"}} {seconds}"
        );
    }
}

/// As a value of a label may stand between quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
