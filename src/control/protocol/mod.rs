//! What clients and a director say to each other: one JSON value a line, a request and its reply in turn.
//!
//! Types only. Lists come in pages: a reply stays small, however much there is, and packets need not wait for it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::{Endpoint, Proto};
use crate::conn::Timeouts;
use crate::health::{Forced, OnDown, Reason, Verdict};
use crate::service::command::{Command, DestOptions, Refused, ServiceKey, ServiceOptions, SyncOptions, SyncRole};
use crate::service::{Rates, Stats};
use crate::sync::SyncReport;
use crate::vrrp::Report;

/// The longest line of a request, in bytes.
pub const LONGEST_REQUEST: usize = 64 * 1024;

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// To carry out a command.
    Apply(Command),
    /// To carry out several commands in turn, going on after one that is refused.
    ApplyAll(Vec<Command>),
    /// One service with its dests.
    Service(ServiceKey),
    /// Services with their dests, from this place on; 0 is the first.
    Services(u32),
    /// The same as messages of netlink, for who passes them on.
    Listed(u32, FullNat),
    /// Conns and templates, from this place on.
    Conns(u32),
    /// Timeouts of conns.
    Timeouts,
    /// Synchronisation daemons that run.
    Daemons,
    /// The state of the director as a whole.
    Status,
    /// Services with their checks, from this place on; 0 is the first.
    Health(u32),
    /// To start all probes now.
    CheckNow,
    /// To change what the administrator says of a server beside its weight.
    Steer(ServiceKey, Endpoint, Steering),
    /// To read the configuration again and bring the director in line with it.
    Reload,
    /// To hand this conversation to the keeper, which answers `Done` and then takes a `Wish` as a line.
    Upgrade,
    /// All settings.
    Settings,
    /// To change a setting: its name and the value as text.
    Set(String, String),
    /// The mark rules in order.
    Marks,
    /// To add a mark rule behind the others, as `--mark` takes it.
    AddMark(String),
    /// To take the first mark rule away that says the same.
    DeleteMark(String),
    /// To stand by (true), or to work.
    Standby(bool),
    /// What was told and heard of conns.
    Sync,
    /// The virtual routers.
    Vrrp,
    /// To give up the addresses of all virtual routers.
    FailOver,
}

/// How a list for a program of the kernel's IPVS shows FULL-NAT, which the kernel does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FullNat {
    /// As NAT: the program knows what the kernel has.
    #[default]
    AsNat,
    /// By the number of DPVS: the program has used it.
    Known,
}

/// What an administrator says of a server beside its weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Steering {
    /// No new conns; those that are left end after so many seconds.
    Drain {
        /// When; never without a number.
        seconds: Option<u64>,
        /// How.
        then: OnDown,
    },
    /// It serves again.
    Undrain,
    /// Up or down whatever its checks say, or as they say.
    Force(Forced),
}

/// What the director answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The command was carried out.
    Done,
    /// The commands were carried out, but for those that were refused: which one, counted from 0, and why.
    Applied(Vec<(u32, Refused)>),
    /// The command was refused, and nothing has changed.
    Refused(Refused),
    /// The request was not understood, or its sender may not ask; a sentence.
    Error(String),
    /// Services, and the place where to go on if there are more.
    Services {
        /// A page of them.
        services: Vec<ServiceEntry>,
        /// Where the next page begins.
        next: Option<u32>,
    },
    /// Services as messages of netlink, each before those of its dests, and the place where to go on if there are more.
    Listed {
        /// So many bytes follow the line.
        len: usize,
        /// These bytes.
        #[serde(skip)]
        messages: Vec<u8>,
        /// Where the next page begins.
        next: Option<u32>,
    },
    /// Conns, and the place where to go on if there are more.
    Conns {
        /// A page of them.
        conns: Vec<ConnEntry>,
        /// Where the next page begins.
        next: Option<u32>,
    },
    /// Timeouts of conns.
    Timeouts(Timeouts),
    /// Settings by name.
    Settings(Vec<(String, String)>),
    /// A setting was changed; what is to be said of it besides, a line each.
    Set(Vec<String>),
    /// Mark rules.
    Marks(Vec<String>),
    /// Synchronisation daemons that run.
    Daemons(Vec<(SyncRole, SyncOptions)>),
    /// The state of the director as a whole.
    Status(Box<Status>),
    /// Services with their checks, and the place where to go on if there are more.
    Health {
        /// A page of them.
        services: Vec<HealthEntry>,
        /// Where the next page begins.
        next: Option<u32>,
    },
    /// Synchronisation daemons that run, and what they have told and heard.
    Sync(Vec<(SyncRole, SyncOptions)>, SyncReport),
    /// Virtual routers.
    Vrrp(Vec<VirtualRouterEntry>),
    /// So many probes are due now.
    Due(usize),
    /// What a reload has changed.
    Reloaded {
        /// A line each for the first changes.
        lines: Vec<String>,
        /// How many there were.
        count: usize,
    },
    /// What is wrong with the configuration, a line each; nothing was changed.
    NotReloaded(Vec<String>),
    /// Another program has taken over.
    Upgraded {
        /// The version that there was.
        before: String,
        /// The version that there is.
        now: String,
    },
}

