//! Other directors are told of conns (the master's side of connection synchronisation).
//!
//! Decides which conns are due for a message, in the kernel's order of questions. A template is told of with each packet of its
//! conns, or as `sync_refresh_period` allows. Never changes a conn.

use std::time::Duration;

use super::daemon::Daemon;
use super::message::Version;
use super::own::Own;
use super::policy::{SyncPolicy, Told, policy, waits};
use super::record::{FullNat, Record, Under};
use super::sender::Running;
use crate::alg::Helped;
use crate::base::{ConnId, Family, Instant, Tuple};
use crate::conn::Conn;
use crate::flows::Flows;
use crate::router::{Egress, Router, Turn};
use crate::service::command::{Refused, ServiceKey, SyncOptions};
use crate::settings::Settings;

/// A conn with the number of its packets from the client, on which the decision rests.
#[derive(Clone, Copy)]
struct Counted {
    id: ConnId,
    packets: u32,
}

/// A conn that others are told of, how long it lives, and what helpers know of it.
struct News {
    id: ConnId,
    left: Duration,
    helped: Helped,
}

/// The master's side.
#[derive(Default)]
pub struct Master {
    running: Option<Running>,
    /// What was told of each conn, by slot. Empty until somebody is told.
    told: Vec<Told>,
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
        if self.told.is_empty() {
            self.told = vec![Told::default(); flows.settings.max_flows];
        }
        let told = &mut self.told[id.index()];
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
    fn queue(
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
        let conn = flows.conns.get(id);
        let (client, virt) = (conn.client(), conn.virt());
        let mark = match flows.services.dest(conn.dest).service {
            ServiceKey::Mark(_, mark) => mark,
            ServiceKey::Address(..) => {
                flows.services.marks().of(&Tuple { proto: conn.proto(), src: client, dst: virt })
            }
        };
        let real = flows.conns.real(conn);
        if Family::of(real.addr) != Family::of(client.addr) {
            return;
        }
        if flows.splices.waiting(id).is_some() {
            return;
        }
        let record = Record {
            proto: conn.proto(),
            flags: conn.kernel_flags(),
            state: u16::from(conn.state()),
            client,
            virt,
            real,
            mark,
            // 0 is for those who do not say.
            timeout: left.as_secs().max(1) as u32,
            engine: if conn.is_template() { flows.calls.engine_data(id) } else { None },
            full_nat: flows.conns.local(conn).map(|local| FullNat { local, shift: flows.conns.shift(id) }),
            join: flows.splices.join(id),
            under: None,
            helped: Helped::default(),
        };
        let is_own = record.full_nat.is_some() || record.join.is_some() || waits(conn) || is_kept_alive(conn);
        if !is_own {
            running.enqueue(&record, version(flows), router, turn);
        }
        let record = Record { under: under(conn, flows), helped, ..record };
        if is_own || record.has_more() {
            running.enqueue(&record, Version::Own, router, turn);
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

    /// Another director has told of this conn: it is not told of again before it changes.
    pub(super) fn note_synced(&mut self, id: ConnId, state: u8, flows: &Flows) {
        if self.running.is_none() {
            return;
        }
        if self.told.is_empty() {
            self.told = vec![Told::default(); flows.settings.max_flows];
        }
        self.told[id.index()] = Told::of_state(state);
    }
}

/// True for a conn that keeps another one alive and that no packet belongs to.
fn is_kept_alive(conn: &Conn) -> bool {
    !conn.is_template() && conn.is_local() && conn.virt().port == 0
}

/// What a conn has that was made without a packet of its own.
fn under(conn: &Conn, flows: &Flows) -> Option<Under> {
    if !conn.is_announced() && !is_kept_alive(conn) {
        return None;
    }
    let control = conn.control().map(|id| flows.conns.get(id));
    let tuple = |conn: &Conn| Tuple { proto: conn.proto(), src: conn.client(), dst: conn.virt() };
    Some(Under { announced: conn.is_announced(), control: control.map(tuple) })
}

/// The version of the messages that are sent (`sync_version`).
fn version(flows: &Flows) -> Version {
    if flows.settings.sync_version == 0 { Version::Zero } else { Version::One }
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
