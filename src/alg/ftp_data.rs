//! FTP's data conns: made where a control conn announces them, before either end opens them.
//!
//! Never reads a packet.

use crate::base::{ConnId, DropReason, Endpoint, Instant, Method, Proto};
use crate::conn::{Kind, NewConn, TcpState};
use crate::flows::Flows;

/// The client will open a conn from a port that is not known yet.
pub(super) fn expect_passive(
    control: ConnId,
    virt: Endpoint,
    real: Endpoint,
    flows: &mut Flows,
    now: Instant,
) -> Result<(), DropReason> {
    let client = Endpoint::new(flows.conns.get(control).client().addr, 0);
    if !flows.conns.exists(Proto::TCP, client, virt) {
        expect(control, Expected { client, virt, real }, flows, now)?;
    }
    Ok(())
}

/// The server will open a conn: in NAT from the port below its control port; in FULL-NAT from any, to the local endpoint
/// that is returned.
pub(super) fn expect_active(
    control: ConnId,
    client: Endpoint,
    flows: &mut Flows,
    now: Instant,
) -> Result<Option<Endpoint>, DropReason> {
    let conn = flows.conns.get(control);
    let (virt, real, is_full_nat) = (conn.virt(), flows.conns.real(conn), conn.is_full_nat());
    let virt = Endpoint::new(virt.addr, virt.port.wrapping_sub(1));
    let port = if is_full_nat { 0 } else { real.port.wrapping_sub(1) };
    let known = flows.conns.find_flow(Proto::TCP, client, virt);
    let waits = |id| !is_full_nat || flows.conns.get(id).is_without_server_port();
    let id = match known {
        Some(id) if waits(id) => Some(id),
        known => {
            // A client that waits where it waited before: the conn of that time is over.
            known.into_iter().for_each(|id| flows.replace(id));
            expect(control, Expected { client, virt, real: Endpoint::new(real.addr, port) }, flows, now)?
        }
    };
    Ok(id.and_then(|id| flows.conns.local(flows.conns.get(id))))
}

/// The ends of a data conn that was announced.
struct Expected {
    client: Endpoint,
    virt: Endpoint,
    real: Endpoint,
}

/// Makes the conn; in FULL-NAT with a port of the control conn's local address, for servers look whether data come from
/// the same address. `None` if there is no room: a full table has said so already.
fn expect(
    control: ConnId,
    Expected { client, virt, real }: Expected,
    flows: &mut Flows,
    now: Instant,
) -> Result<Option<ConnId>, DropReason> {
    let conn = flows.conns.get(control);
    let (dest, of_control) = (conn.dest, flows.conns.local(conn).map(|local| local.addr));
    let Some(addr) = flows.conns.intern(real.addr) else { return Ok(None) };
    let local = match of_control {
        Some(addr) => {
            let port = flows.ports.take(addr, Proto::TCP, real).ok_or(DropReason::NoLocalPort)?;
            Some(Endpoint::new(addr, port))
        }
        None => None,
    };
    let new = NewConn {
        proto: Proto::TCP,
        client,
        virt,
        real: addr,
        dport: real.port,
        local: local.and_then(|local| Some((flows.conns.intern(local.addr)?, local.port))),
        dest,
        method: if local.is_some() { Method::FullNat } else { Method::Nat },
        kind: Kind::Flow,
    };
    let timeout = flows.timeouts.state(Proto::TCP, TcpState::Listen as u8).timeout;
    let Ok(id) = flows.insert(&new, now, timeout) else {
        local.into_iter().for_each(|local| flows.ports.give_back(local.addr, Proto::TCP, real, local.port));
        return Ok(None);
    };
    flows.conns.set_state(id, TcpState::Listen as u8);
    flows.services.bind(dest);
    flows.conns.set_control(id, control);
    Ok(Some(id))
}
