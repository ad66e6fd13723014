//! Conns that helpers have read of: made before either end opens them, to the server of the conn that announced them.
//!
//! Never reads a packet.

use crate::base::{ConnId, DropReason, Endpoint, Instant, Method, Proto};
use crate::conn::{Kind, NewConn, TcpState};
use crate::flows::Flows;

/// Which local port such a conn has in FULL-NAT.
#[derive(Clone, Copy)]
pub(super) enum Local {
    /// Any.
    Any,
    /// An even one of which the next is free too.
    Even,
    /// This one, which is taken already.
    Taken(u16),
}

/// The ends of a conn that was announced.
pub(super) struct Expected {
    pub proto: Proto,
    /// Port 0: the client opens it, from any.
    pub client: Endpoint,
    pub virt: Endpoint,
    /// Port 0: the server opens it, from any.
    pub real: Endpoint,
    pub local: Local,
}

/// Makes the conn; in FULL-NAT with a port of the local address of `control`, for servers look whether what belongs together
/// comes from the same address. `None` if there is no room: a full table has said so already.
pub(super) fn expect(
    control: ConnId,
    expected: &Expected,
    flows: &mut Flows,
    now: Instant,
) -> Result<Option<ConnId>, DropReason> {
    let Expected { proto, client, virt, real, local } = *expected;
    let conn = flows.conns.get(control);
    let (dest, of_control) = (conn.dest, flows.conns.local(conn).map(|local| local.addr));
    let Some(addr) = flows.conns.intern(real.addr) else { return Ok(None) };
    // Whatever their ports at the server are: of two that differ in that alone one may not be known yet.
    let pool = Endpoint::new(real.addr, 0);
    let local = match of_control {
        Some(addr) => {
            let port = match local {
                Local::Any => flows.ports.take(addr, proto, pool),
                Local::Even => flows.ports.take_pair(addr, proto, pool),
                Local::Taken(port) => Some(port),
            };
            Some(Endpoint::new(addr, port.ok_or(DropReason::NoLocalPort)?))
        }
        None => None,
    };
    let new = NewConn {
        proto,
        client,
        virt,
        real: addr,
        dport: real.port,
        local: local.and_then(|local| Some((flows.conns.intern(local.addr)?, local.port))),
        dest,
        method: if local.is_some() { Method::FullNat } else { Method::Nat },
        kind: Kind::Announced,
    };
    let state = if proto == Proto::TCP { TcpState::Listen as u8 } else { 0 };
    let timeout = flows.timeouts.state(proto, state).timeout;
    let Ok(id) = flows.insert(&new, now, timeout) else {
        local.into_iter().for_each(|local| flows.ports.give_back(local.addr, proto, pool, local.port));
        return Ok(None);
    };
    flows.conns.set_state(id, state);
    flows.services.bind(dest);
    flows.conns.set_control(id, control);
    flows.tell_of(control);
    flows.tell_of(id);
    Ok(Some(id))
}
