//! Pure choice: given the servers of a service and a packet, which server takes the new conn.
//!
//! One scheduler a file, its formula on top. Never touches packets, conns or clocks; list order,
//! ties and arithmetic are those of kernel IPVS.

mod cache;
mod dh;
mod fo;
mod hash;
mod lblc;
mod lblcr;
mod lc;
mod load;
mod mh;
mod none;
mod nq;
mod ovf;
mod registry;
mod rr;
mod sed;
mod server;
mod sh;
#[cfg(test)]
mod testing;
mod twos;
mod wlc;
mod wrr;

pub use mh::TABLE_SIZES as MH_TABLE_SIZES;
pub use registry::{ALL, NAMES, create, flags_text, parse_flags};
pub use server::{Mask, Server, Servers};

use crate::base::{DestId, Endpoint, Instant, Proto, Rng};

/// What a scheduler may know of the packet that opens a conn.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Layer-4 protocol.
    pub proto: Proto,
    /// Client side of the packet.
    pub src: Endpoint,
    /// Virtual side of the packet.
    pub dst: Endpoint,
}

/// What a choice may depend on besides servers and packet.
pub struct Context<'a> {
    /// Now.
    pub now: Instant,
    /// The injected randomness (used by `twos` only).
    pub rng: &'a mut Rng,
    /// Settings of the whole director.
    pub settings: &'a Settings,
}

/// How much a server is loaded, for the least-connection family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overhead {
    /// `256 * active + inactive`: kernels up to mid-2026, and the recordings.
    #[default]
    Classic,
    /// `256 * active + (active + inactive)`: kernels 6.12.104, 6.1.183 and later.
    Current,
}

/// Settings that schedulers read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Load formula.
    pub overhead: Overhead,
    /// `lblc_expiration`: seconds after which an idle entry of an lblc cache may go.
    pub lblc_expiration: u64,
    /// `lblcr_expiration`: likewise for lblcr, and the age at which a set loses its most loaded member.
    pub lblcr_expiration: u64,
    /// Slots of an mh table; one of `MH_TABLE_SIZES`.
    pub mh_table_size: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { overhead: Overhead::Classic, lblc_expiration: 86_400, lblcr_expiration: 86_400, mh_table_size: 4093 }
    }
}

/// Scheduler flags as bits: `flag-1` = 1 (`sh-fallback`, `mh-fallback`), `flag-2` = 2 (`sh-port`, `mh-port`), `flag-3` = 4.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Flags(pub u8);

impl Flags {
    /// Try other servers when the chosen one is unavailable.
    pub const FALLBACK: Flags = Flags(1);
    /// All three together.
    pub const ALL: u8 = 7;
    /// Include the client's port in the hash.
    pub const PORT: Flags = Flags(2);

    /// True if all bits of `other` are set.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A scheduler bound to one service.
///
/// The service calls `changed` after each change of its list, and `pick` for each new conn. An `-E` that
/// names the same scheduler keeps it, position and cache included, and calls `set_flags`; one that names
/// another drops it and creates the new one from the present list.
pub trait Scheduler: Send {
    /// The list has changed as `change` says; `servers` is the list after it.
    fn changed(&mut self, _servers: &Servers, _change: Change, _settings: &Settings) {}

    /// The server for a new conn, or none: then the client is told that no server is there.
    fn pick(&mut self, servers: &Servers, flow: &Flow, context: &mut Context) -> Option<DestId>;

    /// New flags, of the same scheduler.
    fn set_flags(&mut self, _flags: Flags) {}

    /// Called at least once a minute with the present time; for caches that expire.
    fn tick(&mut self, _now: Instant, _settings: &Settings) {}
}

/// What happened to a service's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A server was inserted at the head (position 0).
    Added(DestId),
    /// This server, which stood at `position`, is gone.
    Removed {
        /// Who left.
        id: DestId,
        /// Where it stood before.
        position: usize,
    },
    /// Weight, thresholds or anything else of this server was edited, perhaps to the same values.
    Edited(DestId),
}
