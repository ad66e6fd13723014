//! The families of metrics: their names, what each says, and where its numbers are.
//!
//! The names and labels of IPVS are those of node_exporter, so that dashboards made for the kernel work.

use std::fmt::Write;

use super::told::{self, Shown};
use crate::base::version;
use crate::forward::LocalPorts;
use crate::health::{ServerReport, ServiceReport};
use crate::sched::Server;

/// What a family of metrics is of.
pub(super) enum Of {
    /// The director as a whole: one number.
    Total(fn(&Shown) -> u64),
    /// The same, written out.
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

/// A family.
pub(super) struct FamilyOf {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) help: &'static str,
    pub(super) of: Of,
}

const fn family(name: &'static str, kind: &'static str, help: &'static str, of: Of) -> FamilyOf {
    FamilyOf { name, kind, help, of }
}

/// Every family, in the order in which they are told.
pub(super) const FAMILIES: [FamilyOf; 32] = [
    family(
        "node_ipvs_connections_total",
        "counter",
        "The total number of connections made.",
        Of::Total(|shown| shown.director.flows.services.total.conns),
    ),
    family(
        "node_ipvs_incoming_packets_total",
        "counter",
        "The total number of incoming packets.",
        Of::Total(|shown| shown.director.flows.services.total.in_pkts),
    ),
    family(
        "node_ipvs_outgoing_packets_total",
        "counter",
        "The total number of outgoing packets.",
        Of::Total(|shown| shown.director.flows.services.total.out_pkts),
    ),
    family(
        "node_ipvs_incoming_bytes_total",
        "counter",
        "The total amount of incoming data.",
        Of::Total(|shown| shown.director.flows.services.total.in_bytes),
    ),
    family(
        "node_ipvs_outgoing_bytes_total",
        "counter",
        "The total amount of outgoing data.",
        Of::Total(|shown| shown.director.flows.services.total.out_bytes),
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
    family("tapvs_uptime_seconds", "gauge", "Seconds since the director started.", Of::Total(|shown| shown.now.secs())),
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
        Of::Total(|shown| shown.ledger.held()),
    ),
    family(
        "tapvs_flows",
        "gauge",
        "Conns and templates in the flow table.",
        Of::Total(|shown| shown.director.flows.conns.len() as u64),
    ),
    family(
        "tapvs_flows_limit",
        "gauge",
        "Conns and templates that the flow table holds.",
        Of::Total(|shown| shown.director.flows.settings.max_flows as u64),
    ),
    family(
        "tapvs_fast_flows",
        "gauge",
        "Conns that the program in the kernel forwards.",
        Of::Total(|shown| shown.director.fast.len() as u64),
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
        Of::Total(|shown| u64::from(shown.worker.restarts)),
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
        Of::Total(|shown| u64::from(shown.worker.upgrades)),
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
