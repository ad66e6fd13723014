//! Established conns that expire: both ends are told by a reset, instead of being left to find out (`expire_reset`).
//!
//! Needs the sequence number that each end expects next, for no other reset is believed (RFC 5961). Never for conns that
//! ended themselves, nor for those that another director has.

use super::standby::Standby;
use crate::base::ConnId;
use crate::conn::{Conn, Side};
use crate::flows::Flows;
use crate::router::{Egress, Router, Turn};
use crate::stack;

/// Resets both ends of a conn whose time is over, if it was established.
pub(super) fn reset_ends(
    (id, conn): (ConnId, &Conn),
    (flows, standby): (&Flows, &Standby),
    router: &mut Router,
    turn: &mut Turn<impl Egress>,
) {
    if flows.resets_at_expiry(conn) {
        reset_both((id, conn), (flows, standby), router, turn);
    }
}

/// Resets both ends of a conn, if it was established and its replies pass here.
pub(super) fn reset_both(
    (id, conn): (ConnId, &Conn),
    (flows, standby): (&Flows, &Standby),
    router: &mut Router,
    turn: &mut Turn<impl Egress>,
) {
    let is_elsewhere = standby.is_mute() || router.virtuals.is_away(conn.virt().addr);
    if !conn.is_established() || !conn.rewrites_replies() || is_elsewhere {
        return;
    }
    let (client, real) = (conn.client(), flows.conns.real(conn));
    let peer = flows.conns.local(conn).unwrap_or(client);
    stack::reset_end((conn.virt(), client), flows.conns.expected(id, Side::Request), router, turn);
    stack::reset_end((peer, real), flows.conns.expected(id, Side::Reply), router, turn);
}
