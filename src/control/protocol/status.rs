//! The state of a director as a whole, as it is told.
//!
//! Types only.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::base::{Endpoint, Proto};
use crate::service::{Rates, Stats};
use crate::vrrp::Report;

/// The state of a director as a whole.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of tapvs.
    pub version: String,
    /// Seconds since it started.
    pub uptime: u64,
    /// Services.
    pub services: usize,
    /// Live conns and templates.
    pub conns: usize,
    /// Conns that the flow table holds.
    pub max_flows: usize,
    /// How this director stands by, if it does.
    pub standby: Option<String>,
    /// The virtual routers.
    #[serde(default)]
    pub vrrp: Vec<VirtualRouterEntry>,
    /// The worker that answers.
    #[serde(default)]
    pub worker: WorkerEntry,
    /// Segments that had no room for a TOA option.
    #[serde(default)]
    pub toa_missing: u64,
    /// The pools of local ports with the fewest left.
    #[serde(default)]
    pub local_ports: Vec<PortsEntry>,
    /// Conns that made room for others, by what they were worth.
    pub evicted: Vec<(String, u64)>,
    /// Counters of all services together.
    pub total: Stats,
    /// Rates of all services together.
    pub rates: Rates,
    /// Links.
    pub links: Vec<LinkEntry>,
    /// Neighbours.
    pub neighbours: Vec<NeighbourEntry>,
    /// What became of every frame: name and count; those that never happened are left out.
    pub ledger: Vec<(String, u64)>,
    /// The fast path, if there is one.
    #[serde(default)]
    pub fast: Option<FastEntry>,
}

/// The worker that answers, and those before it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct WorkerEntry {
    /// The keeper's version; the worker's is the director's.
    pub keeper: String,
    /// How often a worker that had died was replaced.
    pub restarts: u32,
    /// Why it was the last time.
    pub reason: Option<String>,
    /// How often another program took over.
    pub upgrades: u32,
    /// Seconds since this worker began.
    pub up: u64,
}

/// A virtual router as it stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VirtualRouterEntry {
    /// The link's name.
    pub link: String,
    /// For how many seconds it has been in its state.
    pub for_s: u64,
    /// What it says of itself.
    #[serde(flatten)]
    pub report: Report,
}

/// Ports of a local address that conns to a server can still have.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PortsEntry {
    /// Local address.
    pub local: IpAddr,
    /// Protocol.
    pub proto: Proto,
    /// Real server.
    pub server: Endpoint,
    /// How many are left.
    pub left: usize,
    /// In how many seconds they are used up at the present rate, if they become fewer.
    pub last_s: Option<u64>,
}

/// What the kernel forwards.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct FastEntry {
    /// How the program came to the devices.
    pub by: String,
    /// Conns that it forwards now.
    pub conns: usize,
    /// Conns that it was given so far.
    pub added: u64,
    /// Frames that it has forwarded.
    pub frames: u64,
    /// SYNs that it has answered by cookies.
    #[serde(default)]
    pub answered: u64,
    /// Conns that it was not given, by the reason.
    pub refused: Vec<(String, u64)>,
    /// Packets that it has left to the director, by the reason.
    pub passed: Vec<(String, u64)>,
}

/// A link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LinkEntry {
    /// Name of the TAP.
    pub name: String,
    /// The director's MAC on it.
    pub mac: String,
    /// Largest IP packet.
    pub mtu: u16,
    /// The director's addresses on it, with prefix length.
    pub addresses: Vec<String>,
}

/// A neighbour that is known or asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NeighbourEntry {
    /// Name of the link.
    pub link: String,
    /// Address.
    pub addr: IpAddr,
    /// Its MAC, once it is known.
    pub mac: Option<String>,
}
