//! The end of a conn's time: what restarts its timer, and what becomes of it when nothing does.
//!
//! Never counts at a dest.

use std::time::Duration;

use super::key::Side;
use super::record::Conn;
use super::table::ConnTable;
use super::wheel::{moment_of, tick_at};
use crate::base::{ConnId, Instant};

/// How long a conn stays beyond its time when it controls others.
const PROLONGED: Duration = Duration::from_secs(60);

/// What has happened to a conn whose time was over.
#[derive(Clone, Copy)]
pub enum Due {
    /// It is out of the table; the record is for the caller's bookkeeping.
    Over(ConnId, Conn),
    /// It controls others and lives on for a minute.
    Prolonged(ConnId),
    /// The kernel forwards its packets: it is due again at once, unless some have come meanwhile.
    Fast(ConnId),
    /// It is established, and its ends are to be asked whether they still have it; it lives on for a minute.
    Quiet(ConnId),
}

impl ConnTable {
    /// Restarts a conn's timer.
    #[inline]
    pub fn rearm(&mut self, id: ConnId, now: Instant, timeout: Duration) {
        let deadline = tick_at(now + timeout);
        let conn = &mut self.records[id];
        let earlier = deadline < conn.deadline;
        conn.deadline = deadline;
        if earlier {
            self.wheel.remove(id);
            self.wheel.insert(id, deadline);
        }
    }

    /// When a conn expires if nothing more comes.
    pub fn deadline(&self, conn: &Conn) -> Instant {
        moment_of(conn.deadline)
    }

    /// The next conn whose time is over, taken out unless it controls others, or is established by one of the methods of
    /// `spared` (`keepalive`).
    pub fn expire_one(&mut self, now: Instant, spared: u8) -> Option<Due> {
        let id = self.wheel.pop_due(&self.records, now)?;
        let conn = self.records[id];
        if conn.is_fast() {
            self.wheel.insert(id, conn.deadline);
            return Some(Due::Fast(id));
        }
        if spared != 0 && self.is_spared(id, spared) {
            self.records[id].deadline = tick_at(now + PROLONGED);
            self.wheel.insert(id, self.records[id].deadline);
            return Some(Due::Quiet(id));
        }
        if !conn.controls() {
            self.forget(id);
            return Some(Due::Over(id, conn));
        }
        self.prolong(id, now);
        Some(Due::Prolonged(id))
    }

    /// True for an established conn whose ends can be asked: what they expect is known.
    fn is_spared(&self, id: ConnId, methods: u8) -> bool {
        let conn = self.get(id);
        let is_known = [Side::Request, Side::Reply].iter().any(|end| self.expected(id, *end) != 0);
        let is_here = !(conn.is_template() || conn.is_hidden() || conn.is_local() || conn.is_synced());
        conn.is_established() && is_here && is_known && conn.is_of(methods)
    }

    /// A conn that controls others is re-armed for a minute instead of expiring; a template keeps that timeout.
    fn prolong(&mut self, id: ConnId, now: Instant) {
        let conn = &mut self.records[id];
        conn.deadline = tick_at(now + PROLONGED);
        if conn.is_template() {
            conn.set_template_timeout(PROLONGED.as_secs() as u32);
            self.records.seal(id);
        }
        self.wheel.insert(id, self.records[id].deadline);
    }

    /// When `expire_one` may have something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next_due()
    }
}
