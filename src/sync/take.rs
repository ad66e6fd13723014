//! A conn that another director tells of is taken into the table.
//!
//! Method and state of a server that is configured here are this director's own; a conn whose server is not (yet) is kept
//! all the same, and is that server's once it is added. Conns are used as if they had been made here, so that this director
//! can go on for the other at any time.
//!
//! What is told is bounded: a conn lives as long as one of this director in that state, half of the table is for conns of
//! this director, and a conn whose packets pass here is not changed.

use std::time::Duration;

use super::record::{FullNat, Record};
use crate::base::{ConnId, Counted, DestId, Endpoint, Family, Instant, Method, Proto, Tunnel, Tuple};
use crate::conn::{Kind, NewConn, SctpState, Side, TcpState};
use crate::flows::{Flows, TemplateKey, nobody};
use crate::forward::LocalPorts;
use crate::router::Router;
use crate::service::command::ServiceKey;

// The kernel's flags of a conn, as a message carries them.
const METHOD: u32 = 0x0007;
const INACTIVE: u32 = 0x0100;
const NO_CLIENT_PORT: u32 = 0x0800;
const TEMPLATE: u32 = 0x1000;
const ONE_PACKET: u32 = 0x2000;
/// A template lives so long whose master does not say (version 0).
const LIFETIME: u32 = 180;
/// A template of a service that is not configured here lives so long at most.
const LONGEST: u32 = 24 * 3600;
/// A conn whose last packet here is more recent is not another director's.
const OWN: Duration = Duration::from_secs(10);
/// One part in so many of the table is for what other directors tell.
const SHARE: usize = 2;

/// Takes a conn or template; what cannot be one is passed over, and what this director has packets of.
pub(super) fn take(record: &Record, flows: &mut Flows, router: &Router, now: Instant) -> Option<ConnId> {
    let template = record.flags & TEMPLATE != 0;
    let contradicts = record.flags & ONE_PACKET != 0 || (template && record.flags & NO_CLIENT_PORT != 0);
    let known_engine = record.engine.is_none_or(|(name, _)| name == "sip");
    if contradicts || !known_engine || !is_state(record) {
        return None;
    }
    let known = known_conn(record, template, flows).or_else(|| awaited(record, template, flows));
    if known.is_some_and(|id| is_own(id, flows, router, now)) {
        return None;
    }
    let id = match known {
        Some(id) if is_same(id, record, flows) => {
            take_activity(id, record, flows);
            flows.note_synced(id);
            id
        }
        // An older conn to another server is not worth an inactive one.
        Some(_) if record.flags & INACTIVE != 0 => return None,
        Some(other) => {
            flows.replace(other);
            new_conn(record, flows, router, now)?
        }
        None => new_conn(record, flows, router, now)?,
    };
    take_state(id, record, flows, now);
    Some(id)
}

/// True for a conn that packets pass here. Those of an address that has gone to another director pass there, from that moment on.
fn is_own(id: ConnId, flows: &Flows, router: &Router, now: Instant) -> bool {
    let conn = flows.conns.get(id);
    if router.virtuals.is_away(conn.virt().addr) {
        return false;
    }
    let timeout = flows.timeouts.of(conn);
    !conn.is_template() && !conn.is_synced() && flows.conns.deadline(conn).since(now) + OWN > timeout
}

/// True for a conn that only needs to be brought up to date. One that waits for its server to be configured is made anew
/// once that is there.
fn is_same(id: ConnId, record: &Record, flows: &Flows) -> bool {
    let conn = flows.conns.get(id);
    let is_configured = || dest_of(record, control_of(record, flows), flows).is_some();
    let unbound = flows.services.is_expected(conn.dest) && is_configured();
    let is_at = |told: FullNat| flows.conns.local(conn) == Some(told.local);
    !unbound && (conn.is_template() || flows.conns.real(conn) == record.real) && record.full_nat.is_none_or(is_at)
}

fn known_conn(record: &Record, template: bool, flows: &Flows) -> Option<ConnId> {
    if !template {
        return flows.conns.find_flow(record.proto, record.client, record.virt);
    }
    match record.engine {
        Some((_, call)) => flows.calls.find(&template_key(record), call),
        None => flows.conns.find_template(record.proto, record.client, record.virt),
    }
}

