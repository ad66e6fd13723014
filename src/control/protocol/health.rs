//! Services with their checks as lists have them.
//!
//! Types only.

use serde::{Deserialize, Serialize};

use crate::health::{Forced, Reason, Verdict};

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
