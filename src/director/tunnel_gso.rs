//! Superframes inside somebody's UDP tunnel: whole where nothing but the outer headers changes, else one by one.
//!
//! Never looks at what is inside.

use super::{Director, Place};
use crate::base::{DropReason, Family, Instant};
use crate::conn::Forwarding;
use crate::router::Egress;
use crate::wire::{Ip, PacketBuf};

impl Director {
    /// Whether a superframe inside somebody's UDP tunnel may keep its form: on the way between the ends of a conn, both of one
    /// family and without a tunnel of ours, and where it only passes through.
    #[cold]
    pub(super) fn passes_whole(&self, ip: &Ip) -> bool {
        match self.place(ip) {
            Place::Flow(id, _) => {
                let ends = self.ends(id);
                let same = Family::of(ends.client().addr) == Family::of(ends.real.addr);
                same && ends.forwarding != Forwarding::Tunnel
            }
            Place::Here => false,
            Place::Through => true,
        }
    }

    /// The path of each packet that a superframe stands for.
    #[cold]
    pub(super) fn one_by_one(
        &mut self,
        buf: &mut PacketBuf,
        ip: &Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        self.each_segment(buf, ip, |director, piece, segment| {
            if let Err(reason) = director.packet(piece, &mut segment.clone(), now, out) {
                director.router.ledger.drop(reason);
            }
        })
    }
}