/// What an upgrade is to start, and how long it is waited for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wish {
    /// The program, by an absolute path.
    pub program: PathBuf,
    /// It must handle packets within so many seconds.
    pub ready_s: u64,
    /// It must live for so many seconds afterwards.
    pub proof_s: u64,
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

/// A service with its dests, the one added last first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceEntry {
    /// What it takes.
    pub key: ServiceKey,
    /// How it is configured.
    pub options: ServiceOptions,
    /// Its local addresses for FULL-NAT.
    pub locals: Vec<std::net::IpAddr>,
    /// Counters.
    pub stats: Stats,
    /// Rates.
    pub rates: Rates,
    /// Dests.
    pub dests: Vec<DestEntry>,
}

/// A dest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DestEntry {
    /// Address and port of the real server.
    pub real: Endpoint,
    /// How it is configured.
    pub options: DestOptions,
    /// Its present weight: what checks say is in it, where `options` has the administrator's.
    pub weight: u32,
    /// Active conns.
    pub active: u32,
    /// Inactive conns.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
    /// Counters.
    pub stats: Stats,
    /// Rates.
    pub rates: Rates,
}

/// A service with its checks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HealthEntry {
    /// Its name, like `tcp/10.0.0.100:80`.
    pub service: String,
    /// False if too few of its servers are up.
    pub quorum: bool,
    /// Its servers.
    pub servers: Vec<ServerHealth>,
}

/// A server as its checks see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServerHealth {
    /// Address and port.
    pub server: String,
    /// What all of its probes say together, or the administrator.
    pub verdict: Verdict,
    /// Milliseconds since they have said so.
    pub for_ms: u64,
    /// `serving`, or why it takes no new conns: `drained`, `unchecked`, `failed`.
    pub state: String,
    /// The administrator's word.
    pub forced: Forced,
    /// What clients have brought to light of it, if nobody probes it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// Milliseconds until its conns end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drained_in_ms: Option<u64>,
    /// The administrator's weight.
    pub weight: u32,
    /// Its present weight.
    pub present_weight: u32,
    /// Conns that it has.
    pub conns: u64,
    /// Its probes.
    pub probes: Vec<ProbeEntry>,
}

/// A probe.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProbeEntry {
    /// What it asks, like `http:/healthz`.
    pub check: String,
    /// What it says.
    pub verdict: Verdict,
    /// Milliseconds since it has said so.
    pub for_ms: u64,
    /// Why it failed last, and how many milliseconds ago.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_failure: Option<(Reason, u64)>,
    /// Milliseconds until the next; 0 while it runs.
    pub next_ms: u64,
    /// Milliseconds that the last one took.
    pub took_ms: u64,
    /// The last changes, the oldest first.
    pub history: Vec<ChangeEntry>,
}

/// A change of a probe's verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChangeEntry {
    /// How many milliseconds ago.
    pub ago_ms: u64,
    /// To what.
    pub to: Verdict,
    /// Why, if it is a failure.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
}

/// A conn or a persistence template.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConnEntry {
    /// Protocol.
    pub proto: Proto,
    /// Name of the state.
    pub state: String,
    /// Whole seconds until it expires.
    pub expires: u64,
    /// Client; port 0 in a template.
    pub client: Endpoint,
    /// Virtual endpoint.
    pub virt: Endpoint,
    /// FULL-NAT: the local endpoint.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub local: Option<Endpoint>,
    /// Real server.
    pub real: Endpoint,
    /// Persistence engine and its data.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub engine: Option<(String, String)>,
    /// A segment had no room for the option that tells the server of its client.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub toa_missing: bool,
}

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

/// Ports of a local address that conns to a server can still have.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PortsEntry {
    /// Local address.
    pub local: std::net::IpAddr,
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
    pub addr: std::net::IpAddr,
    /// Its MAC, once it is known.
    pub mac: Option<String>,
}
