//! What clients and a director say to each other: one JSON value a line, a request and its reply in turn.
//!
//! Types only. Lists come in pages: a reply stays small, however much there is, and packets need not wait for it.

mod entry;
mod health;
mod status;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::Endpoint;
use crate::conn::Timeouts;
use crate::health::{Forced, OnDown};
use crate::service::command::{Command, Refused, ServiceKey, SyncOptions, SyncRole};
use crate::sync::SyncReport;
pub use entry::{ConnEntry, DestEntry, ServiceEntry};
pub use health::{ChangeEntry, HealthEntry, ProbeEntry, ServerHealth};
pub use status::{FastEntry, LinkEntry, NeighbourEntry, PortsEntry, Status, VirtualRouterEntry, WorkerEntry};

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