/// The conn here that waits for a port which is known there.
fn awaited(record: &Record, template: bool, flows: &mut Flows) -> Option<ConnId> {
    let Record { proto, client, virt, real, .. } = *record;
    if template { None } else { flows.waited_for(proto, client, virt, real) }
}

/// The conn that controls what a record tells of: it has the same virtual address, and what was announced its server.
fn control_of(record: &Record, flows: &Flows) -> Option<ConnId> {
    let under = record.under?;
    let Tuple { proto, src, dst } = under.control?;
    let id = flows.conns.find_flow(proto, src, dst)?;
    let conn = flows.conns.get(id);
    let is_its = flows.conns.real(conn).addr == record.real.addr || !under.announced;
    (is_its && dst.addr == record.virt.addr).then_some(id)
}

/// The dest that a record means: that of the conn that controls it, or with the port of the record or, for marks, with any, and
/// the other way round.
fn dest_of(record: &Record, control: Option<ConnId>, flows: &Flows) -> Option<DestId> {
    if let Some(control) = control {
        return Some(flows.conns.get(control).dest);
    }
    let service = flows.services.find_marked(record.mark, record.proto, record.virt)?;
    let at = |port| flows.services.find_dest(service, Endpoint::new(record.real.addr, port));
    ports_of_dest(record).into_iter().find_map(at)
}

fn ports_of_dest(record: &Record) -> [u16; 2] {
    let any_first = record.mark != 0 && told_method(record) != Some(Method::Nat);
    if any_first { [0, record.real.port] } else { [record.real.port, 0] }
}

/// The dest that a record means and that is not configured here; it forwards by the record's method until it is.
fn expected_dest(record: &Record, flows: &mut Flows, now: Instant) -> Option<DestId> {
    let service = flows.services.find_marked(record.mark, record.proto, record.virt);
    let key = match service.and_then(|service| flows.services.get(service)) {
        Some(service) => service.key,
        None if record.mark != 0 => ServiceKey::Mark(Family::of(record.virt.addr), record.mark),
        None => ServiceKey::Address(record.proto, record.virt),
    };
    let [port, _] = ports_of_dest(record);
    let (method, real) = match told_method(record)? {
        Method::FullNat => return None,
        method if record.crosses() && !method.takes_any_family() => return None,
        Method::Bypass => (Method::Bypass, nobody(key.family())),
        method => (method, Endpoint::new(record.real.addr, port)),
    };
    flows.services.expect(key, real, method, now)
}

/// The master's method; how its tunnel is made is not told.
fn told_method(record: &Record) -> Option<Method> {
    Method::of_number((record.flags & METHOD) as u16, || Tunnel::Ipip)
}

/// Makes the conn; it counts at its dest as the master says, and not among the conns that were scheduled.
fn new_conn(record: &Record, flows: &mut Flows, router: &Router, now: Instant) -> Option<ConnId> {
    let template = record.flags & TEMPLATE != 0;
    if flows.synced >= flows.settings.max_flows / SHARE {
        return None;
    }
    let control = control_of(record, flows);
    let dest = dest_of(record, control, flows).or_else(|| expected_dest(record, flows, now))?;
    let keeps_alive = record.under.is_some_and(|under| !under.announced);
    let method = if keeps_alive { Method::Nat } else { flows.services.dest(dest).method };
    if record.crosses() && !method.takes_any_family() {
        return None;
    }
    let real = record.real.addr;
    let local = match (method, record.full_nat) {
        (Method::FullNat, Some(full_nat)) if !template => Some(full_nat),
        // A kernel's conn, or one that has another method there.
        (Method::FullNat, _) if !template => return None,
        _ => None,
    };
    let kind = match template {
        true => Kind::Template { timeout: lifetime(record, flows) },
        false if real.is_loopback() || flows.services.owns(real) || router.owns(real) => Kind::LocalFlow,
        false if record.under.is_some() => Kind::Announced,
        false => Kind::Flow,
    };
    let new = NewConn {
        proto: record.proto,
        client: record.client,
        virt: record.virt,
        real: flows.conns.intern(real)?,
        dport: record.real.port,
        local: match local {
            Some(told) => Some((flows.conns.intern(told.local.addr)?, told.local.port)),
            None => None,
        },
        dest,
        method,
        kind,
    };
    if let Some(told) = local {
        if !is_of_pools(told.local, record, dest, flows) {
            return None;
        }
        take_port(told.local, record, flows, router, now)?;
    }
    let inserted = flows.insert(&new, now, Duration::from_secs(u64::from(lifetime(record, flows))));
    let Ok(id) = inserted else {
        if let Some(told) = local {
            flows.ports.give_back(told.local.addr, record.proto, pool_of(record), told.local.port);
        }
        return None;
    };
    flows.note_synced(id);
    if template {
        flows.services.bind_template(dest);
        if let Some((_, call)) = record.engine {
            flows.conns.hide(id);
            flows.calls.remember(&template_key(record), call, id);
        }
        return Some(id);
    }
    flows.services.bind(dest);
    // To make room for the conn, or its port, another one may have ended.
    if let Some(control) = control.filter(|control| *control != id && flows.conns.live(*control).is_some()) {
        flows.conns.set_control(id, control);
    }
    take_activity(id, record, flows);
    Some(id)
}

