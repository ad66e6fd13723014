//! Which conns other directors are to be told of after a packet, in the kernel's order of questions.
//!
//! A template is told of with each packet of its conns, or as `sync_refresh_period` allows. Never changes a conn but for that
//! count.

use std::time::Duration;

use super::master::{Master, version};
use super::message::Version;
use super::policy::{SyncPolicy, Told, policy};
use crate::base::{ConnId, Instant};
use crate::conn::Conn;
use crate::flows::Flows;
use crate::router::{Egress, Router, Turn};
use crate::settings::Settings;

/// A conn with the number of its packets from the client, on which the decision rests.
#[derive(Clone, Copy)]
struct Counted {
    id: ConnId,
    packets: u32,
}

impl Master {
    /// What was told of an older conn in a slot does not count for the one that is there now.
    #[inline]
    pub(super) fn opened(&mut self, id: ConnId, conn: &Conn) {
        if let Some(told) = self.told.get_mut(id.index()) {
            *told = if conn.is_synced() { Told::of_state(conn.state()) } else { Told::default() };
        }
    }

    /// A packet of a conn was forwarded to its server: it is queued, and the templates above it, where they are due.
    #[inline]
    pub fn forwarded(&mut self, id: ConnId, flows: &mut Flows, router: &mut Router, turn: &mut Turn<impl Egress>) {
        if self.running.is_some() {
            let packets = flows.conns.get(id).in_pkts;
            self.queue_chain(Counted { id, packets }, flows, router, turn);
        }
    }

    /// The kernel has forwarded so many packets of a conn, which are counted already: as if each had been told of alone, the
    /// last that is due decides.
    pub fn passed(
        &mut self,
        (id, count): (ConnId, u64),
        flows: &mut Flows,
        router: &mut Router,
        turn: &mut Turn<impl Egress>,
    ) {
        if self.running.is_none() || count == 0 {
            return;
        }
        let packets = flows.conns.get(id).in_pkts;
        let Settings { sync_threshold: threshold, sync_period: period, .. } = flows.settings;
        let beyond = packets.wrapping_sub(threshold);
        let beyond = if period == 0 { beyond } else { beyond % period };
        let packets = if u64::from(beyond) < count { packets.wrapping_sub(beyond) } else { packets };
        self.queue_chain(Counted { id, packets }, flows, router, turn);
    }

    /// A conn was re-armed without a packet. As in the kernel, that counts as if the threshold had just been reached.
    pub fn prolonged(&mut self, id: ConnId, flows: &mut Flows, router: &mut Router, turn: &mut Turn<impl Egress>) {
        if self.running.is_some() {
            let packets = flows.settings.sync_threshold;
            self.queue_chain(Counted { id, packets }, flows, router, turn);
        }
    }

    /// For a conn that is not in the table (one-packet scheduling): only its template is told of.
    pub fn template_used(&mut self, id: ConnId, flows: &mut Flows, router: &mut Router, turn: &mut Turn<impl Egress>) {
        let packets = packets_of_control(id, flows);
        if self.running.is_some() && version(flows) == Version::One {
            self.queue_chain(Counted { id, packets }, flows, router, turn);
        }
    }

    /// Queues a conn and what controls it, each if it is due. In version 0, what controls a conn is asked only if the conn
    /// was queued.
    fn queue_chain(&mut self, mut conn: Counted, flows: &mut Flows, router: &mut Router, turn: &mut Turn<impl Egress>) {
        loop {
            let due = self.is_due(conn, flows, turn.now);
            if due {
                self.queue((conn.id, lifetime(conn.id, flows)), flows, router, turn);
            } else if version(flows) == Version::Zero {
                return;
            }
            let Some(control) = flows.conns.get(conn.id).control() else { return };
            conn = Counted { id: control, packets: packets_of_control(control, flows) };
        }
    }

    fn is_due(&mut self, Counted { id, packets }: Counted, flows: &Flows, now: Instant) -> bool {
        let conn = *flows.conns.get(id);
        if version(flows) == Version::Zero && !conn.client().addr.is_ipv4() {
            return false;
        }
        let template = conn.is_template();
        let told = self.told_of(id, flows);
        let persistent = conn.control().is_some_and(|control| flows.conns.get(control).is_template());
        if !template && flows.settings.sync_persist_mode && persistent {
            return false;
        }
        let lifetime = lifetime(id, flows);
        let mut retries = 0;
        match policy(&conn) {
            SyncPolicy::Never => return false,
            SyncPolicy::AtOnce if told.state != conn.state() => {}
            SyncPolicy::AtOnce | SyncPolicy::Regular => {
                let due = told.retries_if_due(lifetime, packets, template, (&flows.settings, now));
                let Some(count) = due else { return false };
                retries = count;
            }
        }
        *told = Told { state: conn.state(), retries, end: now + lifetime };
        true
    }

    /// Another director has told of this conn: it is not told of again before it changes.
    pub(super) fn note_synced(&mut self, id: ConnId, state: u8, flows: &Flows) {
        if self.running.is_none() {
            return;
        }
        *self.told_of(id, flows) = Told::of_state(state);
    }

    /// What was told of a conn.
    fn told_of(&mut self, id: ConnId, flows: &Flows) -> &mut Told {
        if self.told.is_empty() {
            self.told = vec![Told::default(); flows.settings.max_flows];
        }
        &mut self.told[id.index()]
    }
}

/// A template counts the packets of all its conns.
fn packets_of_control(control: ConnId, flows: &mut Flows) -> u32 {
    let conn = flows.conns.get_mut(control);
    if !conn.is_template() {
        return flows.settings.sync_threshold;
    }
    conn.in_pkts = conn.in_pkts.wrapping_add(1);
    conn.in_pkts
}

/// How long a conn lives after a packet.
fn lifetime(id: ConnId, flows: &Flows) -> Duration {
    let conn = flows.conns.get(id);
    if conn.is_template() {
        return Duration::from_secs(u64::from(conn.template_timeout()));
    }
    flows.timeouts.of(conn)
}
