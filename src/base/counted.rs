//! Which of a dest's two counters a conn is in.

/// As what a conn counts at its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// TCP from the first SYN to the first FIN or RST, SCTP likewise.
    Active,
    /// Everything else, all UDP included.
    Inactive,
}

impl Counted {
    /// Active if the state is one of those that count so.
    pub fn active_if(active: bool) -> Counted {
        if active { Counted::Active } else { Counted::Inactive }
    }
}
