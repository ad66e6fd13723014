//! FTP's data conns: made where a control conn announces them, before either end opens them.
//!
//! Never reads a packet.

use super::expected::{Expected, Local, expect};
use crate::base::{ConnId, DropReason, Endpoint, Instant, Proto};
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
        expect(control, &Expected { proto: Proto::TCP, client, virt, real, local: Local::Any }, flows, now)?;
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
            let real = Endpoint::new(real.addr, port);
            expect(control, &Expected { proto: Proto::TCP, client, virt, real, local: Local::Any }, flows, now)?
        }
    };
    Ok(id.and_then(|id| flows.conns.local(flows.conns.get(id))))
}
