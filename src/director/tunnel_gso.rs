//! Superframes inside the UDP tunnels of others: whole where nothing but the outer headers changes, else one by one.
//!
//! Never looks at what is inside.

use super::Director;
use crate::router::{Egress, Turn, each_segment};
use crate::wire::Packet;

impl Director {
    /// The path of each packet that a superframe stands for.
    #[cold]
    pub(super) fn one_by_one(&mut self, packet: &Packet, turn: &mut Turn<impl Egress>) {
        each_segment(packet, turn, |segment, turn| {
            self.counted(segment, turn);
            Ok(())
        });
    }
}
