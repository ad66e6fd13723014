//! Defence under pressure, as the kernel's `drop_entry`, `drop_packet` and `secure_tcp`, looked at once a second.
//!
//! ```text
//! 0   never
//! 1   while fewer than `amemthresh` places of the flow table are free (the kernel looks at free memory)
//! 3   always
//! ```
//! Besides, a full table gives the place of a conn that is worth less to a new one, whatever the settings (`conn/room.rs`).

use std::time::Duration;

use super::{Flows, persistence};
use crate::base::{ConnId, Instant, Proto};
use crate::conn::{Conn, SctpState, Tables, TcpState, Worth};
use crate::settings::Settings;

const PERIOD: Duration = Duration::from_secs(1);
/// Records that it looks at in a second at most, so that no packet waits for it.
const PART_AT_MOST: usize = 1 << 16;
/// A single datagram without a successor for so long is nothing to wait for.
const ANSWERED: Duration = Duration::from_secs(1);
/// `drop_entry` looks at this part of the table in a second.
const PART: usize = 32;
const IDLE_AT_LEAST: Duration = Duration::from_secs(60);
const MOST_PACKETS: u32 = 8;

#[derive(Default)]
pub(super) struct Defence {
    next: Instant,
    /// Every so many packets that would open a conn are dropped; 0: none.
    packet_rate: u64,
    packets: u64,
    drops_entries: bool,
    secures_tcp: bool,
    /// Where `drop_entry` goes on.
    cursor: usize,
    /// Candidates seen, by the packets they have had.
    seen: [u64; MOST_PACKETS as usize + 1],
    /// Conns that made room for others, by what they were worth.
    evicted: [u64; Worth::ALL.len()],
}

impl Defence {
    pub(super) fn count_evicted(&mut self, worth: Worth) {
        self.evicted[worth as usize] += 1;
    }
}

/// True where a setting of 0 to 3 means yes.
fn is_on(mode: u8, pressed: bool) -> bool {
    match mode {
        0 => false,
        1 | 2 => pressed,
        _ => true,
    }
}

impl Flows {
    fn free_places(&self) -> u64 {
        (self.settings.max_flows - self.conns.len()) as u64
    }

    /// Looks at the pressure anew; due once a second while any defence may be needed.
    pub fn defend(&mut self, now: Instant) {
        if now < self.defence.next {
            return;
        }
        self.defence.next = now + PERIOD;
        self.judge_pressure();
        if self.defence.drops_entries {
            self.drop_entries(now);
        }
    }

    /// What the settings mean at the present pressure.
    pub fn judge_pressure(&mut self) {
        // A small table is not under pressure all its life.
        let threshold = u64::from(self.settings.amemthresh).min(self.settings.max_flows as u64 / 4);
        let free = self.free_places();
        let pressed = free < threshold;
        self.defence.drops_entries = is_on(self.settings.drop_entry, pressed);
        self.defence.secures_tcp = is_on(self.settings.secure_tcp, pressed);
        self.defence.packet_rate = match (self.settings.drop_packet, pressed) {
            (0, _) | (1 | 2, false) => 0,
            (1 | 2, true) => threshold / (threshold - free),
            (_, _) => u64::from(self.settings.am_droprate),
        };
    }

    /// When `defend` has something to do.
    pub fn defence_due(&self) -> Option<Instant> {
        let Settings { drop_entry, drop_packet, secure_tcp, .. } = &self.settings;
        let watches = |mode: &u8| *mode != 0;
        [drop_entry, drop_packet, secure_tcp].into_iter().any(watches).then_some(self.defence.next)
    }

    /// True if a packet that would open a conn is dropped: the first one, and then every so many.
    pub fn drops_this_packet(&mut self) -> bool {
        if self.defence.packet_rate == 0 {
            return false;
        }
        let sacrificed = self.defence.packets.is_multiple_of(self.defence.packet_rate);
        self.defence.packets += 1;
        sacrificed
    }

    /// The TCP tables that hold now.
    pub fn tcp_tables(&self) -> Tables {
        if self.defence.secures_tcp { Tables::Secure } else { Tables::Normal }
    }

    /// Conns that made room for others, by what they were worth.
    pub fn evicted(&self) -> impl Iterator<Item = (Worth, u64)> {
        Worth::ALL.into_iter().map(|worth| (worth, self.defence.evicted[worth as usize]))
    }

    fn drop_entries(&mut self, now: Instant) {
        let until = self.defence.cursor + self.conns.slots().div_ceil(PART).min(PART_AT_MOST);
        let mut cursor = Some(self.defence.cursor);
        while let Some(from) = cursor.filter(|from| *from < until) {
            let (found, next) = self.conns.scan(from, until - from, |conn| !conn.controls());
            cursor = next;
            if let Some(id) = found
                && self.is_dispensable(id, now)
            {
                self.end(id);
            }
        }
        self.defence.cursor = cursor.unwrap_or(0);
    }

    fn is_dispensable(&mut self, id: ConnId, now: Instant) -> bool {
        let conn = *self.conns.get(id);
        if conn.is_template() {
            return !persistence::is_assured(&conn);
        }
        if is_half_open(&conn) {
            return true;
        }
        let settled = match conn.proto() {
            Proto::TCP => TcpState::from_number(conn.state()) == TcpState::Established,
            Proto::SCTP => SctpState::from_number(conn.state()) == SctpState::Established,
            _ => true,
        };
        settled && self.is_idle_enough(&conn, now)
    }

    /// True for one in n of the conns that were idle for a minute and had n packets, up to eight (the kernel's `todrop_rate`).
    fn is_idle_enough(&mut self, conn: &Conn, now: Instant) -> bool {
        let timeout = self.timeouts.of(conn);
        let silent = timeout.saturating_sub(self.conns.deadline(conn).since(now));
        if conn.proto() == Proto::UDP && conn.in_pkts <= 1 && silent >= ANSWERED {
            return true;
        }
        if silent < IDLE_AT_LEAST || conn.in_pkts == 0 || conn.in_pkts > MOST_PACKETS {
            return false;
        }
        let seen = &mut self.defence.seen[conn.in_pkts as usize];
        *seen += 1;
        seen.is_multiple_of(u64::from(conn.in_pkts))
    }
}

fn is_half_open(conn: &Conn) -> bool {
    if conn.is_template() || conn.controls() {
        return false;
    }
    match conn.proto() {
        Proto::TCP => matches!(TcpState::from_number(conn.state()), TcpState::SynRecv | TcpState::SynAck),
        Proto::SCTP => matches!(SctpState::from_number(conn.state()), SctpState::Init1 | SctpState::Init),
        _ => false,
    }
}
