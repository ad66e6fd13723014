//! When a conn is worth a message: by its state (`ip_vs_sync_conn_needed`), and by what was told of it last.
//!
//! Never sends.

use std::time::Duration;

use crate::base::{Instant, Proto};
use crate::conn::{Conn, SctpState, TcpState};
use crate::settings::Settings;

/// What other directors were told of a conn last, and when it would end by that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Told {
    /// State.
    pub(super) state: u8,
    /// Times it was told again although little had changed.
    pub(super) retries: u8,
    /// Its end.
    pub(super) end: Instant,
}

impl Told {
    /// As told by another director: of the state alone.
    pub(super) fn of_state(state: u8) -> Told {
        Told { state, ..Told::default() }
    }
}

impl Told {
    /// `Some(retries so far)` if this conn, whose state is the one that was told, is due for another message.
    pub(super) fn retries_if_due(
        &self,
        lifetime: Duration,
        packets: u32,
        template: bool,
        (settings, now): (&Settings, Instant),
    ) -> Option<u8> {
        let Settings { sync_threshold: threshold, sync_period: period, .. } = *settings;
        let refresh = Duration::from_secs(u64::from(settings.sync_refresh_period));
        let end = now + lifetime;
        let mut retries = 0;
        if !refresh.is_zero() {
            let change = end.since(self.end).max(self.end.since(end));
            if change < refresh.min((lifetime / 2).max(Duration::from_secs(10))) {
                let last = self.end - lifetime;
                if self.retries >= settings.sync_retries || now < last + refresh / 8 {
                    return None;
                }
                retries = self.retries + 1;
            }
        }
        let due = match period {
            0 => !refresh.is_zero() || packets == threshold,
            _ => template || packets % period == threshold,
        };
        due.then_some(retries)
    }
}

/// When a conn in a state is told of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SyncPolicy {
    Never,
    /// By the count of its packets.
    Regular,
    /// As soon as it has come into the state.
    AtOnce,
}

pub(super) fn policy(conn: &Conn) -> SyncPolicy {
    match conn.proto() {
        _ if conn.is_template() => SyncPolicy::Regular,
        // Nobody has opened it, but somebody was told that it may be opened.
        Proto::TCP if waits(conn) => SyncPolicy::Regular,
        Proto::TCP => policy_tcp(conn.state()),
        Proto::SCTP => policy_sctp(conn.state()),
        _ => SyncPolicy::Regular,
    }
}

/// True for a conn that was made without a packet, and has had none.
pub(super) fn waits(conn: &Conn) -> bool {
    let listens = || conn.proto() == Proto::TCP && TcpState::from_number(conn.state()) == TcpState::Listen;
    conn.lacks_port() || (conn.is_announced() && listens())
}

fn policy_tcp(state: u8) -> SyncPolicy {
    match TcpState::from_number(state) {
        TcpState::Established => SyncPolicy::Regular,
        TcpState::FinWait | TcpState::Close | TcpState::CloseWait | TcpState::TimeWait => SyncPolicy::AtOnce,
        TcpState::None
        | TcpState::SynSent
        | TcpState::SynRecv
        | TcpState::LastAck
        | TcpState::Listen
        | TcpState::SynAck => SyncPolicy::Never,
    }
}

fn policy_sctp(state: u8) -> SyncPolicy {
    match SctpState::from_number(state) {
        SctpState::Established => SyncPolicy::Regular,
        SctpState::ShutdownSent | SctpState::ShutdownReceived | SctpState::ShutdownAckSent | SctpState::Closed => {
            SyncPolicy::AtOnce
        }
        SctpState::None
        | SctpState::Init1
        | SctpState::Init
        | SctpState::CookieSent
        | SctpState::CookieReplied
        | SctpState::CookieWait
        | SctpState::Cookie
        | SctpState::CookieEchoed
        | SctpState::Rejected => SyncPolicy::Never,
    }
}
