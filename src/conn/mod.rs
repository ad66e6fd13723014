//! Live flows: a flat, bounded table of plain records, their states and their timers.
//!
//! Knows addresses and indices only; never knows a service, never allocates per packet or per flow.

mod addresses;
mod directory;
mod homes;
mod key;
mod record;
mod records;
mod sctp;
mod state;
mod table;
mod tcp;
mod wheel;

pub use addresses::AddrId;
pub use directory::{Fetch, Foreseen};
pub use record::{Conn, Forwarding, Kind, NewConn};
pub use sctp::SctpState;
pub use state::{Event, State, Timeouts, next as next_state};
pub use table::{ConnTable, Due, Full, Side, Synced};
pub use tcp::{Tables, TcpState};
