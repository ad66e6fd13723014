//! Other directors are told of conns (the master's side of connection synchronisation).
//!
//! Which conns are due for it is decided in `due`, what is told of one in `of_conn`; here it goes into the messages of the daemon.
//! Never changes a conn.

use std::time::Duration;

use super::daemon::Daemon;
use super::message::Version;
use super::of_conn::{is_kept_alive, record_of, under};
use super::own::Own;
use super::policy::{SyncPolicy, Told, policy, waits};
use super::record::Record;
use super::sender::Running;
use crate::alg::Helped;
use crate::base::{ConnId, Instant};
use crate::conn::Conn;
use crate::flows::Flows;
use crate::router::{Egress, Router, Turn};
use crate::service::command::{Refused, SyncOptions};

/// A conn that others are told of, how long it lives, and what helpers know of it.
struct News {
    id: ConnId,
    left: Duration,
    helped: Helped,
}

/// The master's side.
#[derive(Default)]
pub struct Master {
    pub(super) running: Option<Running>,
    /// What was told of each conn, by slot. Empty until somebody is told.
    pub(super) told: Vec<Told>,
    /// Conns to be told of together with what helpers know of them, and how long they live.
    unsaid: Vec<(ConnId, Duration)>,
}

impl Master {
    /// The options of the daemon that runs.
    pub(super) fn options(&self) -> Option<&SyncOptions> {
        self.running.as_ref().map(|running| &running.daemon.options)
    }

    pub(super) fn start(&mut self, daemon: Daemon, router: &mut Router) -> Result<(), Refused> {
        if self.running.is_some() {
            return Err(Refused::DaemonRuns);
        }
        self.running = Some(Running::new(daemon, router)?);
        Ok(())
    }

    /// Stops the daemon; true if it ran. Conns that were gathered and not sent are forgotten, as in the kernel.
    pub(super) fn stop(&mut self) -> bool {
        self.running.take().is_some()
    }

    /// When a message leaves that is not full.
    pub(super) fn due(&self) -> Option<Instant> {
        self.running.as_ref()?.due()
    }

    /// Messages leave soon, for a director that may take over, or when more has been gathered.
    pub(super) fn gather(&mut self, soon: bool) {
        self.running.iter_mut().for_each(|running| running.gather(soon));
    }

    /// Messages and records that have left, and since when conns wait for more.
    pub(super) fn counts(&self) -> ((u64, u64), Option<Instant>) {
        self.running.as_ref().map_or(((0, 0), None), |running| (running.sent, running.oldest()))
    }

    /// Sends a message that is none of conns.
    pub(super) fn say(&mut self, own: Own, router: &mut Router, turn: &mut Turn<impl Egress>) {
        if let Some(Running { daemon, sender, .. }) = &mut self.running {
            sender.send(&own.bytes(daemon.options.syncid), daemon, router, turn);
        }
    }

    /// Tells of a conn whatever was told before, with the time that it has left; true if it is one to be told of.
    pub(super) fn tell(
        &mut self,
        id: ConnId,
        flows: &Flows,
        router: &mut Router,
        turn: &mut Turn<impl Egress>,
    ) -> bool {
        let conn = *flows.conns.get(id);
        let is_old = version(flows) == Version::Zero && !conn.client().addr.is_ipv4();
        if policy(&conn) == SyncPolicy::Never || is_old {
            return false;
        }
        let end = flows.conns.deadline(&conn);
        if let Some(told) = self.told.get_mut(id.index()) {
            *told = Told { state: conn.state(), retries: 0, end };
        }
        self.queue((id, end.since(turn.now)), flows, router, turn);
        true
    }

    /// True for a conn of which others do not know, or not its present state.
    pub(super) fn has_news(&self, id: ConnId, conn: &Conn) -> bool {
        let told = self.told.get(id.index()).copied().unwrap_or_default();
        let unknown = told.end == Instant::START && !conn.is_synced();
        policy(conn) != SyncPolicy::Never && (unknown || told.state != conn.state())
    }

    /// True if conns wait for `tell_unsaid`.
    #[inline(always)]
    pub fn has_unsaid(&self) -> bool {
        !self.unsaid.is_empty()
    }

    /// Tells of a conn whatever was told before.
    pub fn tell_again(&mut self, id: ConnId, flows: &Flows, router: &mut Router, turn: &mut Turn<impl Egress>) {
        if self.running.is_some() && flows.conns.live(id).is_some() {
            self.tell(id, flows, router, turn);
        }
    }

    /// Tells of those that wait; `helped` is what helpers know of them.
    #[inline(never)]
    pub fn tell_unsaid(
        &mut self,
        helped: &dyn Fn(ConnId) -> Helped,
        flows: &Flows,
        router: &mut Router,
        turn: &mut Turn<impl Egress>,
    ) {
        for (id, left) in std::mem::take(&mut self.unsaid) {
            if flows.conns.live(id).is_some() {
                self.put(News { id, left, helped: helped(id) }, flows, router, turn);
            }
        }
    }

    /// Puts a conn that lives so long into the message, or has it wait for what helpers know of it.
    pub(super) fn queue(
        &mut self,
        (id, left): (ConnId, Duration),
        flows: &Flows,
        router: &mut Router,
        turn: &mut Turn<impl Egress>,
    ) {
        if self.running.is_none() {
            return;
        }
        if flows.conns.get(id).is_helped() {
            return self.unsaid.push((id, left));
        }
        self.put(News { id, left, helped: Helped::default() }, flows, router, turn);
    }

    /// Puts a conn into the message.
    #[inline(never)]
    fn put(
        &mut self,
        News { id, left, helped }: News,
        flows: &Flows,
        router: &mut Router,
        turn: &mut Turn<impl Egress>,
    ) {
        let Some(running) = &mut self.running else { return };
        if flows.splices.waiting(id).is_some() {
            return;
        }
        let (conn, record) = (flows.conns.get(id), record_of(id, left, flows));
        let own = if record.crosses() { Version::Crossed } else { Version::Own };
        let has_own = record.full_nat.is_some() || record.join.is_some();
        let is_own = record.crosses() || has_own || waits(conn) || is_kept_alive(conn);
        if !is_own {
            running.enqueue(&record, version(flows), router, turn);
        }
        let record = Record { under: under(conn, flows), helped, ..record };
        if is_own || record.has_more() {
            running.enqueue(&record, own, router, turn);
        }
    }

    /// Sends what was gathered, without waiting for more.
    pub fn flush(&mut self, router: &mut Router, turn: &mut Turn<impl Egress>) {
        if let Some(running) = &mut self.running {
            running.send_older(turn.now, router, turn);
        }
    }

    /// Sends the message that has waited long enough.
    pub fn send_due(&mut self, router: &mut Router, turn: &mut Turn<impl Egress>) {
        if let Some(running) = &mut self.running {
            running.send_due(router, turn);
        }
    }
}

/// The version of the messages that are sent (`sync_version`).
pub(super) fn version(flows: &Flows) -> Version {
    if flows.settings.sync_version == 0 { Version::Zero } else { Version::One }
}
