//! The end of conns: what they held goes back, at once or by a search through the table.
//!
//! Never sends a packet to the ends of a conn: who has it done is told which.

use super::Flows;
use std::time::Duration;

use crate::base::{ConnId, Endpoint, Instant};
use crate::conn::{Conn, Due};
use crate::service::command::ServiceKey;
use crate::service::{Ending, Judgement};

/// Records looked at in one turn.
const SWEEP_BUDGET: usize = 4096;
/// Conns that are reset before the search pauses, and for how long: 10,000 a second, so that the clients of a server with
/// many conns do not all come back at the same moment.
const RESETS_AT_ONCE: usize = 100;
const RESET_PAUSE: Duration = Duration::from_millis(10);

impl Flows {
    /// Takes a conn out before its time, or, while others depend on it, out of sight.
    pub fn replace(&mut self, id: ConnId) {
        if self.conns.get(id).controls() {
            return self.conns.hide(id);
        }
        self.end(id);
    }

    /// Takes a conn out before its time.
    pub(super) fn end(&mut self, id: ConnId) {
        let conn = *self.conns.get(id);
        self.conns.remove(id);
        self.release(id, &conn);
    }

    /// The next conn whose time is over; what it held has gone back.
    pub fn expire_one(&mut self, now: Instant) -> Option<Due> {
        let due = self.conns.expire_one(now, self.settings.keepalive)?;
        if let Due::Over(id, conn) = due {
            self.release(id, &conn);
        }
        Some(due)
    }

    /// Releases what a dead conn held besides its record: its local port, and its place in the dest's counters.
    fn release(&mut self, id: ConnId, conn: &Conn) {
        if conn.is_synced() {
            self.synced = self.synced.saturating_sub(1);
        }
        if conn.is_template() {
            self.calls.forget(id);
            return self.services.unbind_template(conn.dest);
        }
        self.forget_at_client(id, conn);
        self.services.unbind(conn.dest, conn.counted());
        if let Some(local) = self.conns.local(conn) {
            self.ports.give_back(local.addr, conn.proto(), self.conns.pool(conn), local.port);
        }
    }

    /// Has the conns of removed dests searched for (`expire_nodest_conn`).
    pub fn start_sweep(&mut self) {
        self.sweep = Some(0);
    }

    /// When `sweep` has something to do.
    pub fn sweep_due(&self) -> Option<Instant> {
        self.sweep.map(|_| self.sweep_from)
    }

    /// Applies what checks say of a dest; its conns are searched for if they are to end.
    pub fn judge(&mut self, key: ServiceKey, real: Endpoint, judgement: Judgement) {
        let changed = self.services.judge(key, real, judgement).is_some();
        if changed && judgement.ending.ends_conns() {
            self.start_sweep();
        }
    }

    /// An ICMP error says that what the client of a conn sent does not arrive. Servers of a service without a port answer
    /// so for every port that a client thinks of.
    pub fn refused_by_error(&mut self, id: ConnId) {
        let conn = self.conns.get(id);
        if self.services.server(conn.dest).endpoint.port != 0 {
            self.refusals.unreachable(conn);
        }
    }

    /// From now on what each end of a conn expects is remembered, so that it can be reset.
    pub fn prepare_resets(&mut self) {
        self.resets_wanted = true;
    }

    /// Ends conns of removed dests (`expire_nodest_conn`) and of failed ones, a part of the table at a time. `reset` is
    /// called, before it ends, for each conn whose ends are to be told. Templates of a failed server wait for its return;
    /// conns that another director told of are that one's to end, until their packets come here.
    pub fn sweep(&mut self, now: Instant, mut reset: impl FnMut(&Flows, ConnId, &Conn)) {
        let Some(mut cursor) = self.sweep.filter(|_| self.sweep_from <= now) else { return };
        let mut resets = 0;
        let expire = self.settings.expire_nodest_conn;
        let until = cursor + SWEEP_BUDGET;
        while cursor < until {
            let services = &self.services;
            let idle = |conn: &Conn| {
                let gone = expire && !services.server(conn.dest).available;
                let is_own = !conn.is_template() && !conn.is_synced();
                let failed = || is_own && services.dest(conn.dest).judgement.ending.ends_conns();
                !conn.controls() && (gone || failed())
            };
            let (found, next) = self.conns.scan(cursor, until - cursor, idle);
            self.sweep = next;
            let Some(id) = found else { return };
            let conn = *self.conns.get(id);
            let control = conn.control();
            if self.services.dest(conn.dest).judgement.ending == Ending::Reset {
                reset(self, id, &conn);
                resets += 1;
            }
            self.end(id);
            // What controlled it may be idle now.
            let again = control.filter(|control| control.index() < id.index()).map(|control| control.index());
            self.sweep = again.or(next);
            if resets == RESETS_AT_ONCE {
                self.sweep_from = now + RESET_PAUSE;
                return;
            }
            cursor = self.sweep.unwrap_or(until);
        }
    }
}
