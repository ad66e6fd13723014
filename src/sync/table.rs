//! The whole table, for a director that knows none of it: one that has begun, or has given its addresses up.
//!
//! ```text
//! asks      every second, until it has all or nobody has answered three times
//! tells     all conns whose addresses are here, as ordinary records, a slice at a time; then how many they were
//! ```
//! Only a director that runs both daemons asks or tells: a kernel does neither. Who was told less than there was asks again.

use std::time::Duration;

use super::Sync;
use super::own::{Own, Tally};
use super::record::Record;
use crate::base::{ConnId, Instant};
use crate::flows::Flows;
use crate::router::{Egress, Router, Turn};

/// From one slice to the next: a million conns take less than nine seconds, and 4 MB a second of the link.
const PAUSE: Duration = Duration::from_millis(10);
/// Conns in a slice.
const SLICE: u64 = 1200;
/// Places of the table looked at for a slice.
const LOOKED_AT: usize = 65_536;
/// From one question to the next.
const AGAIN: Duration = Duration::from_secs(1);
/// Questions without an answer.
const UNANSWERED: u8 = 3;
/// Conns told at once before addresses are given up: nothing waits for more.
const PARTING: usize = 65_536;
/// Conns told at once to a director that takes over: more messages than these would not find room in its queue.
const OWN: usize = 16_384;

/// What is told when addresses go to another director.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// What others were not told yet.
    News,
    /// All conns whose packets have passed here: what they were told of them may not have reached them.
    Own,
}

/// A question that has no full answer yet.
#[derive(Default)]
pub(super) struct Asking {
    /// 0 until it was asked.
    number: u64,
    due: Instant,
    unanswered: u8,
    /// Records taken since.
    taken: Tally,
}

impl Asking {
    /// The answer to a question of that number; true if there is nothing more to come.
    fn hear(&mut self, number: u64, records: Tally, all: bool) -> bool {
        if number != self.number {
            return false;
        }
        self.unanswered = 0;
        let Tally { plain, crossed } = self.taken;
        if all && (plain < records.plain || crossed < records.crossed) {
            log::warn!("sync: {} of {} records have arrived; asking again", self.taken.sum(), records.sum());
            *self = Asking { due: self.due, ..Asking::default() };
            return false;
        }
        all
    }
}

/// A table that is being told.
pub(super) struct Telling {
    number: u64,
    place: usize,
    due: Instant,
    records: Tally,
}

impl Telling {
    /// How many were told.
    pub(super) fn records(&self) -> u64 {
        self.records.sum()
    }
}

impl Sync {
    /// Asks others for their conns from now on, if one of them can be asked. Who asks already goes on: what changes meanwhile
    /// is told as it changes.
    pub fn ask(&mut self) {
        let asking = self.asking.take().unwrap_or_default();
        self.asking = (self.is_master() && self.is_backup()).then_some(asking);
    }

    /// This director has the addresses: there is nobody to ask.
    pub fn stop_asking(&mut self) {
        self.asking = None;
    }

    /// True while others may know conns that this director does not.
    pub fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    pub(super) fn table_due(&self) -> Option<Instant> {
        let telling = self.telling.as_ref().map(|telling| telling.due);
        self.asking.as_ref().map(|asking| asking.due).into_iter().chain(telling).min()
    }

    /// A record of another director has come.
    pub(super) fn note_taken(&mut self, record: &Record) {
        if let Some(asking) = &mut self.asking {
            asking.taken.add(record.client.addr, record.real.addr);
        }
    }

    /// Somebody asks, or answers.
    pub(super) fn hear_own(&mut self, own: Own, router: &mut Router, turn: &mut Turn<impl Egress>) {
        match own {
            Own::Asks(number) if self.is_master() && !self.stands_by && router.virtuals.are_not_all_away() => {
                let telling =
                    self.telling.get_or_insert(Telling { number, place: 0, due: turn.now, records: Tally::default() });
                let records = if telling.number == number { telling.records } else { Tally::default() };
                self.master.say(Own::Tells { number, records, all: false }, router, turn);
            }
            Own::Tells { number, records, all } => {
                if let Some(asking) = &mut self.asking
                    && asking.hear(number, records, all)
                {
                    log::info!("sync: another director has told all it knows, {} records", records.sum());
                    self.asking = None;
                }
            }
            Own::Asks(_) | Own::Conns(_) | Own::Crossed(_) => {}
        }
    }

    /// Asks again, and tells a slice, where that is due.
    pub(super) fn go_on(&mut self, flows: &Flows, router: &mut Router, turn: &mut Turn<impl Egress>) {
        if let Some(asking) = &mut self.asking
            && asking.due <= turn.now
        {
            if asking.unanswered == UNANSWERED {
                log::info!("sync: no other director has told its conns");
                return self.asking = None;
            }
            if asking.number == 0 {
                asking.number = u64::from(router.fresh_id()) << 48 | (turn.now.0 + 1);
            }
            (asking.unanswered, asking.due) = (asking.unanswered + 1, turn.now + AGAIN);
            let number = asking.number;
            self.master.say(Own::Asks(number), router, turn);
        }
        if self.telling.as_ref().is_some_and(|telling| telling.due <= turn.now) {
            self.tell_slice(flows, router, turn);
        }
    }

    fn tell_slice(&mut self, flows: &Flows, router: &mut Router, turn: &mut Turn<impl Egress>) {
        let Some(telling) = &mut self.telling else { return };
        let (until, enough) = (telling.place + LOOKED_AT, telling.records() + SLICE);
        telling.due = turn.now + PAUSE;
        while telling.place < until && telling.records() < enough {
            let (found, next) = next_here(telling.place, until, flows, router);
            if let Some(id) = found
                && self.master.tell(id, flows, router, turn)
            {
                let conn = flows.conns.get(id);
                telling.records.add(conn.client().addr, flows.conns.real(conn).addr);
            }
            let Some(next) = next else {
                let Telling { number, records, .. } = *telling;
                self.telling = None;
                self.master.flush(router, turn);
                log::info!("sync: told another director of all conns, {} records", records.sum());
                return self.master.say(Own::Tells { number, records, all: true }, router, turn);
            };
            telling.place = next;
        }
    }

    /// Tells others of conns: the addresses go to one of them now.
    pub fn part(&mut self, what: Parting, flows: &Flows, router: &mut Router, turn: &mut Turn<impl Egress>) {
        if !self.is_master() {
            return;
        }
        let most = if what == Parting::News { PARTING } else { OWN };
        let (mut place, mut told) = (Some(0), 0);
        while let (Some(from), true) = (place, told < most) {
            let (found, next) = next_here(from, usize::MAX, flows, router);
            let is_due = |id: &ConnId| match what {
                Parting::News => self.master.has_news(*id, flows.conns.get(*id)),
                Parting::Own => !flows.conns.get(*id).is_synced(),
            };
            if let Some(id) = found.filter(is_due) {
                told += usize::from(self.master.tell(id, flows, router, turn));
            }
            place = next;
        }
        self.master.flush(router, turn);
    }
}

/// The next conn whose address is here, from a place of the table on, and the place to go on with.
fn next_here(from: usize, until: usize, flows: &Flows, router: &Router) -> (Option<ConnId>, Option<usize>) {
    flows.conns.scan(from, until.saturating_sub(from), |conn| !router.virtuals.is_away(conn.virt().addr))
}
