//! When no server is up any more: said once for each service, and once where services fail together.
//!
//! Never changes a verdict.

use std::time::Duration;

use super::monitor::Monitor;
use super::policy::AllDown;
use super::server::Server;
use super::service::Service;
use super::verdict::Verdict;
use crate::base::Instant;

/// Services that lose their last server within this time have lost them together.
const TOGETHER: Duration = Duration::from_secs(10);

impl Service {
    /// Since when no server is up, if none is.
    fn dark_since(&self) -> Option<Instant> {
        let is_down = |server: &Server| server.effective() == Verdict::Down;
        self.servers.iter().all(is_down).then(|| self.servers.iter().map(|server| server.since).max())?
    }

    /// Says once that no server is up, and what becomes of the clients.
    pub(super) fn note_darkness(&mut self) {
        let dark = self.dark_since().is_some();
        if std::mem::replace(&mut self.dark, dark) || !dark {
            return;
        }
        let policy = &self.plan.policy;
        let clients = match (policy.if_all_down, policy.sorry) {
            (AllDown::Last, _) => "all are used all the same".to_owned(),
            (AllDown::Sorry, Some((sorry, _))) => format!("the sorry server {sorry} takes the clients"),
            (AllDown::Sorry, None) | (AllDown::Drop, _) => "clients are refused".to_owned(),
        };
        log::error!("health: no server of {} is up: {clients}", self.plan.key);
    }
}

impl Monitor {
    /// Services that have lost their last server of late, all of them, if that is more than one: what they have in common is
    /// this host.
    pub(super) fn lost_together(&self, now: Instant) -> Option<usize> {
        let fresh = |since: Instant| now.since(since) < TOGETHER;
        let count = self.services.iter().filter_map(Service::dark_since).filter(|since| fresh(*since)).count();
        (count >= 2).then_some(count)
    }

    /// Says once that services fail together.
    pub(super) fn watch_own_network(&mut self, now: Instant) {
        let lost = self.lost_together(now);
        if let Some(count) = lost
            && !self.alarmed
        {
            log::error!(
                "health: {count} services have lost all of their servers within 10 s; is it this director's own network?"
            );
        }
        self.alarmed = lost.is_some();
    }
}
