//! The beginning of a conn: what each room keeps of it from its first packet on.
//!
//! Never sends that packet.

use super::Director;
use crate::base::{ConnId, DropReason, Instant};
use crate::flows::Opening;
use crate::wire::Packet;

/// Opens a conn for its first packet, with what helpers keep of it.
pub(super) fn begin(
    director: &mut Director,
    opening: &Opening,
    call: Option<&[u8]>,
    packet: &Packet,
    now: Instant,
) -> Result<ConnId, DropReason> {
    let id = director.flows.open(opening, call, &director.router, now)?;
    // Its slot may be that of a conn which has ended just now, for this one: before anything is kept beside it.
    director.tell_listeners();
    // Who serves by another method sees its client.
    if director.flows.conns.get(id).is_full_nat() {
        director.flows.begin_sequence(id, packet, now);
        director.proxy.begin(id, packet, &mut director.flows);
        director.toa.begin(id, packet, &mut director.flows);
    }
    Ok(id)
}
