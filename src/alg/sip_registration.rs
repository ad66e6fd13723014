//! Phones that have registered: their server reaches them by their conn, which lives as long as the registration.
//!
//! It controls a conn that no packet belongs to, and that ends with the registration. Never reads a packet.

use std::time::Duration;

use crate::base::{ConnId, Endpoint, Instant, Method};
use crate::conn::{Kind, NewConn};
use crate::flows::Flows;

/// The longest registration that is heeded.
const LONGEST: u32 = 86_400;

/// A server has confirmed a registration by this conn for so many seconds; 0 is its end.
pub(super) fn registered(control: ConnId, seconds: u32, flows: &mut Flows, now: Instant) {
    let conn = *flows.conns.get(control);
    let (client, virt) = (conn.client(), Endpoint::new(conn.virt().addr, 0));
    let lifetime = Duration::from_secs(u64::from(seconds.min(LONGEST)));
    let (dest, proto, kind) = (conn.dest, conn.proto(), Kind::LocalFlow);
    let known = flows.conns.find_flow(proto, client, virt);
    match known.filter(|id| flows.conns.get(*id).control() == Some(control)) {
        Some(id) if seconds == 0 => return flows.replace(id),
        Some(id) => {
            flows.tell_of(id);
            return flows.conns.rearm(id, now, lifetime);
        }
        None if seconds == 0 => return,
        None => {}
    }
    let Some(real) = flows.conns.intern(virt.addr) else { return };
    let new = NewConn { proto, client, virt, real, dport: 0, local: None, dest, method: Method::Nat, kind };
    if let Ok(id) = flows.insert(&new, now, lifetime) {
        flows.services.bind(dest);
        flows.conns.set_control(id, control);
        flows.tell_of(control);
        flows.tell_of(id);
    }
}
