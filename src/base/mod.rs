//! Nouns that every layer shares: addresses, tuples, ids, time, randomness, drop reasons and the ledger.
//!
//! Never does I/O, never reads a clock; depends on `std`, `foldhash` and, for the control protocol, `serde`.

mod addr;
mod array;
mod counted;
mod drop_reason;
mod hash;
mod ids;
mod ledger;
mod medium;
mod method;
mod order;
mod packed;
mod prefetch;
mod rng;
mod time;
mod tunnel;
mod tuple;
mod version;

pub use addr::{Endpoint, Family, Mac, Prefix, Proto};
pub use array::{Array, Backing, Plain, bytes_of};
pub use counted::Counted;
pub use drop_reason::DropReason;
pub use hash::{FastHash, siphash13};
pub use ids::{ConnId, DestId, LinkId, ServiceId};
pub use ledger::{Consumed, Ledger};
pub use medium::Medium;
pub use method::Method;
pub use order::{map_of, sort, sort_by};
pub use packed::{Packed, PackedEndpoint};
pub use prefetch::prefetch;
#[cfg(test)]
pub(crate) use prefetch::prefetched;
pub use rng::{Chance, Rng};
pub use time::Instant;
pub use tunnel::{Tunnel, TunnelChecksum};
pub use tuple::Tuple;
pub use version::version;
