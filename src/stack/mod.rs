//! The director as a host: its own addresses, what it answers, the errors it sends, the fragments it puts together.
//!
//! Never schedules a conn, never chooses a server.

mod announce;
mod answer;
mod claims;
mod error;
mod listeners;
mod neighbours;
mod rate_limit;
mod reassembly;
mod reset;
mod unreachable;

pub use announce::Announcements;
pub use answer::answer;
pub use claims::Claims;
pub use error::ErrorAbout;
pub use listeners::Listeners;
pub use neighbours::Host;
pub use reset::{answer_by_reset, reset_end};

use crate::base::Instant;
use crate::wire::Reassembly;
use rate_limit::IcmpRateLimit;

/// What a host remembers between packets.
pub struct Stack {
    /// What the neighbours are to be told of the director's addresses.
    pub announcements: Announcements,
    /// Other stations that claim an address of the director.
    pub claims: Claims,
    /// Answers to queries for listeners.
    pub listeners: Listeners,
    icmp_limit: IcmpRateLimit,
    reassembly: Reassembly,
}

impl Stack {
    /// A stack that sends at most so many ICMP errors a second (0: no limit); `seed` chooses delays.
    pub fn new(icmp_rate: u32, seed: u64) -> Stack {
        Stack {
            announcements: Announcements::default(),
            claims: Claims::default(),
            listeners: Listeners::new(seed),
            icmp_limit: IcmpRateLimit::new(icmp_rate),
            reassembly: Reassembly::default(),
        }
    }

    /// When an announcement, a report or a datagram that stayed incomplete is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.announcements.next(), self.listeners.next_due(), self.reassembly.next_due()].into_iter().flatten().min()
    }
}
