//! What the kernel has counted goes where packets are counted here.
//!
//! Never changes an entry.

use super::Fast;
use crate::base::ConnId;
use crate::conn::{Event, Side};
use crate::fastpath::Passed;
use crate::fastpath::abi::Counters;
use crate::router::Turn;
use crate::service::Stats;

/// So many conns have their counters read before a listing; more are at most a few rounds old.
const READ_BEFORE_LISTS: usize = 65_536;

impl Fast<'_> {
    /// What the kernel has done with packets of a conn counts as if the director had done it.
    pub(super) fn credit(&mut self, passed: &Passed) {
        self.count(passed);
        let Passed { id, request, reply, .. } = *passed;
        let conn = self.flows.conns.get_mut(id);
        conn.in_pkts = conn.in_pkts.wrapping_add(request.packets as u32);
        let conn = *conn;
        let last = [request, reply].iter().filter_map(|way| self.path.moment_of(way)).max();
        let timeout = self.flows.timeouts.of(&conn);
        if let Some(last) = last.filter(|last| *last + timeout > self.flows.conns.deadline(&conn)) {
            self.flows.conns.rearm(id, last, timeout);
        }
        if self.flows.wants_expected(&conn) {
            self.note_expected(id, Side::Request, &request);
            self.note_expected(id, Side::Reply, &reply);
        }
        if reply.packets > 0 {
            self.flows.assure(id, Event::Output);
        }
        if request.packets > 0 && self.sync.is_master() {
            self.watch.unsaid.push((id, request.packets));
        }
    }

    fn note_expected(&mut self, id: ConnId, sender: Side, way: &Counters) {
        if way.packets > 0 && way.acknowledged != 0 {
            self.flows.conns.note_expected(id, sender, way.acknowledged);
        }
    }

    pub(super) fn count(&mut self, Passed { dest, request, reply, .. }: &Passed) {
        if request.packets + reply.packets > 0 {
            let (in_pkts, in_bytes) = (request.packets, request.bytes);
            let (out_pkts, out_bytes) = (reply.packets, reply.bytes);
            self.flows.services.count_passed(*dest, &Stats { conns: 0, in_pkts, out_pkts, in_bytes, out_bytes });
        }
    }

    /// Reads what the kernel has counted of all conns.
    pub fn read_all(&mut self) {
        self.path.read_answered();
        self.path.read_from_the_first();
        while !self.read_some() {}
    }

    pub(super) fn read_some(&mut self) -> bool {
        let mut news = Vec::new();
        let all = self.path.read_some(|passed| news.push(passed));
        news.iter().for_each(|passed| self.credit(passed));
        all
    }

    /// A list is about to be made: what the kernel has counted is in it.
    pub fn read_before_list(&mut self) {
        if self.path.len() <= READ_BEFORE_LISTS {
            self.read_all();
        }
    }

    /// Frames that the kernel has forwarded, and SYNs that it has answered, are in the ledger.
    pub fn account<E>(&mut self, turn: &mut Turn<E>) {
        turn.passed(self.path.take_uncounted());
        turn.answered(self.path.take_uncounted_answers());
    }
}
