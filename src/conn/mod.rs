//! Live flows: a flat, bounded table of plain records, their states and their timers.
//!
//! Knows addresses and indices only; never knows a service, never allocates per packet or per flow.

mod addresses;
mod beside;
mod blocks;
mod buckets;
mod change;
mod clients;
mod draft;
#[cfg(test)]
mod draft_model;
mod event;
mod expiry;
mod flags;
mod index;
mod key;
mod life;
mod lookup;
mod memory;
mod new_conn;
mod overflow;
mod record;
mod record_flags;
mod records;
mod restore;
mod restored;
mod room;
mod sctp;
mod sequence;
mod shares;
mod state;
mod table;
#[cfg(test)]
mod table_model;
mod tcp;
mod wheel;
mod worth;

pub use addresses::{AddrId, AddressLine};
pub use beside::Beside;
pub use clients::CLIENT_PLACES;
pub use draft::Draft;
pub use event::Event;
pub use expiry::Due;
pub use key::Side;
pub use life::LifeEvent;
pub use memory::Memory;
pub use new_conn::{Kind, NewConn};
pub use record::Conn;
pub use restored::{Bound, Generation, Restored, Since};
pub use room::Room;
pub use sctp::SctpState;
pub use state::{FullNatTimeouts, Timeouts, next as next_state};
pub use table::{ConnTable, Full};
pub use tcp::{Tables, TcpState};
pub use worth::Worth;
