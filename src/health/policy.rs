//! What the operator wants of a service's health: its checks, and what follows from them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::Check;
pub use super::quorum::Quorum;
use super::verdict::Verdict;
use crate::base::{Endpoint, Instant};
use crate::service::command::{Method, ServiceKey};

/// What becomes of the conns of a server that failed or was drained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDown {
    /// They go on.
    Keep,
    /// They end in silence.
    #[default]
    Drop,
    /// They end, and both ends are told by a reset.
    Reset,
}

/// What a service does while all of its servers are down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AllDown {
    /// The sorry server takes the conns; without one the clients are refused.
    #[default]
    Sorry,
    /// The clients are refused, also where there is a sorry server.
    Drop,
    /// All servers are used as if they were up: right where the checks themselves are broken.
    Last,
}

/// The administrator's word on a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forced {
    /// As the checks say.
    #[default]
    Auto,
    /// Up, whatever they say.
    Up,
    /// Down, whatever they say.
    Down,
}

/// What is held of a server, for a later process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Standing {
    /// What its probes have said.
    pub verdict: Verdict,
    /// What the administrator has said of that.
    pub forced: Forced,
    /// That it is to take no new conns.
    pub drain: Option<Drain>,
}

impl Standing {
    /// True if the administrator has said something.
    pub fn is_steered(&self) -> bool {
        self.forced != Forced::Auto || self.drain.is_some()
    }
}

/// A server that is to take no new conns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Drain {
    /// When the conns that are left end.
    pub until: Option<Instant>,
    /// How.
    pub then: OnDown,
}

/// What follows from the checks of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Weight that must be up.
    pub quorum: Quorum,
    /// Takes the conns while the quorum is lost.
    pub sorry: Option<(Endpoint, Method)>,
    /// How long a server that is back takes to get its full share.
    pub slow_start: Duration,
    /// What becomes of the conns of a failed server, after `grace`.
    pub on_down: OnDown,
    /// How long they may wait for its return.
    pub grace: Duration,
    /// What if no server is up.
    pub if_all_down: AllDown,
    /// What clients are refused counts as a failed probe, and has the server probed at once; without probes it is masked.
    pub passive: bool,
    /// Program and arguments to run when the quorum is there again.
    pub quorum_up: Vec<String>,
    /// The user that these two run as; the worker's without one.
    pub quorum_user: Option<String>,
    /// Program and arguments to run when it is lost.
    pub quorum_down: Vec<String>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            quorum: Quorum::default(),
            sorry: None,
            slow_start: Duration::ZERO,
            on_down: OnDown::Drop,
            grace: Duration::from_secs(10),
            if_all_down: AllDown::Sorry,
            passive: true,
            quorum_up: Vec::new(),
            quorum_user: None,
            quorum_down: Vec::new(),
        }
    }
}

/// The checks of one service and its servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The service.
    pub key: ServiceKey,
    /// What follows.
    pub policy: Policy,
    /// The checks of its servers, where a server has none of its own.
    pub checks: Vec<Check>,
    /// Checks of single servers, instead of the service's.
    pub own: Vec<(Endpoint, Vec<Check>)>,
}

impl Plan {
    /// A service without checks, of which nothing was asked either.
    pub(super) fn without_checks(key: ServiceKey) -> Plan {
        let policy = Policy { passive: false, ..Policy::default() };
        Plan { key, policy, checks: Vec::new(), own: Vec::new() }
    }

    /// True if conns of failed servers are reset: what their ends expect must be remembered before.
    pub fn wants_resets(&self) -> bool {
        self.policy.on_down == OnDown::Reset
    }

    /// The checks of a server.
    pub fn checks_of(&self, server: Endpoint) -> &[Check] {
        self.own.iter().find(|(own, _)| *own == server).map_or(&self.checks, |(_, checks)| checks)
    }
}

/// A server as it is in its service now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// Address and port.
    pub endpoint: Endpoint,
    /// The administrator's weight.
    pub weight: u32,
}
