//! What was told and heard, for people.
//!
//! Only counts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Sync;
use crate::base::{Instant, map_of};

/// What was heard of other directors.
#[derive(Default)]
pub(super) struct Heard {
    messages: u64,
    records: u64,
    last: Option<(IpAddr, Instant)>,
    refused: BTreeMap<&'static str, u64>,
}

impl Heard {
    pub(super) fn message(&mut self, from: IpAddr, now: Instant) {
        self.messages += 1;
        self.last = Some((from, now));
    }

    pub(super) fn record(&mut self) {
        self.records += 1;
    }

    /// A message is not taken; the first of each kind is said.
    pub(super) fn refuse_message(&mut self, why: &'static str, from: IpAddr) {
        let what = match why {
            "key" => {
                "it does not prove that it is of a director with our key; give all directors the same key, or none"
            }
            "clock" => "its clock and ours are more than a minute apart; set both, by NTP for instance",
            "replay" => "its number was taken already; somebody sends recorded messages, or its clock was set back",
            _ => "",
        };
        if !what.is_empty() && !self.refused.contains_key(why) {
            log::warn!("sync: a message of {from} is not taken: {what}");
        }
        self.refuse(why);
    }

    pub(super) fn refuse(&mut self, why: &'static str) {
        *self.refused.entry(why).or_default() += 1;
    }
}

/// Connection synchronisation as it stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SyncReport {
    /// Messages that have left.
    pub sent_messages: u64,
    /// Records that others were told or wait to be.
    pub sent_records: u64,
    /// For how many milliseconds the oldest of those that wait has waited.
    pub lag_ms: u64,
    /// Records of the whole table that another director was told so far, if it is being told.
    pub telling: Option<u64>,
    /// Others may know conns that this director does not.
    pub asking: bool,
    /// Messages of others.
    pub heard_messages: u64,
    /// Records of others that were taken.
    pub heard_records: u64,
    /// Whom the last message was from, and how many milliseconds ago it came.
    pub last: Option<(IpAddr, u64)>,
    /// Messages and records that were not taken, by reason.
    pub refused: BTreeMap<String, u64>,
}

impl Sync {
    /// How it stands.
    pub fn report(&self, now: Instant) -> SyncReport {
        let ((sent_messages, sent_records), oldest) = self.master.counts();
        let Heard { messages, records, last, refused } = &self.heard;
        let millis = |time: Duration| time.as_millis() as u64;
        SyncReport {
            sent_messages,
            sent_records,
            lag_ms: oldest.map_or(0, |oldest| millis(now.since(oldest))),
            telling: self.telling.as_ref().map(|telling| telling.records()),
            asking: self.is_asking(),
            heard_messages: *messages,
            heard_records: *records,
            last: last.map(|(from, at)| (from, millis(now.since(at)))),
            refused: map_of(refused.iter().map(|(why, count)| ((*why).to_owned(), *count))),
        }
    }
}
