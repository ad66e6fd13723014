//! Fragments on their way: put together before a service sees them, as IPVS has it done.
//!
//! Every fragment is accounted for: held, part of a packet, or dropped under a name.

use super::Director;
use crate::base::{Consumed, DropReason, Family, Instant, Proto};
use crate::router::Egress;
use crate::wire::icmp::IcmpError;
use crate::wire::{self, Abandoned, Ip, Joined, PacketBuf};

/// "Fragment reassembly time exceeded" (RFC 792, RFC 4443), by family.
const TIME_EXCEEDED: u8 = 11;
const TIME_EXCEEDED6: u8 = 3;
const REASSEMBLY: u8 = 1;

impl Director {
    /// Fragments to the director are put together, and those that pass while services may want them.
    pub(super) fn reassembles(&self, ip: &Ip) -> bool {
        let watched = ip.proto.has_ports() || ip.proto == Proto::ICMP || ip.family() == Family::V6;
        (self.services.any(ip.family()) && watched) || self.owns(ip.dst)
    }

    /// Adds a fragment; the whole packet is in the buffer when the last one has come.
    pub(super) fn join(&mut self, buf: &mut PacketBuf, ip: &Ip, now: Instant) -> Result<Option<Ip>, DropReason> {
        if buf.vnet.needs_csum {
            return Err(DropReason::Offload);
        }
        let joined = self.reassembly.join(buf, ip, now);
        let done = match joined {
            Joined::Kept => {
                self.router.ledger.held += 1;
                Ok(None)
            }
            Joined::Whole(waited) => {
                self.router.ledger.held -= u64::from(waited);
                (0..=waited).for_each(|_| self.router.ledger.consume(Consumed::Reassembled));
                self.router.ledger.generated += 1;
                wire::ip_packet(buf.frame()).map(Some)
            }
            Joined::Refused(lost) => {
                self.lose_fragments(lost, DropReason::FragmentInvalid);
                Err(DropReason::FragmentInvalid)
            }
        };
        while let Some(evicted) = self.reassembly.evict() {
            self.lose_fragments(evicted.pieces, DropReason::FragmentMemory);
        }
        done
    }

    fn lose_fragments(&mut self, count: u32, reason: DropReason) {
        self.router.ledger.held -= u64::from(count);
        (0..count).for_each(|_| self.router.ledger.drop(reason));
    }

    /// Gives up datagrams that did not become complete in time; who sent one to the director is told.
    pub(super) fn expire_fragments(&mut self, now: Instant, out: &mut impl Egress) {
        while let Some(Abandoned { pieces, first }) = self.reassembly.expire(now) {
            self.lose_fragments(pieces, DropReason::FragmentTimeout);
            if let Some(first) = first {
                self.complain_late(&first, now, out);
            }
        }
    }

    fn complain_late(&mut self, first: &[u8], now: Instant, out: &mut impl Egress) {
        let mut frame = vec![0; wire::ETH_LEN];
        frame.extend_from_slice(first);
        let Ok(ip) = wire::ip_packet(&frame) else { return };
        if !self.owns(ip.dst) {
            return;
        }
        let icmp_type = if ip.family() == Family::V4 { TIME_EXCEEDED } else { TIME_EXCEEDED6 };
        self.complain_as(IcmpError::Raw(icmp_type, REASSEMBLY, 0), first, ip.dst, ip.src, now, out);
    }
}
