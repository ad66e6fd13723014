//! Another director's conns are taken over (the backup's side of connection synchronisation).
//!
//! A conn is taken if its server is one here; method and state of that server are this director's own. Conns are used as
//! if they had been made here, so that this director can go on for the other at any time. Never answers.

use std::time::Duration;

use super::Sync;
use super::message::{Record, read};
use crate::base::{ConnId, Consumed, Counted, DestId, DropReason, Endpoint, Instant, Proto};
use crate::conn::{Forwarding, Kind, NewConn, SctpState, TcpState};
use crate::flows::{Flows, TemplateKey};
use crate::router::{Router, Turn};
use crate::wire::{Fragment, L4, Packet, udp};

// The kernel's flags of a conn, as a message carries them.
const METHOD: u32 = 0x0007;
const NAT: u32 = 0;
const INACTIVE: u32 = 0x0100;
const NO_CLIENT_PORT: u32 = 0x0800;
const TEMPLATE: u32 = 0x1000;
const ONE_PACKET: u32 = 0x2000;
/// Of a conn whose master does not say (versions before 1), and as an upper limit against nonsense.
const LIFETIME: u32 = 180;

impl Sync {
    /// A whole packet to the group: a message, or something else.
    pub fn receive<E>(
        &mut self,
        packet: &Packet,
        flows: &mut Flows,
        router: &Router,
        turn: &mut Turn<E>,
    ) -> Result<(), DropReason> {
        let Some(backup) = &self.backup else { return Err(DropReason::NotForUs) };
        let (port, syncid) = (backup.options.port, backup.options.syncid);
        let ip = &packet.ip;
        if !matches!(ip.l4, L4::Udp { dport, .. } if dport == port) || ip.fragment != Fragment::Whole {
            return Err(DropReason::NotForUs);
        }
        let payload = udp::payload(packet.buf, ip).ok_or(DropReason::BadSync)?;
        if payload.get(1).is_some_and(|id| syncid != 0 && *id != syncid) {
            return Err(DropReason::NotForUs);
        }
        for record in read(payload, syncid).map_err(|_| DropReason::BadSync)? {
            let record = record.map_err(|_| DropReason::BadSync)?;
            if let Some(id) = take(&record, flows, router, turn.now) {
                self.note_heard(id, flows.conns.get(id).state(), flows);
            }
        }
        turn.consume(Consumed::Sync);
        Ok(())
    }
}

/// Takes a conn or template; what cannot be one, or has no server here, is passed over.
fn take(record: &Record, flows: &mut Flows, router: &Router, now: Instant) -> Option<ConnId> {
    let template = record.flags & TEMPLATE != 0;
    let contradicts = record.flags & ONE_PACKET != 0 || (template && record.flags & NO_CLIENT_PORT != 0);
    let known_engine = record.engine.is_none_or(|(name, _)| name == "sip");
    if contradicts || !known_engine || !is_state(record) {
        return None;
    }
    let id = match known_conn(record, template, flows) {
        Some(id) if template || flows.conns.real(flows.conns.get(id)) == record.real => {
            take_activity(id, record, flows);
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

fn known_conn(record: &Record, template: bool, flows: &Flows) -> Option<ConnId> {
    if !template {
        return flows.conns.find_flow(record.proto, record.client, record.virt);
    }
    match record.engine {
        Some((_, call)) => flows.calls.find(&template_key(record), call),
        None => flows.conns.find_template(record.proto, record.client, record.virt),
    }
}

/// The dest that a record means: with the port of the record or, for marks, with any, and the other way round.
fn dest_of(record: &Record, flows: &Flows) -> Option<DestId> {
    let service = flows.services.find_marked(record.mark, record.proto, record.virt)?;
    let at = |port| flows.services.find_dest(service, Endpoint::new(record.real.addr, port));
    let any_first = record.mark != 0 && record.flags & METHOD != NAT;
    let ports = if any_first { [0, record.real.port] } else { [record.real.port, 0] };
    ports.into_iter().find_map(at)
}

/// Makes the conn; it counts at its dest as the master says, and as nobody's new conn.
fn new_conn(record: &Record, flows: &mut Flows, router: &Router, now: Instant) -> Option<ConnId> {
    let template = record.flags & TEMPLATE != 0;
    let dest = dest_of(record, flows)?;
    let forwarding = flows.forwarding(dest);
    if forwarding == Forwarding::FullNat && !template {
        // Its local endpoint is not told.
        return None;
    }
    let real = record.real.addr;
    let kind = match template {
        true => Kind::Template { timeout: lifetime(record) },
        false if real.is_loopback() || flows.services.owns(real) || router.owns(real) => Kind::LocalFlow,
        false => Kind::Flow,
    };
    let new = NewConn {
        proto: record.proto,
        client: record.client,
        virt: record.virt,
        real: flows.conns.intern(real)?,
        dport: record.real.port,
        local: None,
        dest,
        forwarding,
        kind,
    };
    let id = flows.insert(&new, now, Duration::from_secs(u64::from(lifetime(record)))).ok()?;
    flows.conns.get_mut(id).set_synced();
    if template {
        flows.services.bind_template(dest);
        if let Some((_, call)) = record.engine {
            flows.conns.hide(id);
            flows.calls.remember(&template_key(record), call, id);
        }
        return Some(id);
    }
    flows.services.bind(dest);
    take_activity(id, record, flows);
    Some(id)
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
    flows.conns.get_mut(id).in_pkts = flows.settings.sync_threshold;
    flows.conns.set_state(id, record.state as u8);
    let lifetime = lifetime(record);
    if flows.conns.get(id).is_template() {
        flows.conns.set_template_timeout(id, lifetime);
    }
    flows.conns.rearm(id, now, Duration::from_secs(u64::from(lifetime)));
}

fn lifetime(record: &Record) -> u32 {
    if record.timeout == 0 { LIFETIME } else { record.timeout.min(crate::service::limits::LONGEST) }
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
