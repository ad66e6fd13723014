//! What a helper has to know of a segment besides the segment.
//!
//! Never holds anything of a conn's.

use crate::base::{ConnId, Instant};
use crate::conn::Side;

/// Where and when a segment of a conn passes.
#[derive(Clone, Copy, Debug)]
pub struct Passage {
    /// The conn.
    pub id: ConnId,
    /// Who has sent it.
    pub from: Side,
    /// The largest packet on its way onward, in bytes.
    pub mtu: u16,
    /// The director's time.
    pub now: Instant,
}
