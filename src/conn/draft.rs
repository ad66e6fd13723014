//! What finds conns and ends them, made from a copy of a flow table that another process still works with, so that taking
//! the table over later costs little: only what has changed in between is done anew.
//!
//! A record of the copy may be torn or outdated. Never taken for a conn: it only says how the index was entered.

use super::flags as flag;
use super::index::FlowIndex;
use super::memory::Memory;
use super::record::{Conn, NIL};
use super::records::Records;
use super::table::{ConnTable, is_one_way_flow};
use super::wheel::Wheel;
use crate::base::{ConnId, Instant};

/// Flags that decide how a record is entered, besides what its identity says.
const ENTERED_BY: u16 = flag::LIVE | flag::HIDDEN | flag::ONE_WAY | flag::NO_CPORT | flag::ANY_DPORT;

/// Buckets, overflow index and timers, and the records that they were made from.
pub struct Draft {
    records: Records,
    index: FlowIndex,
    wheel: Wheel,
    /// The size of the table that it is for.
    max: usize,
}

impl Draft {
    /// Of a copy of the slots in use of a table of `max`, as they were then.
    pub fn of(copy: Memory, max: usize, now: Instant) -> Draft {
        let (used, secret) = (copy.used(), copy.secret);
        let mut table = ConnTable::over(copy, now);
        (table.index, table.wheel) = (FlowIndex::new(max, secret), Wheel::starting_at(max, now));
        for id in (0..used).map(|slot| ConnId(slot as u32)) {
            if table.names_known(id) {
                table.records[id].set(flag::SHADOWED, false);
            } else {
                table.records[id] = Conn::vacant(NIL);
            }
        }
        table.link_all(used);
        Draft { records: table.records, index: table.index, wheel: table.wheel, max }
    }
}

impl ConnTable {
    /// As `link_all`, by a draft: what is as it was then stays, the rest is entered anew.
    pub(super) fn link_by(&mut self, draft: Draft) {
        let Draft { mut records, index, wheel, max } = draft;
        if max != self.max || !records.has_secret_of(&self.records) {
            return self.link_all(self.records.all().len());
        }
        (self.index, self.wheel) = (index, wheel);
        let slots = self.records.all().len().max(records.all().len());
        let mut anew = Vec::new();
        for id in (0..slots).map(|slot| ConnId(slot as u32)) {
            let (before, now) = (live(&records, id), live(&self.records, id));
            match (before, now) {
                (None, None) => {}
                (Some(before), Some(now)) if is_entered_alike(before, &records, now, &self.records) => {
                    let (deadline, is_earlier) = (now.deadline, now.deadline < before.deadline);
                    if !now.is_hidden() {
                        self.one_way += usize::from(is_one_way_flow(now));
                        self.without_port += usize::from(now.lacks_port());
                    }
                    if is_earlier {
                        self.wheel.remove(id);
                        self.wheel.insert(id, deadline);
                    }
                }
                (before, now) => {
                    anew.extend(now.map(|_| id));
                    if before.is_some() {
                        self.unlink_drafted(&mut records, id);
                    }
                }
            }
        }
        if self.index.has_shadowed() {
            let is_shadowed = |id: &ConnId| records[*id].is_live() && records[*id].flags & flag::SHADOWED != 0;
            let all = (0..records.all().len()).map(|slot| ConnId(slot as u32));
            all.filter(is_shadowed).for_each(|id| self.records[id].set(flag::SHADOWED, true));
        }
        anew.into_iter().for_each(|id| self.enter(id));
    }

    fn unlink_drafted(&mut self, records: &mut Records, id: ConnId) {
        if !records[id].is_hidden() {
            self.index.unlink(records, id);
        }
        self.wheel.remove(id);
        records[id] = Conn::vacant(NIL);
    }
}

fn live(records: &Records, id: ConnId) -> Option<&Conn> {
    records.all().get(id.index()).filter(|conn| conn.is_live())
}

/// True if a record of then is found by the same packets as the one that is in its slot now.
fn is_entered_alike(before: &Conn, then: &Records, now: &Conn, present: &Records) -> bool {
    let same_addresses = || now.named().all(|addr| then.addresses.packed(addr) == present.addresses.packed(addr));
    let mut before = *before;
    before.dest = now.dest;
    (before.flags ^ now.flags) & ENTERED_BY == 0 && before.identity() == now.identity() && same_addresses()
}
