//! Checks as they stand, for people: services, their servers, and the probes of each.
//!
//! Only looks.

use super::check::Check;
use super::monitor::{Entry, Monitor};
use super::outcome::Reason;
use super::policy::{Drain, Forced};
use super::probe::ProbeId;
use super::verdict::{History, Verdict};
use crate::base::{Endpoint, Instant};
use crate::service::Judgement;
use crate::service::command::ServiceKey;

/// A probe as it stands, for people.
pub struct ProbeReport<'a> {
    /// What it asks.
    pub check: &'a Check,
    /// What it says, and since when.
    pub verdict: Verdict,
    /// Since when.
    pub since: Instant,
    /// The last failure.
    pub last_failure: Option<&'a (Instant, Reason)>,
    /// When it is due; in the past while it runs.
    pub due: Instant,
    /// How long the last one took, in milliseconds.
    pub took: u64,
    /// Changes.
    pub history: &'a History,
}

/// A server as it stands.
pub struct ServerReport<'a> {
    /// Which one.
    pub endpoint: Endpoint,
    /// Its probes' verdict.
    pub verdict: Verdict,
    /// Since when.
    pub since: Instant,
    /// The administrator's word.
    pub forced: Forced,
    /// How it is drained, if it is.
    pub drain: Option<Drain>,
    /// What follows.
    pub judgement: Judgement,
    /// Why it is masked though nobody probes it.
    pub accused: Option<&'a Reason>,
    /// Its probes.
    pub probes: Vec<ProbeReport<'a>>,
}

/// A service as it stands.
pub struct ServiceReport<'a> {
    /// Which one.
    pub key: ServiceKey,
    /// True if its quorum is lost.
    pub lost: bool,
    /// Its servers.
    pub servers: Vec<ServerReport<'a>>,
}

impl Monitor {
    /// The service at a place as it stands; `None` behind the last.
    pub fn report(&self, place: usize, now: Instant) -> Option<ServiceReport<'_>> {
        let service = self.services.get(place)?;
        let servers =
            service.servers.iter().zip(service.judgements(now)).map(|(server, (_, judgement))| ServerReport {
                endpoint: server.endpoint,
                verdict: server.effective(),
                since: server.since,
                forced: server.forced,
                drain: server.drain,
                judgement,
                accused: server.inhibition.holds(now),
                probes: server.probes.iter().filter_map(|id| self.probe_report(*id)).collect(),
            });
        Some(ServiceReport { key: service.plan.key, lost: service.is_lost(), servers: servers.collect() })
    }

    fn probe_report(&self, id: ProbeId) -> Option<ProbeReport<'_>> {
        let Entry { key, probe, .. } = self.probes.get(&id)?;
        Some(ProbeReport {
            check: &key.check,
            verdict: probe.verdict,
            since: probe.since,
            last_failure: probe.last_failure.as_ref(),
            due: probe.due,
            took: probe.took.as_millis() as u64,
            history: &probe.history,
        })
    }
}
