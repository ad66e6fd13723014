//! Health checks as pure state machines: when a server is probed, what its answers mean, what follows for its service.
//!
//! Sans-I/O: the time, the seed and the bytes of an answer are arguments; probes to start and judgements come out.
//! Never writes a verdict into a configured weight: the factors of a weight stay apart (`service::Judgement`).

mod alarm;
mod check;
mod configure;
mod inhibition;
mod kind;
mod monitor;
mod outcome;
mod passive;
mod policy;
mod probe;
mod quorum;
mod report;
mod server;
mod service;
mod verdict;

pub use check::{Check, Dns, Exec, Http, HttpMethod, Kind, Timing, Tls, Udp};
pub use kind::{Dialogue, Step};
pub use monitor::{Monitor, Start};
pub use outcome::{Outcome, Reason, Stage};
pub use policy::{AllDown, Drain, Forced, OnDown, Plan, Policy, Quorum, Standing, Target};
pub use probe::ProbeId;
pub use report::{ProbeReport, ServerReport, ServiceReport};
pub use verdict::{Change, Verdict};
