//! Superframes inside the UDP tunnels of others: whole where nothing but the outer headers changes, else one by one.
//!
//! Never looks at what is inside.

use super::{Director, Owner};
use crate::base::{Family, Method};
use crate::router::{Egress, Turn, each_segment};
use crate::wire::{Ip, Packet};

impl Director {
    /// Whether a superframe inside somebody's UDP tunnel may keep its form: on the way between the ends of a conn, both of one
    /// family and without a tunnel of ours, and where it only passes through.
    #[cold]
    pub(super) fn passes_whole(&self, ip: &Ip) -> bool {
        match self.owner(ip) {
            Owner::Conn(id, _) => {
                let ends = self.flows.ends(id);
                let same = Family::of(ends.client().addr) == Family::of(ends.real.addr);
                same && !matches!(ends.method, Method::Tunnel(_))
            }
            Owner::Local => false,
            Owner::Forward => true,
        }
    }

    /// The path of each packet that a superframe stands for.
    #[cold]
    pub(super) fn one_by_one(&mut self, packet: &Packet, turn: &mut Turn<impl Egress>) {
        each_segment(packet, turn, |segment, turn| {
            self.counted(segment, turn);
            Ok(())
        });
    }
}
