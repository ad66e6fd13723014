//! Fragments are put together before a service sees them, as in IPVS.
//!
//! Every fragment is accounted for: held, part of a packet, or dropped under a name.

use super::Stack;
use crate::base::{Consumed, DropReason};
use crate::router::Turn;
use crate::wire::{Abandoned, Joined, Packet, ip_packet};

impl Stack {
    /// Adds a fragment. True if it was the last one: the whole packet takes its place.
    pub fn join<E>(&mut self, packet: &mut Packet, turn: &mut Turn<E>) -> Result<bool, DropReason> {
        if packet.buf.vnet.needs_csum {
            return Err(DropReason::Offload);
        }
        let done = match self.reassembly.join(packet.buf, packet.ip, turn.now) {
            Joined::Kept => {
                turn.hold();
                Ok(false)
            }
            Joined::Whole(waited) => {
                turn.release(u64::from(waited));
                (0..=waited).for_each(|_| turn.consume(Consumed::Reassembled));
                turn.generated();
                ip_packet(packet.frame()).map(|whole| {
                    *packet.ip = whole;
                    true
                })
            }
            Joined::Refused(lost) => {
                lose(lost, DropReason::FragmentInvalid, turn);
                Err(DropReason::FragmentInvalid)
            }
        };
        while let Some(evicted) = self.reassembly.evict() {
            lose(evicted.pieces, DropReason::FragmentMemory, turn);
        }
        done
    }

    /// Gives up the next datagram that did not become complete in time: its first fragment, if that had come.
    pub fn give_up_datagram<E>(&mut self, turn: &mut Turn<E>) -> Option<Option<Vec<u8>>> {
        let Abandoned { pieces, first } = self.reassembly.expire(turn.now)?;
        lose(pieces, DropReason::FragmentTimeout, turn);
        Some(first)
    }
}

fn lose<E>(count: u32, reason: DropReason, turn: &mut Turn<E>) {
    turn.release(u64::from(count));
    (0..count).for_each(|_| turn.drop(reason));
}
