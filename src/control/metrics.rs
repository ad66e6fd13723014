//! What a director counts, in the text format of Prometheus (version 0.0.4), a page at a time.
//!
//! The names and labels of IPVS are those of node_exporter, so that dashboards made for the kernel work. Bounded work a
//! page: a scrape of many servers takes many turns of the loop.

use std::fmt::Write;

use super::told::{self, Shown};
use crate::base::version;
use crate::forward::LocalPorts;
use crate::health::{ServerReport, ServiceReport};
use crate::sched::Server;

/// What a family of metrics is of.
enum Of {
    /// The director as a whole.
    Director(fn(&Shown, &mut String)),
    /// Each dest.
    Dests(fn(&Server) -> u64),
    /// Each local address of each server behind FULL-NAT.
    Ports(told::PortsValue),
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
const FAMILIES: [FamilyOf; 32] = [
    family(
        "node_ipvs_connections_total",
        "counter",
        "The total number of connections made.",
        Of::Director(|shown, out| {
            told::total("node_ipvs_connections_total", shown.director.flows.services.total.conns, out);
        }),
    ),
    family(
        "node_ipvs_incoming_packets_total",
        "counter",
        "The total number of incoming packets.",
        Of::Director(|shown, out| {
            told::total("node_ipvs_incoming_packets_total", shown.director.flows.services.total.in_pkts, out);
        }),
    ),
    family(
        "node_ipvs_outgoing_packets_total",
        "counter",
        "The total number of outgoing packets.",
        Of::Director(|shown, out| {
            told::total("node_ipvs_outgoing_packets_total", shown.director.flows.services.total.out_pkts, out);
        }),
    ),
    family(
        "node_ipvs_incoming_bytes_total",
        "counter",
        "The total amount of incoming data.",
        Of::Director(|shown, out| {
            told::total("node_ipvs_incoming_bytes_total", shown.director.flows.services.total.in_bytes, out);
        }),
    ),
    family(
        "node_ipvs_outgoing_bytes_total",
        "counter",
        "The total amount of outgoing data.",
        Of::Director(|shown, out| {
            told::total("node_ipvs_outgoing_bytes_total", shown.director.flows.services.total.out_bytes, out);
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
            told::total("tapvs_uptime_seconds", shown.now.secs(), out);
        }),
    ),
    family(
        "tapvs_frames_total",
        "counter",
        "Frames by what became of them: the packet ledger.",
        Of::Director(told::frames),
    ),
    family(
        "tapvs_frames_held",
        "gauge",
        "Frames that wait for a neighbour now.",
        Of::Director(|shown, out| {
            told::total("tapvs_frames_held", shown.ledger.held(), out);
        }),
    ),
    family(
        "tapvs_flows",
        "gauge",
        "Conns and templates in the flow table.",
        Of::Director(|shown, out| {
            told::total("tapvs_flows", shown.director.flows.conns.len() as u64, out);
        }),
    ),
    family(
        "tapvs_flows_limit",
        "gauge",
        "Conns and templates that the flow table holds.",
        Of::Director(|shown, out| {
            told::total("tapvs_flows_limit", shown.director.flows.settings.max_flows as u64, out);
        }),
    ),
    family(
        "tapvs_fast_flows",
        "gauge",
        "Conns that the program in the kernel forwards.",
        Of::Director(|shown, out| {
            told::total("tapvs_fast_flows", shown.director.fast.len() as u64, out);
        }),
    ),
    family(
        "tapvs_neighbours",
        "gauge",
        "Neighbours by link, and whether their MAC is known.",
        Of::Director(told::neighbours),
    ),
    family(
        "tapvs_sync_daemons",
        "gauge",
        "Synchronisation daemons that run, by role.",
        Of::Director(told::sync_daemons),
    ),
    family(
        "tapvs_sync_records_total",
        "counter",
        "Records of conns and sync messages that were told, heard or not taken.",
        Of::Director(told::sync_records),
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
        "tapvs_worker_restarts_total",
        "counter",
        "Workers that died and were replaced.",
        Of::Director(|shown, out| {
            told::total("tapvs_worker_restarts_total", u64::from(shown.worker.restarts), out);
        }),
    ),
    family(
        "tapvs_worker_restart_info",
        "gauge",
        "Why the last worker that died did so.",
        Of::Director(told::restart_reason),
    ),
    family(
        "tapvs_upgrades_total",
        "counter",
        "Programs that took over from another one.",
        Of::Director(|shown, out| {
            told::total("tapvs_upgrades_total", u64::from(shown.worker.upgrades), out);
        }),
    ),
    family(
        "tapvs_local_ports_left",
        "gauge",
        "Ports of a local address that FULL-NAT can still use towards a server.",
        Of::Ports(|ports, local, proto, real| Some(ports.left(local, proto, real) as u64)),
    ),
    family(
        "tapvs_local_ports_last_seconds",
        "gauge",
        "In how many seconds they are used up at the present rate; none while they do not become fewer.",
        Of::Ports(LocalPorts::forecast),
    ),
    family(
        "tapvs_vrrp_active",
        "gauge",
        "1 for a virtual router whose addresses are here, else 0.",
        Of::Director(told::vrrp_active),
    ),
    family(
        "tapvs_vrrp_priority",
        "gauge",
        "The priority of a virtual router, with what it tracks.",
        Of::Director(|shown, out| {
            told::virtual_routers(shown, out, |report, labels, out| {
                let _ = writeln!(out, "tapvs_vrrp_priority{{{labels}}} {}", report.priority);
            });
        }),
    ),
    family(
        "tapvs_vrrp_transitions_total",
        "counter",
        "Changes of a virtual router, by what it became.",
        Of::Director(told::vrrp_transitions),
    ),
    family(
        "tapvs_vrrp_advertisements_total",
        "counter",
        "VRRP advertisements by what became of them.",
        Of::Director(told::vrrp_adverts),
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
        Of::Servers(told::server_up),
    ),
    family("tapvs_server_down_info", "gauge", "Why a probe holds a server for down.", Of::Servers(told::server_down)),
    family(
        "tapvs_probe_duration_seconds",
        "gauge",
        "How long the last probe of each check took.",
        Of::Servers(told::probe_seconds),
    ),
];

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
        let services = &director.flows.services;
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
            Of::Dests(value) => told::dests(services, self.place, |_, service, dest| {
                let labels = told::backend(service, dest, services);
                let _ = writeln!(out, "{}{{{labels}}} {}", family.name, value(services.server(dest)));
            }),
            Of::Ports(value) => told::dests(services, self.place, |place, service, dest| {
                told::ports_left(director, (place, service, dest), (family.name, *value), &mut out);
            }),
            Of::Services(value) => told::reports(monitor, self.place, now, |report| {
                let _ = writeln!(out, "{}{{service=\"{}\"}} {}", family.name, report.key, value(report));
            }),
            Of::Servers(tell) => told::reports(monitor, self.place, now, |report| {
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::IpAddr;

    use super::*;
    use crate::base::{Chance, Endpoint, Family, Instant, Ledger, Method, Proto};
    use crate::control::protocol::WorkerEntry;
    use crate::director::Director;
    use crate::health::Monitor;
    use crate::service::command::{Command, DestOptions, ServiceKey, ServiceOptions};
    use crate::settings::Settings;

    /// A whole scrape.
    fn pages_of(director: &Director, worker: &WorkerEntry) -> Vec<String> {
        let (monitor, ledger, mut scrape) = (Monitor::new(1), Ledger::default(), Scrape::default());
        let shown = Shown { director, ledger: &ledger, monitor: &monitor, worker, now: Instant::START };
        let pages: Vec<String> = std::iter::from_fn(|| scrape.page(&shown)).collect();
        pages.iter().for_each(|page| assert!(page.len() < 100_000, "{} bytes in one page", page.len()));
        pages
    }

    #[test]
    fn every_family_is_told_once_and_every_dest_in_its_pages() {
        let mut director = Director::new(Settings { max_flows: 1, ..Settings::default() }, Chance::KNOWN);
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
        let pages = pages_of(&director, &WorkerEntry::default());
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
    fn ports_left_and_restarts_are_told_of_each() {
        let mut director = Director::new(Settings { max_flows: 1, ..Settings::default() }, Chance::KNOWN);
        let key = ServiceKey::Address(Proto::TCP, Endpoint::new(IpAddr::from([10, 0, 0, 100]), 80));
        let (local, other) = (IpAddr::from([10, 0, 0, 31]), IpAddr::from([10, 0, 0, 32]));
        let real = |last| Endpoint::new(IpAddr::from([10, 0, 0, last]), 80);
        let fullnat = DestOptions { method: Method::FullNat, ..DestOptions::default() };
        for command in [
            Command::AddService(key, ServiceOptions::defaults(Family::V4)),
            Command::AddLocalAddress(key, local),
            Command::AddLocalAddress(key, other),
            Command::AddDest(key, real(21), fullnat),
            Command::AddDest(key, real(22), DestOptions::default()),
        ] {
            director.apply(&command, Instant::START).unwrap();
        }
        for _ in 0..3 {
            director.flows.ports.take(other, Proto::TCP, real(21));
        }
        let reason = Some("killed by SIGKILL".to_owned());
        let worker = WorkerEntry { restarts: 3, reason, upgrades: 1, ..WorkerEntry::default() };
        let text = pages_of(&director, &worker).concat();
        let lines = |name: &str| text.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
        let left = |local, count| {
            format!(
                "tapvs_local_ports_left{{service=\"tcp/10.0.0.100:80\",server=\"10.0.0.21:80\",local=\"{local}\",proto=\"TCP\"}} {count}"
            )
        };
        assert_eq!(lines("tapvs_local_ports_left{"), [left(local, 60_536), left(other, 60_533)]);
        let last = left(other, 60_533 / 3).replace("_left", "_last_seconds");
        assert_eq!(lines("tapvs_local_ports_last_seconds{"), [last], "three in the first second");
        assert_eq!(
            [lines("tapvs_worker_restart"), lines("tapvs_upgrades")].concat(),
            [
                "tapvs_worker_restarts_total 3",
                "tapvs_worker_restart_info{reason=\"killed by SIGKILL\"} 1",
                "tapvs_upgrades_total 1"
            ]
        );
    }
}
