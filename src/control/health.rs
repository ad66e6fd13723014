//! What a director answers about its checks.
//!
//! Bounded work a request: services come in pages.

use std::time::Duration;

use super::protocol::{ChangeEntry, HealthEntry, ProbeEntry, Reply, ServerHealth, Steering};
use crate::base::{Endpoint, Instant};
use crate::director::Director;
use crate::health::{Change, Drain, Monitor, ProbeReport, ServerReport, ServiceReport, Target};
use crate::sched::Mask;
use crate::service::command::ServiceKey;

/// A page ends with the service that brings it to so many servers.
const SERVERS_A_PAGE: usize = 128;

/// A page of services with their checks.
pub fn health(monitor: &Monitor, director: &Director, from: u32, now: Instant) -> Reply {
    let (mut services, mut place, mut size) = (Vec::new(), from as usize, 0);
    while let Some(report) = monitor.report(place, now) {
        if size >= SERVERS_A_PAGE {
            return Reply::Health { services, next: Some(place as u32) };
        }
        size += report.servers.len();
        services.push(entry(&report, director, now));
        place += 1;
    }
    Reply::Health { services, next: None }
}

/// Changes what the administrator says of a server.
pub fn steer(
    monitor: &mut Monitor,
    director: &Director,
    steered: (ServiceKey, Endpoint),
    how: Steering,
    now: Instant,
) -> Reply {
    let (key, server) = steered;
    let Some(service) = director.flows.services.by_key(&key) else {
        return Reply::Error(format!("{key}: there is no such service"));
    };
    if !service.dests.iter().any(|dest| director.flows.services.server(*dest).endpoint == server) {
        return Reply::Error(format!("{server} is no server of {key}"));
    }
    let dests = service.dests.iter();
    let targets = dests.map(|dest| Target {
        endpoint: director.flows.services.server(*dest).endpoint,
        weight: director.flows.services.dest(*dest).weight,
    });
    monitor.know(key, &targets.collect::<Vec<_>>(), now);
    let done = match how {
        Steering::Drain { seconds, then } => {
            let until = seconds.map(|seconds| now + Duration::from_secs(seconds));
            monitor.drain(key, server, Some(Drain { until, then }), now)
        }
        Steering::Undrain => monitor.drain(key, server, None, now),
        Steering::Force(forced) => monitor.force(key, server, forced, now),
    };
    match done {
        Ok(()) => Reply::Done,
        Err(what) => Reply::Error(what),
    }
}

fn entry(report: &ServiceReport, director: &Director, now: Instant) -> HealthEntry {
    let servers = report.servers.iter().map(|server| server_entry(report.key, server, director, now));
    HealthEntry { service: report.key.to_string(), quorum: !report.lost, servers: servers.collect() }
}

fn server_entry(key: ServiceKey, report: &ServerReport, director: &Director, now: Instant) -> ServerHealth {
    let dest = director
        .flows
        .services
        .dests_of(&key)
        .iter()
        .find(|dest| director.flows.services.server(**dest).endpoint == report.endpoint);
    let server = dest.map(|dest| director.flows.services.server(*dest));
    let until = report.drain.and_then(|drain| drain.until).filter(|until| *until > now);
    ServerHealth {
        server: report.endpoint.to_string(),
        verdict: report.verdict,
        for_ms: since(report.since, now),
        state: mask_name(report.judgement.mask).into(),
        forced: report.forced,
        reason: report.accused.cloned(),
        drained_in_ms: until.map(|until| since(now, until)),
        weight: dest.map_or(0, |dest| director.flows.services.dest(*dest).weight),
        present_weight: server.map_or(0, |server| server.present_weight()),
        conns: server.map_or(0, |server| server.total()),
        probes: report.probes.iter().map(|probe| probe_entry(probe, now)).collect(),
    }
}

fn probe_entry(report: &ProbeReport, now: Instant) -> ProbeEntry {
    let change =
        |change: &Change| ChangeEntry { ago_ms: since(change.at, now), to: change.to, reason: change.reason.clone() };
    ProbeEntry {
        check: report.check.to_string(),
        verdict: report.verdict,
        for_ms: since(report.since, now),
        last_failure: report.last_failure.map(|(at, reason)| (reason.clone(), since(*at, now))),
        next_ms: since(now, report.due),
        took_ms: report.took,
        history: report.history.iter().map(change).collect(),
    }
}

fn since(earlier: Instant, later: Instant) -> u64 {
    later.since(earlier).as_millis() as u64
}

/// Why a server takes no new conns, in a word.
fn mask_name(mask: Mask) -> &'static str {
    match mask {
        Mask::None => "serving",
        Mask::Drained => "drained",
        Mask::Unchecked => "unchecked",
        Mask::Failed => "failed",
    }
}
