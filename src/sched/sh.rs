//! sh, source hashing: the server that owns the bucket of the client's address.
//!
//! ```text
//! bucket = (offset + upper 8 bits of ((address + port) * 0x61C88647)) mod 256
//! port only with `sh-port`, else 0;  offset 0;  max(weight, 1) buckets for each server in turn
//! `sh-fallback`: owner unavailable? offset = bucket, bucket + 1, ...: the first available owner
//! ```
//!
//! Never moves a client because of load. A server of weight 0 keeps a bucket each round, and without
//! `sh-fallback` the clients there get no server.

use super::hash::{Buckets, client_port, fold, hash_8};
use super::{Change, Context, Flags, Flow, Scheduler, Servers, Settings};
use crate::base::DestId;

pub(super) struct SourceHash {
    flags: Flags,
    buckets: Buckets,
}

impl SourceHash {
    pub(super) fn new(flags: Flags, servers: &Servers) -> SourceHash {
        SourceHash { flags, buckets: Buckets::deal(servers, |server| server.weight) }
    }

    /// Other buckets from the packet's own on. Its hash comes in twice, so that clients of one lost server
    /// that differ in hash part ways.
    fn fall_back(&self, servers: &Servers, hash: u8) -> Option<DestId> {
        (0..=255u8)
            .map_while(|step| self.buckets.owner(hash.wrapping_add(hash).wrapping_add(step)))
            .find(|owner| servers.get(*owner).eligible())
    }
}

impl Scheduler for SourceHash {
    fn set_flags(&mut self, flags: Flags) {
        self.flags = flags;
    }

    fn changed(&mut self, servers: &Servers, _change: Change, _settings: &Settings) {
        self.buckets = SourceHash::new(self.flags, servers).buckets;
    }

    fn pick(&mut self, servers: &Servers, flow: &Flow, _context: &mut Context) -> Option<DestId> {
        let port = if self.flags.has(Flags::PORT) { client_port(flow) } else { 0 };
        let hash = hash_8(fold(flow.src.addr).wrapping_add(u32::from(port)));
        let owner = self.buckets.owner(hash)?;
        let server = servers.get(owner);
        if server.eligible() {
            return Some(owner);
        }
        if self.flags.has(Flags::FALLBACK) || server.is_out() { self.fall_back(servers, hash) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLIENTS, Farm, flow};
    use super::super::{Flags, Settings};
    use crate::base::Proto;

    fn picks(flags: u8, weights: &[u32]) -> String {
        let mut farm = Farm::with("sh", Flags(flags), Settings::default(), weights);
        farm.picks_for(CLIENTS.map(|addr| flow(addr, "198.51.100.1")))
    }

    #[test]
    fn clients_find_the_servers_the_kernel_gives_them() {
        assert_eq!(picks(0, &[1, 1, 1]), "C A B A B A B B");
        assert_eq!(picks(0, &[1, 2, 3]), "B A C C C C C B");
        assert_eq!(picks(2, &[1, 1, 1]), "A B A B A B C C");
    }

    #[test]
    fn weight_0_keeps_its_buckets_and_only_fallback_goes_round_them() {
        assert_eq!(picks(0, &[1, 0, 1]), "C A - A - A - -");
        assert_eq!(picks(1, &[1, 0, 1]), "C A A A A A A A");
        assert_eq!(picks(1, &[0, 0, 0]), "- - - - - - - -");
        assert_eq!(picks(1, &[]), "- - - - - - - -");
    }

    #[test]
    fn flags_can_change_without_the_place_of_a_client() {
        let mut farm = Farm::with("sh", Flags(0), Settings::default(), &[1, 1, 1]);
        farm.scheduler.set_flags(Flags::PORT);
        assert_eq!(farm.picks_for(CLIENTS.map(|addr| flow(addr, "198.51.100.1"))), "A B A B A B C C");
    }

    #[test]
    fn a_protocol_without_ports_has_no_port_to_hash() {
        let mut farm = Farm::with("sh", Flags::PORT, Settings::default(), &[1, 1, 1]);
        let mut packet = flow("10.0.0.1", "198.51.100.1");
        packet.proto = Proto::ICMP;
        assert_eq!(farm.picks_for([packet]), "C");
    }

    #[test]
    fn an_edit_deals_anew() {
        let mut farm = Farm::new("sh", &[1, 1, 1]);
        farm.weigh('B', 2);
        farm.weigh('C', 3);
        assert_eq!(farm.picks_for(CLIENTS.map(|addr| flow(addr, "198.51.100.1"))), "B A C C C C C B");
    }
}
