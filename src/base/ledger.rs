//! What became of every frame: `rx + generated = tx + consumed + dropped + held`, at every moment.
//!
//! Counts only; never decides.

use std::fmt;

use super::DropReason;

/// How a frame ended well without being sent on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consumed {
    /// An ARP request for an address of ours; answered.
    ArpRequest,
    /// An ARP answer or announcement that told us something.
    ArpReply,
    /// A neighbour solicitation for an address of ours; answered.
    NdpSolicitation,
    /// A neighbour advertisement that told us something.
    NdpAnswer,
    /// A query for listeners; answered by a report.
    ListenerQuery,
    /// An echo request to us; answered.
    Echo,
    /// A superframe, cut into segments that are counted as generated.
    Segmented,
    /// A packet cut into fragments that are counted as generated.
    Fragmented,
    /// A fragment, put together with others to a packet that counts as generated.
    Reassembled,
    /// An error about one of our tunnel packets; told on to the client.
    TunnelError,
    /// A message about another director's conns; taken over.
    Sync,
    /// An answer to a health probe of ours.
    Probe,
    /// An advertisement of another VRRP router; heeded.
    Vrrp,
    /// A SYN, answered by a cookie.
    SynCookie,
    /// A segment of a handshake that is made here, or that waits for what its client says.
    Handshake,
}

impl Consumed {
    /// Every kind, in the order of the ledger.
    pub const ALL: [Consumed; 15] = [
        Consumed::ArpRequest,
        Consumed::ArpReply,
        Consumed::NdpSolicitation,
        Consumed::NdpAnswer,
        Consumed::ListenerQuery,
        Consumed::Echo,
        Consumed::Segmented,
        Consumed::Fragmented,
        Consumed::Reassembled,
        Consumed::TunnelError,
        Consumed::Sync,
        Consumed::Probe,
        Consumed::Vrrp,
        Consumed::SynCookie,
        Consumed::Handshake,
    ];

    /// Name in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Consumed::ArpRequest => "arp-request",
            Consumed::ArpReply => "arp-reply",
            Consumed::NdpSolicitation => "neighbour-solicitation",
            Consumed::NdpAnswer => "neighbour-advertisement",
            Consumed::ListenerQuery => "listener-query",
            Consumed::Echo => "echo-request",
            Consumed::Segmented => "segmented",
            Consumed::Fragmented => "fragmented",
            Consumed::Reassembled => "reassembled",
            Consumed::TunnelError => "tunnel-error",
            Consumed::Sync => "sync-message",
            Consumed::Probe => "probe-answer",
            Consumed::Vrrp => "vrrp-advertisement",
            Consumed::SynCookie => "syn-cookie",
            Consumed::Handshake => "handshake",
        }
    }
}

/// The counters. `router::Turn` writes them, everybody else reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ledger {
    rx: u64,
    generated: u64,
    tx: u64,
    held: u64,
    fast: u64,
    consumed: [u64; Consumed::ALL.len()],
    dropped: [u64; DropReason::ALL.len()],
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            rx: 0,
            generated: 0,
            tx: 0,
            held: 0,
            fast: 0,
            consumed: [0; Consumed::ALL.len()],
            dropped: [0; DropReason::ALL.len()],
        }
    }
}

impl Ledger {
    /// One frame read.
    #[inline]
    pub fn receive(&mut self) {
        self.rx += 1;
    }

    /// One frame made here: ARP, neighbour discovery, ICMP errors, answers, segments, fragments.
    #[inline]
    pub fn generate(&mut self) {
        self.generated += 1;
    }

    /// One frame written.
    #[inline]
    pub fn send(&mut self) {
        self.tx += 1;
    }

    /// So many frames were forwarded by the kernel: as if they had been read and written here.
    pub fn pass(&mut self, count: u64) {
        self.rx += count;
        self.tx += count;
        self.fast += count;
    }

    /// So many SYNs were answered by cookies in the kernel: as if they had been read, and the answers made and written here.
    pub fn answer(&mut self, count: u64) {
        self.rx += count;
        self.generated += count;
        self.tx += count;
        self.consumed[Consumed::SynCookie as usize] += count;
    }

    /// One frame waits: for a neighbour, or for its datagram's other fragments.
    pub fn hold(&mut self) {
        self.held += 1;
    }

    /// So many frames do not wait any more.
    pub fn release(&mut self, count: u64) {
        self.held -= count;
    }

    /// Frames read.
    #[cfg(any(test, feature = "testing"))]
    pub fn rx(&self) -> u64 {
        self.rx
    }

    /// Frames made here.
    #[cfg(any(test, feature = "testing"))]
    pub fn generated(&self) -> u64 {
        self.generated
    }

    /// Frames written.
    #[cfg(any(test, feature = "testing"))]
    pub fn tx(&self) -> u64 {
        self.tx
    }

    /// Frames that the kernel has forwarded.
    #[cfg(any(test, feature = "testing"))]
    pub fn fast(&self) -> u64 {
        self.fast
    }

    /// Frames that wait now.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// One frame consumed.
    pub fn consume(&mut self, how: Consumed) {
        self.consumed[how as usize] += 1;
    }

    /// One frame dropped.
    pub fn drop(&mut self, why: DropReason) {
        self.dropped[why as usize] += 1;
    }

    /// One frame that was counted as written and was not.
    pub fn unsent(&mut self, why: DropReason) {
        self.tx -= 1;
        self.drop(why);
    }

    /// Frames consumed in a way.
    pub fn consumed(&self, how: Consumed) -> u64 {
        self.consumed[how as usize]
    }

    /// Frames dropped for a reason.
    pub fn dropped(&self, why: DropReason) -> u64 {
        self.dropped[why as usize]
    }

    /// Every name with its count; kinds and reasons that never happened are left out.
    pub fn entries(&self) -> Vec<(String, u64)> {
        let totals = [("rx", self.rx), ("generated", self.generated), ("tx", self.tx), ("held", self.held)];
        let consumed = Consumed::ALL.iter().map(|how| (format!("consumed.{}", how.name()), self.consumed(*how)));
        let dropped = DropReason::ALL.iter().map(|why| (format!("dropped.{}", why.name()), self.dropped(*why)));
        // Part of rx and of tx.
        let fast = Some(("fast", self.fast)).filter(|(_, count)| *count > 0);
        let totals = totals.into_iter().chain(fast).map(|(name, count)| (name.to_owned(), count));
        totals.chain(consumed.chain(dropped).filter(|(_, count)| *count > 0)).collect()
    }

    /// True if every frame is accounted for.
    #[cfg(any(test, feature = "testing"))]
    pub fn balances(&self) -> bool {
        let consumed: u64 = self.consumed.iter().sum();
        let dropped: u64 = self.dropped.iter().sum();
        self.rx + self.generated == self.tx + consumed + dropped + self.held
    }
}

impl fmt::Display for Ledger {
    /// One line per name, `ledger: NAME COUNT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.entries().iter().map(|(name, count)| format!("ledger: {name} {count}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_was_not_written_after_all_is_dropped_by_name() {
        let mut ledger = Ledger { rx: 2, tx: 2, ..Ledger::default() };
        ledger.unsent(DropReason::DeviceDown);
        assert_eq!((ledger.tx, ledger.dropped(DropReason::DeviceDown)), (1, 1));
        assert!(ledger.balances());
    }
}
