//! What a director counts, in the text format of Prometheus (version 0.0.4), a page at a time.
//!
//! The names and labels of IPVS are those of node_exporter, so that dashboards made for the kernel work. Bounded work a
//! page: a scrape of many servers takes many turns of the loop.

use std::fmt::Write;

use crate::base::{DestId, Endpoint, Family, Instant, Ledger, LinkId, version};
use crate::director::Director;
use crate::health::{Monitor, ServerReport, ServiceReport, Verdict};
use crate::sched::Server;
use crate::service::command::ServiceKey;
use crate::service::{Service, Services};
use crate::vrrp::Report;

/// A page ends with the service that brings it to so many servers.
const SERVERS_A_PAGE: usize = 256;

/// What a family of metrics is of.
enum Of {
    /// The director as a whole.
    Director(fn(&Shown, &mut String)),
    /// Each dest.
    Dests(fn(&Server) -> u64),
    /// Each service with checks.
    Services(fn(&ServiceReport) -> u64),
    /// Each server with checks.
    Servers(fn(&str, &ServerReport, &mut String)),
}

struct FamilyOf {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    of: Of,
}

const fn family(name: &'static str, kind: &'static str, help: &'static str, of: Of) -> FamilyOf {
    FamilyOf { name, kind, help, of }
}

