//! The states of a conn and how long each lasts, whatever its protocol.
//!
//! Pure: an event and a state in, a state out. Never moves counters or timers itself.

use std::time::Duration;

use super::event::Event;
use super::record::Conn;
use super::sctp::{self, SctpState};
use super::tcp::{self, Tables, TcpState};
use crate::base::{Counted, Proto};
use crate::wire::L4;

/// A conn's state with its name and weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// Name in listings.
    pub name: &'static str,
    /// As ActiveConn or InActConn.
    pub counted: Counted,
    /// Lives this long after its last packet.
    pub timeout: Duration,
}

/// Settable timeouts (`ipvsadm --set`), in seconds; the kernel's defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Timeouts {
    /// ESTABLISHED.
    pub tcp: u32,
    /// FIN_WAIT.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
    /// TIME_WAIT (`timeout_timewait`).
    #[serde(skip, default = "time_wait")]
    pub time_wait: u32,
    /// CLOSE (`timeout_close`).
    #[serde(skip, default = "close")]
    pub close: u32,
    /// Those of FULL-NAT that are not as all others.
    #[serde(skip)]
    pub full_nat: FullNatTimeouts,
}

/// Timeouts of conns through FULL-NAT, in seconds; 0 is as long as any other conn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FullNatTimeouts {
    /// TCP: SYN_SENT, SYN_RECV.
    pub opening: u32,
    /// ESTABLISHED.
    pub established: u32,
    /// All states after it.
    pub closing: u32,
    /// UDP.
    pub udp: u32,
}

fn time_wait() -> u32 {
    120
}

fn close() -> u32 {
    10
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            tcp: 900,
            tcp_fin: 120,
            udp: 300,
            time_wait: time_wait(),
            close: close(),
            full_nat: FullNatTimeouts::default(),
        }
    }
}

impl Timeouts {
    /// Changes what is not 0, as `--set` does; conns follow at their next packet.
    pub fn set(&mut self, tcp: u32, tcp_fin: u32, udp: u32) {
        for (value, new) in [(&mut self.tcp, tcp), (&mut self.tcp_fin, tcp_fin), (&mut self.udp, udp)] {
            if new != 0 {
                *value = new;
            }
        }
    }

    /// How long a conn lives after its last packet.
    pub fn of(&self, conn: &Conn) -> Duration {
        match conn.is_template() {
            true => Duration::from_secs(u64::from(conn.template_timeout())),
            false => self.in_state(conn, conn.state()).timeout,
        }
    }

    /// A state of a conn, which its method may make last longer or shorter.
    #[inline]
    pub fn in_state(&self, conn: &Conn, number: u8) -> State {
        let state = self.state(conn.proto(), number);
        if !conn.is_full_nat() {
            return state;
        }
        let FullNatTimeouts { opening, established, closing, udp } = self.full_nat;
        let seconds = match conn.proto() {
            Proto::UDP => udp,
            Proto::TCP => match TcpState::from_number(number) {
                TcpState::Established => established,
                TcpState::SynSent | TcpState::SynRecv => opening,
                TcpState::FinWait | TcpState::TimeWait | TcpState::Close | TcpState::CloseWait | TcpState::LastAck => {
                    closing
                }
                TcpState::None | TcpState::Listen | TcpState::SynAck => 0,
            },
            _ => 0,
        };
        let timeout = if seconds == 0 { state.timeout } else { Duration::from_secs(u64::from(seconds)) };
        State { timeout, ..state }
    }

    /// The state behind a protocol's number.
    #[inline]
    pub fn state(&self, proto: Proto, number: u8) -> State {
        match proto {
            Proto::TCP => {
                let state = TcpState::from_number(number);
                State {
                    name: state.name(),
                    counted: Counted::active_if(state.is_active()),
                    timeout: self.tcp_timeout(state),
                }
            }
            Proto::UDP => {
                State { name: "UDP", counted: Counted::Inactive, timeout: Duration::from_secs(u64::from(self.udp)) }
            }
            Proto::SCTP => {
                let state = SctpState::from_number(number);
                let timeout = Duration::from_secs(state.timeout());
                State { name: state.name(), counted: Counted::active_if(state == SctpState::Established), timeout }
            }
            _ => State { name: "NONE", counted: Counted::Inactive, timeout: Duration::from_secs(60) },
        }
    }

    #[inline]
    fn tcp_timeout(&self, state: TcpState) -> Duration {
        let secs = match state {
            TcpState::Established => self.tcp,
            TcpState::FinWait => self.tcp_fin,
            TcpState::None => 2,
            TcpState::TimeWait => self.time_wait,
            TcpState::SynSent | TcpState::Listen | TcpState::SynAck => 120,
            TcpState::SynRecv | TcpState::CloseWait => 60,
            TcpState::Close => self.close,
            TcpState::LastAck => 30,
        };
        Duration::from_secs(u64::from(secs))
    }
}

/// The next state of a conn after one of its packets.
pub fn next(state: u8, event: Event, l4: &L4, tables: Tables) -> u8 {
    match l4 {
        L4::Tcp { flags, .. } => tcp::next(TcpState::from_number(state), event, *flags, tables) as u8,
        L4::Sctp { chunk, .. } => sctp::next(SctpState::from_number(state), event, *chunk) as u8,
        L4::Udp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => state,
    }
}
