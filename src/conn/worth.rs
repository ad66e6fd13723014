//! What a conn is worth when there is no room for another one: what is over goes first, what carries data never goes.
//!
//! Pure.

use std::cmp::Reverse;
use std::time::Duration;

use super::record::Conn;
use super::sctp::SctpState;
use super::tcp::TcpState;
use crate::base::Proto;

/// After this long without a packet a conn of a few datagrams is over.
const ANSWERED: Duration = Duration::from_secs(10);
/// The most datagrams of such a conn.
const FEW: u32 = 8;
/// After this long without a packet a conn is idle that never was an established conn of TCP or SCTP.
const IDLE: Duration = Duration::from_secs(60);
/// SYN and ACK.
const HANDSHAKE: u32 = 2;

/// Why a conn may be given up for a new one, the least worth first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Worth {
    /// Closed.
    Closed,
    /// Both ends have finished: `TIME_WAIT` and the like.
    TimeWait,
    /// A question by UDP, which one datagram answers.
    Answered,
    /// Not established yet; a persistence template of a client that has not been heard of since.
    HalfOpen,
    /// Established by what one side alone says, without data.
    NoData,
    /// Without packets for a minute, and not an established conn of TCP or SCTP.
    Idle,
}

impl Worth {
    /// Every kind.
    pub const ALL: [Worth; 6] =
        [Worth::Closed, Worth::TimeWait, Worth::Answered, Worth::HalfOpen, Worth::NoData, Worth::Idle];

    /// Name in statistics.
    pub fn name(self) -> &'static str {
        match self {
            Worth::Closed => "closed",
            Worth::TimeWait => "time-wait",
            Worth::Answered => "answered",
            Worth::HalfOpen => "half-open",
            Worth::NoData => "no-data",
            Worth::Idle => "idle",
        }
    }
}

/// True for a flow that its protocol has not established yet.
pub(super) fn is_half_open(conn: &Conn) -> bool {
    is_half_open_in(conn, conn.state())
}

/// The same if it were in that state.
pub(super) fn is_half_open_in(conn: &Conn, state: u8) -> bool {
    if conn.is_template() {
        return false;
    }
    match conn.proto() {
        Proto::TCP => matches!(
            TcpState::from_number(state),
            TcpState::None | TcpState::SynSent | TcpState::SynRecv | TcpState::SynAck
        ),
        Proto::SCTP => SctpState::from_number(state).opens(),
        _ => false,
    }
}

/// Why a conn may be given up, if it may; `silent` is the time since its last packet.
pub(super) fn worth(conn: &Conn, silent: Duration) -> Option<Worth> {
    if conn.controls() || conn.lacks_port() {
        return None;
    }
    let idle = (silent >= IDLE).then_some(Worth::Idle);
    if conn.is_template() {
        // State 0: no conn of it was ever answered.
        return (conn.state() == 0).then_some(Worth::HalfOpen);
    }
    if is_half_open(conn) {
        return Some(Worth::HalfOpen);
    }
    let no_data = (conn.is_one_way() && conn.in_pkts <= HANDSHAKE).then_some(Worth::NoData);
    match conn.proto() {
        Proto::TCP => match TcpState::from_number(conn.state()) {
            TcpState::Close => Some(Worth::Closed),
            TcpState::TimeWait | TcpState::LastAck => Some(Worth::TimeWait),
            TcpState::FinWait if conn.is_one_way() => Some(Worth::TimeWait),
            TcpState::Established => no_data,
            TcpState::FinWait | TcpState::CloseWait | TcpState::Listen => idle,
            TcpState::None | TcpState::SynSent | TcpState::SynRecv | TcpState::SynAck => Some(Worth::HalfOpen),
        },
        Proto::SCTP => match SctpState::from_number(conn.state()) {
            SctpState::Closed => Some(Worth::Closed),
            SctpState::Established => no_data,
            _ => Some(Worth::TimeWait),
        },
        Proto::UDP if conn.in_pkts <= 1 || (conn.in_pkts <= FEW && silent >= ANSWERED) => Some(Worth::Answered),
        _ => idle,
    }
}

/// A conn that may be given up: of least worth first, then of an owner that has more than its share, then silent for
/// longest.
pub(super) type Rank = (Worth, Reverse<bool>, Reverse<Duration>);