/// Every family, in the order in which they are told.
const FAMILIES: [FamilyOf; 26] = [
    family(
        "node_ipvs_connections_total",
        "counter",
        "The total number of connections made.",
        Of::Director(|shown, out| {
            total("node_ipvs_connections_total", shown.director.flows.services.total.conns, out);
        }),
    ),
    family(
        "node_ipvs_incoming_packets_total",
        "counter",
        "The total number of incoming packets.",
        Of::Director(|shown, out| {
            total("node_ipvs_incoming_packets_total", shown.director.flows.services.total.in_pkts, out);
        }),
    ),
    family(
        "node_ipvs_outgoing_packets_total",
        "counter",
        "The total number of outgoing packets.",
        Of::Director(|shown, out| {
            total("node_ipvs_outgoing_packets_total", shown.director.flows.services.total.out_pkts, out);
        }),
    ),
    family(
        "node_ipvs_incoming_bytes_total",
        "counter",
        "The total amount of incoming data.",
        Of::Director(|shown, out| {
            total("node_ipvs_incoming_bytes_total", shown.director.flows.services.total.in_bytes, out);
        }),
    ),
    family(
        "node_ipvs_outgoing_bytes_total",
        "counter",
        "The total amount of outgoing data.",
        Of::Director(|shown, out| {
            total("node_ipvs_outgoing_bytes_total", shown.director.flows.services.total.out_bytes, out);
        }),
    ),
    family(
        "node_ipvs_backend_connections_active",
        "gauge",
        "The current active connections by local and remote address.",
        Of::Dests(|server| u64::from(server.active)),
    ),
    family(
        "node_ipvs_backend_connections_inactive",
        "gauge",
        "The current inactive connections by local and remote address.",
        Of::Dests(|server| u64::from(server.inactive)),
    ),
    family(
        "node_ipvs_backend_weight",
        "gauge",
        "The current backend weight by local and remote address.",
        Of::Dests(|server| u64::from(server.present_weight())),
    ),
    family(
        "tapvs_build_info",
        "gauge",
        "The version of tapvs.",
        Of::Director(|_, out| {
            let _ = writeln!(out, "tapvs_build_info{{version=\"{}\"}} 1", version());
        }),
    ),
    family(
        "tapvs_uptime_seconds",
        "gauge",
        "Seconds since the director started.",
        Of::Director(|shown, out| {
            total("tapvs_uptime_seconds", shown.now.secs(), out);
        }),
    ),
    family("tapvs_frames_total", "counter", "Frames by what became of them: the packet ledger.", Of::Director(frames)),
    family(
        "tapvs_frames_held",
        "gauge",
        "Frames that wait for a neighbour now.",
        Of::Director(|shown, out| {
            total("tapvs_frames_held", shown.ledger.held(), out);
        }),
    ),
    family(
        "tapvs_flows",
        "gauge",
        "Conns and templates in the flow table.",
        Of::Director(|shown, out| {
            total("tapvs_flows", shown.director.flows.conns.len() as u64, out);
        }),
    ),
    family(
        "tapvs_flows_limit",
        "gauge",
        "Conns and templates that the flow table holds.",
        Of::Director(|shown, out| {
            total("tapvs_flows_limit", shown.director.flows.settings.max_flows as u64, out);
        }),
    ),
    family(
        "tapvs_neighbours",
        "gauge",
        "Neighbours by link, and whether their MAC is known.",
        Of::Director(neighbours),
    ),
    family(
        "tapvs_sync_daemons",
        "gauge",
        "Synchronisation daemons that run, by role.",
        Of::Director(|shown, out| {
            for (role, _) in shown.director.sync.daemons() {
                let _ = writeln!(out, "tapvs_sync_daemons{{role=\"{}\"}} 1", role.name());
            }
        }),
    ),
    family(
        "tapvs_sync_records_total",
        "counter",
        "Records of conns and sync messages that were told, heard or not taken.",
        Of::Director(sync_records),
    ),
    family(
        "tapvs_sync_lag_seconds",
        "gauge",
        "For how long conns have waited to be told to other directors.",
        Of::Director(|shown, out| {
            let lag = shown.director.sync.report(shown.now).lag_ms as f64 / 1000.0;
            let _ = writeln!(out, "tapvs_sync_lag_seconds {lag}");
        }),
    ),
    family(
        "tapvs_vrrp_active",
        "gauge",
        "1 for a virtual router whose addresses are here, else 0.",
        Of::Director(vrrp_active),
    ),
    family(
        "tapvs_vrrp_priority",
        "gauge",
        "The priority of a virtual router, with what it tracks.",
        Of::Director(|shown, out| {
            virtual_routers(shown, out, |report, labels, out| {
                let _ = writeln!(out, "tapvs_vrrp_priority{{{labels}}} {}", report.priority);
            });
        }),
    ),
    family(
        "tapvs_vrrp_transitions_total",
        "counter",
        "Changes of a virtual router, by what it became.",
        Of::Director(vrrp_transitions),
    ),
    family(
        "tapvs_vrrp_advertisements_total",
        "counter",
        "VRRP advertisements by what became of them.",
        Of::Director(vrrp_adverts),
    ),
    family(
        "tapvs_service_quorum",
        "gauge",
        "1 while servers enough of a service are up, else 0.",
        Of::Services(|report| u64::from(!report.lost)),
    ),
    family(
        "tapvs_server_up",
        "gauge",
        "1 for a server that its checks hold for up, 0 for down; none while nothing is known.",
        Of::Servers(server_up),
    ),
    family("tapvs_server_down_info", "gauge", "Why a probe holds a server for down.", Of::Servers(server_down)),
    family(
        "tapvs_probe_duration_seconds",
        "gauge",
        "How long the last probe of each check took.",
        Of::Servers(probe_seconds),
    ),
];

/// What a scrape reads.
pub struct Shown<'a> {
    /// The director.
    pub director: &'a Director,
    /// What became of every frame.
    pub ledger: &'a Ledger,
    /// Its checks.
    pub monitor: &'a Monitor,
    /// The time.
    pub now: Instant,
}

/// One scrape, as far as it has come.
#[derive(Debug, Default)]
pub struct Scrape {
    family: usize,
    /// The service to go on with; 0 at the beginning of a family.
    place: u32,
}