/// Towards whom the local port of a conn is its own: announced conns have one for all ports of their server.
fn pool_of(record: &Record) -> Endpoint {
    let port = if record.under.is_some() { 0 } else { record.real.port };
    Endpoint::new(record.real.addr, port)
}

/// True for a local port that a conn to this dest may have.
fn is_of_pools(local: Endpoint, record: &Record, dest: DestId, flows: &Flows) -> bool {
    let service = flows.services.slot_of(&flows.services.dest(dest).service);
    let locals = service.map_or(&[][..], |id| flows.services.locals_of_family(id, Family::of(record.real.addr)));
    locals.contains(&local.addr) && LocalPorts::is_one(local.port)
}

/// Takes the local port that the other director has given a conn: it is in use here too. The conn that had it before is
/// over, unless its packets pass here.
fn take_port(local: Endpoint, record: &Record, flows: &mut Flows, router: &Router, now: Instant) -> Option<()> {
    let reply = Tuple { proto: record.proto, src: record.real, dst: local };
    if let Some((other, Side::Reply)) = flows.conns.lookup(&reply) {
        if is_own(other, flows, router, now) {
            return None;
        }
        flows.replace(other);
    }
    flows.ports.claim(local.addr, record.proto, pool_of(record), local.port);
    Some(())
}

/// Counts a conn as its master does.
fn take_activity(id: ConnId, record: &Record, flows: &mut Flows) {
    let conn = flows.conns.get(id);
    let after = Counted::active_if(record.flags & INACTIVE == 0);
    if !conn.is_template() && conn.counted() != after {
        flows.count_as(id, conn.dest, after);
    }
}

fn take_state(id: ConnId, record: &Record, flows: &mut Flows, now: Instant) {
    if let Some(told) = record.full_nat {
        flows.conns.set_shift(id, told.shift);
    }
    flows.take_join(id, record.join);
    flows.conns.get_mut(id).in_pkts = flows.settings.sync_threshold;
    flows.conns.set_state(id, record.state as u8);
    let lifetime = lifetime(record, flows);
    if flows.conns.get(id).is_template() {
        flows.conns.set_template_timeout(id, lifetime);
    }
    flows.conns.rearm(id, now, Duration::from_secs(u64::from(lifetime)));
}

fn lifetime(record: &Record, flows: &Flows) -> u32 {
    let own = || flows.timeouts.state(record.proto, record.state as u8).timeout.as_secs() as u32;
    let service = || flows.services.find_marked(record.mark, record.proto, record.virt);
    let persistence = || flows.services.get(service()?)?.options.persistence.map(|persistence| persistence.timeout);
    let is_template = record.flags & TEMPLATE != 0;
    let most = match record.under {
        _ if is_template => persistence().unwrap_or(LONGEST),
        // As long as a registration.
        Some(under) if !under.announced => LONGEST,
        _ => own(),
    };
    match record.timeout {
        0 if is_template => LIFETIME.min(most),
        0 => most,
        told => told.min(most),
    }
}

fn template_key(record: &Record) -> TemplateKey {
    TemplateKey { proto: record.proto, client: record.client, virt: record.virt, of_one_port: record.real.port != 0 }
}

/// A state that a conn of this protocol can have.
fn is_state(record: &Record) -> bool {
    let last = match record.proto {
        _ if record.flags & TEMPLATE != 0 => 1,
        Proto::TCP => TcpState::SynAck as u16,
        Proto::SCTP => SctpState::Closed as u16,
        Proto::UDP => 0,
        _ => return false,
    };
    record.state <= last
}
