//! Whether there is room for a new conn, and which conn makes room where there is not.
//!
//! ```text
//! Enough     up to seven eighths of the table, and after that for services and nets with no more than their share
//! HalfOpen   too many conns are half-open: one of them goes
//! Share      the last eighth is not for a service or net that has more than its share
//! Full       the least worth goes, of all that are looked at
//! ```
//! A hand goes round the table and looks at so many conns for each new one, never more. Never takes a conn out itself.

use std::cmp::Reverse;

use super::new_conn::NewConn;
use super::record::Conn;
use super::state::Timeouts;
use super::table::ConnTable;
use super::worth::{Rank, Worth, is_half_open, is_half_open_in, worth};
use crate::base::{ConnId, Instant};

/// Half-open conns: beyond, a new one takes an old one's place, however large the table is.
const MOST_HALF_OPEN: usize = 1 << 16;
/// The part of the table that is kept for services and nets with no more than their share.
const RESERVE: usize = 8;
/// Records that the hand looks at for a new conn, and how many more if none of them may be given up.
const LOOKS: usize = 32;
const MORE_LOOKS: usize = 224;

/// What a new conn finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Room.
    Enough,
    /// Room, but too many half-open conns.
    HalfOpen,
    /// Room for others.
    Share,
    /// None.
    Full,
}

impl ConnTable {
    /// What room there is for a new conn.
    #[inline]
    pub fn room_for(&self, new: &NewConn) -> Room {
        if self.live >= self.max {
            return Room::Full;
        }
        if self.live < self.max - self.max / RESERVE && self.half_open < MOST_HALF_OPEN {
            return Room::Enough;
        }
        self.crowded(&Conn::new(new))
    }

    fn crowded(&self, new: &Conn) -> Room {
        if self.live >= self.max - self.max / RESERVE && self.shares.exceeds(new, self.live) {
            return Room::Share;
        }
        let adds = self.half_open >= MOST_HALF_OPEN && is_half_open(new);
        if adds { Room::HalfOpen } else { Room::Enough }
    }

    /// The conn that is to make room for a new one.
    pub fn least_worth(&mut self, room: Room, timeouts: &Timeouts, now: Instant) -> Option<(ConnId, Worth)> {
        let mut least: Option<(Rank, ConnId)> = None;
        for looked in 0..LOOKS + MORE_LOOKS {
            if looked >= LOOKS && least.is_some() {
                break;
            }
            let records = self.records.all();
            self.hand = if self.hand + 1 < records.len() { self.hand + 1 } else { 0 };
            let Some(conn) = records.get(self.hand).filter(|conn| conn.is_live()) else { continue };
            let Some(rank) = self.rank(conn, room, timeouts, now) else { continue };
            if least.is_none_or(|(other, _)| rank < other) {
                least = Some((rank, ConnId(self.hand as u32)));
            }
        }
        least.map(|((worth, ..), id)| (id, worth))
    }

    /// How little a conn is worth; `None` if it stays.
    fn rank(&self, conn: &Conn, room: Room, timeouts: &Timeouts, now: Instant) -> Option<Rank> {
        let silent = timeouts.of(conn).saturating_sub(self.deadline(conn).since(now));
        let worth = worth(conn, silent)?;
        let exceeds = !conn.is_template() && self.shares.exceeds(conn, self.live);
        let stays = match room {
            // What is over makes room for anybody, what lives only for those that have no more than their share.
            Room::Share => worth > Worth::TimeWait && !exceeds,
            Room::HalfOpen => worth != Worth::HalfOpen || conn.is_template(),
            Room::Enough | Room::Full => false,
        };
        (!stays).then_some((worth, Reverse(exceeds), Reverse(silent)))
    }

    /// A conn has moved from one state of its protocol to another.
    pub(super) fn count_state(&mut self, id: ConnId, before: u8) {
        let conn = &self.records[id];
        let (is, was) = (is_half_open(conn), is_half_open_in(conn, before));
        self.half_open = self.half_open + usize::from(is) - usize::from(was);
    }

    /// A conn has come.
    pub(super) fn count_in(&mut self, conn: &Conn) {
        self.live += 1;
        if !conn.is_template() {
            self.shares.add(conn);
            self.half_open += usize::from(is_half_open(conn));
        }
    }

    /// The opposite of `count_in`.
    pub(super) fn count_out(&mut self, conn: &Conn) {
        self.live -= 1;
        if !conn.is_template() {
            self.shares.remove(conn);
            self.half_open -= usize::from(is_half_open(conn));
        }
    }
}
