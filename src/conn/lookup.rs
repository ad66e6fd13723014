//! Finding conns: by a packet, by its endpoints, as a template, by a walk over all; and prefetching what a lookup will read.
//!
//! Never changes the table.

use super::index::Prefetched;
use super::key::{Key, Side};
use super::record::Conn;
use super::table::ConnTable;
use crate::base::{ConnId, Endpoint, Proto, Tuple, prefetch};

/// Conns whose records and buckets fit the caches of a processor: a few megabytes.
const FIT_CACHE: usize = 32_768;

impl ConnTable {
    /// The conn a packet belongs to.
    ///
    /// Replies of direct routing and tunnels, where they pass here at all, come from the virtual address.
    pub fn lookup(&self, tuple: &Tuple) -> Option<(ConnId, Side)> {
        self.lookup_here(tuple)
    }

    /// The same, made part of the path that all packets take.
    #[inline(always)]
    pub fn lookup_here(&self, tuple: &Tuple) -> Option<(ConnId, Side)> {
        let found = self.find(tuple.proto, tuple.src, tuple.dst).filter(|(id, side)| {
            // A packet from port 0 is not the packet of a conn that waits for its port.
            !self.lacks_port_of(*id, *side)
        });
        if found.is_some() || self.one_way + self.without_port == 0 {
            return found;
        }
        self.lookup_rare(tuple)
    }

    /// True if there are so many conns that most lookups miss the caches.
    #[inline]
    pub fn exceeds_cache(&self) -> bool {
        self.live > FIT_CACHE
    }

    /// First prefetch step: the buckets that `lookup` will read.
    pub fn prefetch_buckets(&self, tuple: &Tuple) -> Prefetched {
        self.index.prefetch_buckets(&Key::new(tuple.proto, tuple.src, tuple.dst))
    }

    /// Second prefetch step: the records named by the buckets of step one. Returns the conn that `lookup` will most likely
    /// find.
    pub fn prefetch_records(&self, prefetched: &Prefetched) -> Option<ConnId> {
        let mut last = None;
        for id in self.index.candidates(prefetched) {
            prefetch(&self.records[id]);
            if let Some(expected) = self.expected.get(id.index()) {
                prefetch(expected);
            }
            last = Some(id);
        }
        last
    }

    #[inline(always)]
    fn find(&self, proto: Proto, src: Endpoint, dst: Endpoint) -> Option<(ConnId, Side)> {
        self.index.find(&self.records, &Key::new(proto, src, dst))
    }

    /// True if a conn waits for the first packet of that side to know its port.
    #[inline]
    fn lacks_port_of(&self, id: ConnId, side: Side) -> bool {
        match side {
            Side::Request => self.get(id).is_without_client_port(),
            Side::Reply => self.get(id).is_without_server_port(),
        }
    }

    /// Conns of which a port is not known yet, and replies of one-way conns.
    fn lookup_rare(&self, tuple: &Tuple) -> Option<(ConnId, Side)> {
        if self.without_port > 0 {
            let anyone = Endpoint::new(tuple.src.addr, 0);
            let found = self.find(tuple.proto, anyone, tuple.dst);
            if let Some((id, side)) = found.filter(|(id, side)| self.lacks_port_of(*id, *side)) {
                return Some((id, side));
            }
        }
        let found = self.find_flow(tuple.proto, tuple.dst, tuple.src);
        found.filter(|id| !self.get(*id).rewrites_replies()).map(|id| (id, Side::Reply))
    }

    /// True if there is a conn between these two.
    pub fn exists(&self, proto: Proto, client: Endpoint, virt: Endpoint) -> bool {
        self.find_flow(proto, client, virt).is_some()
    }

    /// The conn between these two; the client's port is 0 where it is not known yet.
    pub fn find_flow(&self, proto: Proto, client: Endpoint, virt: Endpoint) -> Option<ConnId> {
        self.index.find_request(&self.records, &Key::new(proto, client, virt))
    }

    /// The template that binds a client to a dest.
    pub fn find_template(&self, proto: Proto, client: Endpoint, virt: Endpoint) -> Option<ConnId> {
        self.index.find_request(&self.records, &Key::template(proto, client, virt))
    }

    /// All live conns, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        let records = self.records.all().iter().enumerate();
        records.filter(|(_, conn)| conn.is_live()).map(|(index, conn)| (ConnId(index as u32), conn))
    }

    /// Of at most `budget` places from `cursor` on, the next that `wanted` takes; where to go on, `None` at the end.
    pub fn scan(
        &self,
        cursor: usize,
        budget: usize,
        wanted: impl Fn(&Conn) -> bool,
    ) -> (Option<ConnId>, Option<usize>) {
        let records = self.records.all();
        let until = records.len().min(cursor.saturating_add(budget));
        let found = (cursor..until).find(|index| records[*index].is_live() && wanted(&records[*index]));
        let next = found.map_or(until, |index| index + 1);
        (found.map(|index| ConnId(index as u32)), (next < records.len()).then_some(next))
    }
}
