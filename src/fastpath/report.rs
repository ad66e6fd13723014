//! What the fast path tells of itself.
//!
//! Never decides anything.

/// Why conns have no entries, and how many packets the kernel has forwarded, since the start.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Frames that the kernel has forwarded.
    pub frames: u64,
    /// SYNs that the kernel has answered by cookies.
    pub answered: u64,
    /// Conns that were given entries.
    pub added: u64,
    /// Offers that came to nothing, by their reason.
    pub refused: Vec<(&'static str, u64)>,
}

impl Report {
    /// An offer has come to nothing, for this reason.
    pub fn refuse(&mut self, why: &'static str) {
        match self.refused.iter_mut().find(|(known, _)| *known == why) {
            Some((_, count)) => *count += 1,
            None => self.refused.push((why, 1)),
        }
    }
}
