//! What other directors are told of a conn, as it is in the table here.
//!
//! Never changes a conn, and does not ask whether it is due.

use std::time::Duration;

use super::record::{FullNat, Record, Under};
use crate::alg::Helped;
use crate::base::{ConnId, Tuple};
use crate::conn::Conn;
use crate::flows::Flows;
use crate::service::command::ServiceKey;

/// What a kernel could be told of a conn that lives so long, and what it has as one of FULL-NAT or of a handshake made here.
pub(super) fn record_of(id: ConnId, left: Duration, flows: &Flows) -> Record<'_> {
    let conn = flows.conns.get(id);
    let (client, virt) = (conn.client(), conn.virt());
    let mark = match flows.services.dest(conn.dest).service {
        ServiceKey::Mark(_, mark) => mark,
        ServiceKey::Address(..) => flows.services.marks().of(&Tuple { proto: conn.proto(), src: client, dst: virt }),
    };
    Record {
        proto: conn.proto(),
        flags: conn.kernel_flags(),
        state: u16::from(conn.state()),
        client,
        virt,
        real: flows.conns.real(conn),
        mark,
        // 0 is for those who do not say.
        timeout: left.as_secs().max(1) as u32,
        engine: if conn.is_template() { flows.calls.engine_data(id) } else { None },
        full_nat: flows.conns.local(conn).map(|local| FullNat { local, shift: flows.conns.shift(id) }),
        join: flows.splices.join(id),
        under: None,
        helped: Helped::default(),
    }
}

/// True for a conn that keeps another one alive and that no packet belongs to.
pub(super) fn is_kept_alive(conn: &Conn) -> bool {
    !conn.is_template() && conn.is_local() && conn.virt().port == 0
}

/// What a conn has that was made without a packet of its own.
pub(super) fn under(conn: &Conn, flows: &Flows) -> Option<Under> {
    if !conn.is_announced() && !is_kept_alive(conn) {
        return None;
    }
    let control = conn.control().map(|id| flows.conns.get(id));
    let tuple = |conn: &Conn| Tuple { proto: conn.proto(), src: conn.client(), dst: conn.virt() };
    Some(Under { announced: conn.is_announced(), control: control.map(tuple) })
}
