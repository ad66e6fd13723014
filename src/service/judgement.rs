//! The factors of a dest's weight besides the administrator's, kept apart so that none is ever lost in another.
//!
//! ```text
//! weight = 0                                  if the administrator's is 0, or the agent's share is
//!        = max(1, admin * share * ramp)       share in percent
//!        = max(1, share * ramp)               share as an absolute weight
//! ```
//! A mask (failed, drained, not checked yet) is no weight: schedulers skip a masked dest, and its place in their tables
//! stays.

use serde::{Deserialize, Serialize};

use crate::sched::Mask;

/// The agent's part of a weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Of the administrator's weight.
    Percent(u32),
    /// Instead of the administrator's weight, unless that is 0.
    Absolute(u32),
}

impl Default for Share {
    fn default() -> Share {
        Share::Percent(100)
    }
}

/// What becomes of the conns that a masked dest still has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ending {
    /// They go on.
    #[default]
    None,
    /// First packets and datagrams of known flows are scheduled anew; TCP conns wait for the dest's return.
    Reschedule,
    /// As before, and conns end in silence.
    Drop,
    /// As before, and both ends of conns that end are told.
    Reset,
}

impl Ending {
    /// True if the conns of the dest are searched for and ended.
    pub fn ends_conns(self) -> bool {
        matches!(self, Ending::Drop | Ending::Reset)
    }
}

/// What checks say of a dest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// Why it takes no new conns, if it takes none.
    pub mask: Mask,
    /// The agent's part.
    pub share: Share,
    /// Percent of the weight that a dest gets that came back just now.
    pub ramp: u8,
    /// What becomes of its conns.
    pub ending: Ending,
}

impl Default for Judgement {
    /// A dest that nobody checks.
    fn default() -> Judgement {
        Judgement { mask: Mask::None, share: Share::default(), ramp: 100, ending: Ending::None }
    }
}

impl Judgement {
    /// The weight that follows from the administrator's; the mask is not in it.
    pub fn weight(&self, admin: u32) -> u32 {
        let full = match self.share {
            _ if admin == 0 => return 0,
            Share::Percent(0) | Share::Absolute(0) => return 0,
            Share::Percent(percent) => u128::from(admin) * u128::from(percent),
            Share::Absolute(weight) => u128::from(weight) * 100,
        };
        let weight = (full * u128::from(self.ramp) + 5_000) / 10_000;
        // IPVS has 31 bits.
        u32::try_from(weight.max(1)).unwrap_or(u32::MAX).min(i32::MAX as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_the_product_of_its_factors() {
        let weight = |admin, share, ramp| Judgement { share, ramp, ..Judgement::default() }.weight(admin);
        for (admin, share, ramp, wanted) in [
            (7, Share::Percent(100), 100, 7),
            (0, Share::Absolute(9), 100, 0),
            (0, Share::Percent(900), 100, 0),
            (7, Share::Percent(0), 100, 0),
            (7, Share::Absolute(0), 100, 0),
            (7, Share::Absolute(9), 100, 9),
            (7, Share::Absolute(100), 5, 5),
            (1, Share::Percent(1), 5, 1),
            (100, Share::Percent(75), 50, 38),
            (100, Share::Percent(250), 100, 250),
            (u32::MAX, Share::Percent(u32::MAX), 100, i32::MAX as u32),
        ] {
            assert_eq!(weight(admin, share, ramp), wanted, "{admin} {share:?} {ramp}");
        }
    }
}
