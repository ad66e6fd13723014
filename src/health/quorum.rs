//! Whether a service has servers enough, with hysteresis.
//!
//! ```text
//! lost   -> there   weight that is up >= quorum + hysteresis
//! there  -> lost    weight that is up = 0, or < quorum - hysteresis
//! at the start      there until all servers have a verdict; then by the first rule
//! ```

/// Weight that must be up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quorum {
    /// The least weight; 1 without one.
    pub least: u32,
    /// How much more it takes to come back, and how much less to be lost.
    pub hysteresis: u32,
}

impl Default for Quorum {
    fn default() -> Quorum {
        Quorum { least: 1, hysteresis: 0 }
    }
}

impl Quorum {
    /// Whether the quorum is there, from whether it was (`None` at the start), `up` of `total` weight, and whether a server
    /// has no verdict yet.
    pub(super) fn judge(self, was: Option<bool>, up: u64, total: u64, unknown: bool) -> Option<bool> {
        // As in keepalived: no more than there is, and a hysteresis that can be left.
        let least = u64::from(self.least).min(total).max(1);
        let hysteresis = u64::from(self.hysteresis).min(least - 1);
        match was {
            None if unknown => None,
            None | Some(false) => Some(up >= (least + hysteresis).min(total.max(1))),
            Some(true) => Some(up > 0 && up >= least - hysteresis),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_lost_below_and_comes_back_above() {
        let quorum = Quorum { least: 3, hysteresis: 1 };
        let judge = |was, up| quorum.judge(was, up, 5, false);
        let ups = [0, 1, 2, 3, 4, 5];
        assert_eq!(ups.map(|up| judge(Some(true), up)), [false, false, true, true, true, true].map(Some));
        assert_eq!(ups.map(|up| judge(Some(false), up)), [false, false, false, false, true, true].map(Some));
        assert_eq!(ups.map(|up| judge(None, up)), [false, false, false, false, true, true].map(Some));
        assert_eq!(quorum.judge(None, 0, 5, true), None, "nobody has spoken");
        assert_eq!(quorum.judge(Some(false), 0, 5, true), Some(false));
    }

    #[test]
    fn it_can_always_be_reached_and_one_is_the_least() {
        let large = Quorum { least: 100, hysteresis: 99 };
        assert_eq!(large.judge(Some(false), 2, 2, false), Some(true), "all there are");
        assert_eq!(large.judge(Some(true), 0, 2, false), Some(false));
        let usual = Quorum::default();
        assert_eq!(usual.judge(Some(true), 1, 9, false), Some(true));
        assert_eq!(usual.judge(Some(true), 0, 9, false), Some(false));
        assert_eq!(usual.judge(Some(false), 0, 0, false), Some(false), "no server is no quorum");
    }
}
