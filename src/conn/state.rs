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
            true => seconds(conn.template_timeout()),
            false => self.lasting(conn, conn.state()).1,
        }
    }

    /// What a conn counts as in a state, and how long it lives there after a packet: its method may make that longer or
    /// shorter.
    #[inline(always)]
    pub fn lasting(&self, conn: &Conn, number: u8) -> (Counted, Duration) {
        let proto = conn.proto();
        let usual = self.usual(proto, number);
        let lasts = if conn.is_full_nat() { self.of_full_nat(proto, number).unwrap_or(usual) } else { usual };
        (counted(proto, number), seconds(lasts))
    }

    /// The state behind a protocol's number.
    pub fn state(&self, proto: Proto, number: u8) -> State {
        let name = match proto {
            Proto::TCP => TcpState::from_number(number).name(),
            Proto::UDP => "UDP",
            Proto::SCTP => SctpState::from_number(number).name(),
            _ => "NONE",
        };
        State { name, counted: counted(proto, number), timeout: seconds(self.usual(proto, number)) }
    }

    /// Seconds in a state, whatever the method.
    #[inline(always)]
    fn usual(&self, proto: Proto, number: u8) -> u32 {
        match proto {
            Proto::TCP => match TcpState::from_number(number) {
                TcpState::Established => self.tcp,
                TcpState::FinWait => self.tcp_fin,
                TcpState::None => 2,
                TcpState::TimeWait => self.time_wait,
                TcpState::SynSent | TcpState::Listen | TcpState::SynAck => 120,
                TcpState::SynRecv | TcpState::CloseWait => 60,
                TcpState::Close => self.close,
                TcpState::LastAck => 30,
            },
            Proto::UDP => self.udp,
            Proto::SCTP => SctpState::from_number(number).timeout(),
            _ => 60,
        }
    }

    /// Seconds in a state of FULL-NAT, where it has its own.
    #[inline(never)]
    fn of_full_nat(&self, proto: Proto, number: u8) -> Option<u32> {
        let FullNatTimeouts { opening, established, closing, udp } = self.full_nat;
        let seconds = match proto {
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
        (seconds != 0).then_some(seconds)
    }
}

#[inline(always)]
fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}

/// As what a conn in a state counts at its dest.
#[inline(always)]
fn counted(proto: Proto, number: u8) -> Counted {
    Counted::active_if(match proto {
        Proto::TCP => TcpState::from_number(number).is_active(),
        Proto::SCTP => SctpState::from_number(number) == SctpState::Established,
        _ => false,
    })
}

/// The next state of a conn after one of its packets.
#[inline]
pub fn next(state: u8, event: Event, l4: &L4, tables: Tables) -> u8 {
    match l4 {
        L4::Tcp { flags, .. } => tcp::next(TcpState::from_number(state), event, *flags, tables) as u8,
        L4::Sctp { chunk, .. } => sctp::next(SctpState::from_number(state), event, *chunk) as u8,
        L4::Udp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => state,
    }
}
