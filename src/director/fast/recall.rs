//! What the kernel has counted of conns for a process that has ended.
//!
//! Never makes an entry.

use super::Fast;
use crate::base::{ConnId, Tuple};
use crate::fastpath::abi::{Counters, Key};
use crate::fastpath::{Left, Passed};

impl Fast<'_> {
    /// Notes how many packets each conn has, if entries of another process are left: those that come before they are gone are
    /// none that the kernel has counted.
    pub(super) fn note_counts(&mut self) {
        if !self.path.has_remains() {
            return;
        }
        for (id, conn) in self.flows.conns.iter() {
            if self.watch.counts.len() <= id.index() {
                self.watch.counts.resize(id.index() + 1, 0);
            }
            self.watch.counts[id.index()] = conn.in_pkts;
        }
    }

    /// Takes some entries away that another process has left; what was counted of a conn that lives is its.
    pub(super) fn take_remains(&mut self, most: usize) {
        for left in self.path.take_remains(most) {
            if let Some(id) = self.conn_of(&left) {
                self.recall(id, &left);
            }
        }
        if !self.path.has_remains() {
            self.watch.counts = Vec::new();
        }
    }

    /// The conn of an entry that another process has made.
    fn conn_of(&self, Left { key: Key { proto, endpoint }, entry, .. }: &Left) -> Option<ConnId> {
        // The second entry of FULL-NAT has replies alone.
        let is_second = entry.request.neighbour == 0;
        let (src, dst) = if is_second { (entry.server, *endpoint) } else { (*endpoint, entry.virt) };
        self.flows.conns.lookup(&Tuple { proto: *proto, src, dst }).map(|(id, _)| id)
    }

    /// Counts what the kernel has counted of a conn and another process has not. Of its requests the conn's own number says
    /// how many that had; all else is taken to be in the same proportion, and if there was no request, to be known.
    fn recall(&mut self, id: ConnId, left: &Left) {
        let conn = self.flows.conns.get(id);
        let [request, reply] = left.counted();
        let in_pkts = self.watch.counts.get(id.index()).copied().unwrap_or(conn.in_pkts);
        let known = u64::from(in_pkts.wrapping_sub(left.entry.born));
        let (news, all) = (request.packets.saturating_sub(known), request.packets.max(1));
        let part = |count: u64| (u128::from(count) * u128::from(news) / u128::from(all)) as u64;
        let news = |way: Counters| Counters { packets: part(way.packets), bytes: part(way.bytes), ..way };
        self.credit(&Passed { id, dest: conn.dest, request: news(request), reply: news(reply) });
    }
}
