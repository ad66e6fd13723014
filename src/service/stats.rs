//! Counters of a service, a dest or the whole director.
//!
//! Monotonic; bytes are layer-3 lengths before rewriting (in) and after it (out), as IPVS counts.

/// Five counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Conns scheduled.
    pub conns: u64,
    /// Packets from clients.
    pub in_pkts: u64,
    /// Packets from real servers.
    pub out_pkts: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Bytes from real servers.
    pub out_bytes: u64,
}

impl Stats {
    /// One more packet from a client.
    pub fn count_in(&mut self, bytes: usize) {
        self.in_pkts += 1;
        self.in_bytes += bytes as u64;
    }

    /// One more packet from a real server.
    pub fn count_out(&mut self, bytes: usize) {
        self.out_pkts += 1;
        self.out_bytes += bytes as u64;
    }
}