impl Scrape {
    /// The next page; `None` after the last.
    pub fn page(&mut self, shown: &Shown) -> Option<String> {
        let Shown { director, monitor, now, .. } = *shown;
        let family = FAMILIES.get(self.family)?;
        let mut out = String::new();
        if self.place == 0 {
            let FamilyOf { name, kind, help, .. } = family;
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
        let next = match &family.of {
            Of::Director(tell) => {
                tell(shown, &mut out);
                None
            }
            Of::Dests(value) => dests(family.name, *value, &director.flows.services, self.place, &mut out),
            Of::Services(value) => reports(monitor, self.place, now, |report| {
                let _ = writeln!(out, "{}{{service=\"{}\"}} {}", family.name, report.key, value(report));
            }),
            Of::Servers(tell) => reports(monitor, self.place, now, |report| {
                let service = report.key.to_string();
                report.servers.iter().for_each(|server| tell(&service, server, &mut out));
            }),
        };
        match next {
            Some(place) => self.place = place,
            None => (self.family, self.place) = (self.family + 1, 0),
        }
        Some(out)
    }
}

fn total(name: &str, value: u64, out: &mut String) {
    let _ = writeln!(out, "{name} {value}");
}

fn frames(shown: &Shown, out: &mut String) {
    for (name, count) in shown.ledger.entries().into_iter().filter(|(name, _)| name != "held") {
        let _ = writeln!(out, "tapvs_frames_total{{fate=\"{}\"}} {count}", escaped(&name));
    }
}

fn neighbours(shown: &Shown, out: &mut String) {
    let director = shown.director;
    for (id, link) in director.router.links() {
        let of_link = || director.router.neighbours.iter().filter(|(on, _, _)| *on == id);
        let known = of_link().filter(|(_, _, mac)| mac.is_some()).count();
        let name = escaped(&link.name);
        let _ = writeln!(out, "tapvs_neighbours{{link=\"{name}\",state=\"known\"}} {known}");
        let _ = writeln!(out, "tapvs_neighbours{{link=\"{name}\",state=\"asked\"}} {}", of_link().count() - known);
    }
}

fn sync_records(shown: &Shown, out: &mut String) {
    let report = shown.director.sync.report(shown.now);
    let refused = report.refused.iter().map(|(why, count)| (why.as_str(), *count));
    for (what, count) in [("told", report.sent_records), ("heard", report.heard_records)].into_iter().chain(refused) {
        let _ = writeln!(out, "tapvs_sync_records_total{{what=\"{what}\"}} {count}");
    }
}

fn virtual_routers(shown: &Shown, out: &mut String, mut tell: impl FnMut(&Report, &str, &mut String)) {
    for report in shown.director.vrrp.reports() {
        let link = &shown.director.router.link(LinkId(report.link)).name;
        tell(&report, &format!("link=\"{link}\",id=\"{}\",family=\"{}\"", report.id, report.family), out);
    }
}

fn vrrp_active(shown: &Shown, out: &mut String) {
    virtual_routers(shown, out, |report, labels, out| {
        let active = u8::from(report.state == "active");
        let _ = writeln!(out, "tapvs_vrrp_active{{{labels}}} {active}");
    });
}

fn vrrp_transitions(shown: &Shown, out: &mut String) {
    virtual_routers(shown, out, |report, labels, out| {
        for (state, count) in [("active", report.transitions.0), ("backup", report.transitions.1)] {
            let _ = writeln!(out, "tapvs_vrrp_transitions_total{{{labels},to=\"{state}\"}} {count}");
        }
    });
}

fn vrrp_adverts(shown: &Shown, out: &mut String) {
    virtual_routers(shown, out, |report, labels, out| {
        let usual = [("sent", report.sent), ("heeded", report.received)];
        let refused = report.refused.iter().map(|(reason, count)| (reason.as_str(), *count));
        for (what, count) in usual.into_iter().chain(refused) {
            let _ = writeln!(out, "tapvs_vrrp_advertisements_total{{{labels},what=\"{what}\"}} {count}");
        }
    });
}

/// A page of dests; the service to go on with.
fn dests(name: &str, value: fn(&Server) -> u64, services: &Services, from: u32, out: &mut String) -> Option<u32> {
    let mut size = 0;
    for (place, service) in services.slots_from(from) {
        if size >= SERVERS_A_PAGE {
            return Some(place);
        }
        size += 1 + service.dests.len();
        for dest in &service.dests {
            let _ = writeln!(out, "{name}{{{}}} {}", backend(service, *dest, services), value(services.server(*dest)));
        }
    }
    None
}

/// node_exporter's labels of a dest.
fn backend(service: &Service, dest: DestId, services: &Services) -> String {
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
fn reports(monitor: &Monitor, from: u32, now: Instant, mut tell: impl FnMut(&ServiceReport)) -> Option<u32> {
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

fn server_up(service: &str, report: &ServerReport, out: &mut String) {
    let up = match report.verdict {
        Verdict::Up => 1,
        Verdict::Down => 0,
        Verdict::Unknown => return,
    };
    let _ = writeln!(out, "tapvs_server_up{{service=\"{service}\",server=\"{}\"}} {up}", report.endpoint);
}

fn server_down(service: &str, report: &ServerReport, out: &mut String) {
    for probe in report.probes.iter().filter(|probe| probe.verdict == Verdict::Down) {
        let reason = probe.last_failure.map_or(String::new(), |(_, reason)| escaped(&reason.to_string()));
        let (server, check) = (report.endpoint, escaped(&probe.check.to_string()));
        let _ = writeln!(
            out,
            "tapvs_server_down_info{{service=\"{service}\",server=\"{server}\",check=\"{check}\",reason=\"{reason}\"}} 1"
        );
    }
}

fn probe_seconds(service: &str, report: &ServerReport, out: &mut String) {
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
    use std::collections::HashSet;
    use std::hash::RandomState;
    use std::net::IpAddr;

    use super::*;
    use crate::base::Proto;
    use crate::service::command::{Command, DestOptions, ServiceOptions};
    use crate::settings::Settings;

    #[test]
    fn every_family_is_told_once_and_every_dest_in_its_pages() {
        let mut director = Director::new(Settings { max_flows: 1, ..Settings::default() }, RandomState::new(), 1);
        for port in 1..=300u16 {
            let key = ServiceKey::Address(Proto::TCP, Endpoint::new(IpAddr::from([10, 0, 0, 100]), port));
            let add = Command::AddService(key, ServiceOptions::defaults(Family::V4));
            let dest = |last| {
                Command::AddDest(key, Endpoint::new(IpAddr::from([10, 0, 0, last]), port), DestOptions::default())
            };
            for command in [add, dest(21), dest(22)] {
                director.apply(&command, Instant::START).unwrap();
            }
        }
        let (monitor, ledger, mut scrape, mut pages) =
            (Monitor::new(1), Ledger::default(), Scrape::default(), Vec::new());
        let shown = Shown { director: &director, ledger: &ledger, monitor: &monitor, now: Instant::START };
        while let Some(page) = scrape.page(&shown) {
            assert!(page.len() < 100_000, "{} bytes in one page", page.len());
            pages.push(page);
        }
        let text = pages.concat();
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        assert_eq!(heads.len(), FAMILIES.len());
        assert_eq!(heads.iter().collect::<HashSet<_>>().len(), FAMILIES.len());
        let weights: HashSet<&str> =
            text.lines().filter(|line| line.starts_with("node_ipvs_backend_weight{")).collect();
        assert_eq!(weights.len(), 600);
        let line = "node_ipvs_backend_weight{local_address=\"10.0.0.100\",local_port=\"7\",remote_address=\"10.0.0.21\",\
                    remote_port=\"7\",proto=\"TCP\",local_mark=\"\"} 1";
        assert!(weights.contains(line));
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
