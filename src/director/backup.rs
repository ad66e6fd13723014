//! Taking over what another director tells of its conns (IPVS connection synchronisation, the backup's side).
//!
//! A conn is taken if its server is one here; method and state of that server are this director's own. Conns are used as
//! if they had been made here, so that this director can go on for the other at any time. Never answers.

use std::time::Duration;

use super::Director;
use super::ftp::Ftp;
use super::persist::TemplateKey;
use crate::base::Consumed;
use crate::base::{ConnId, Counted, DestId, DropReason, Instant, LinkId, Proto};
use crate::conn::{Forwarding, Kind, NewConn, SctpState, Synced, TcpState};
use crate::wire::sync::{Record, read};
use crate::wire::{Fragment, Ip, L4, PacketBuf, Reassembly, udp};

// The kernel's flags of a conn, as a message carries them.
const METHOD: u32 = 0x0007;
const NAT: u32 = 0;
const INACTIVE: u32 = 0x0100;
const NO_CLIENT_PORT: u32 = 0x0800;
const TEMPLATE: u32 = 0x1000;
const ONE_PACKET: u32 = 0x2000;
/// Of a conn whose master does not say (versions before 1), and as an upper limit against nonsense.
const LIFETIME: u32 = 180;
const LONGEST: u32 = 31 * 24 * 3600;

impl Director {
    /// True for a packet to the group that this director listens to.
    pub(super) fn hears(&self, link: LinkId, ip: &Ip) -> bool {
        let Some(backup) = &self.sync.backup else { return false };
        backup.link == link && ip.dst == backup.options.group && ip.proto == Proto::UDP
    }

    /// A packet to the group: a message, a part of one, or something else.
    pub(super) fn take_message(&mut self, buf: &mut PacketBuf, ip: &Ip, now: Instant) -> Result<(), DropReason> {
        let mut ip = *ip;
        if Reassembly::is_piece(buf.frame(), &ip) {
            match self.join(buf, &ip, now)? {
                Some(whole) => ip = whole,
                None => return Ok(()),
            }
        }
        let Some(backup) = &self.sync.backup else { return Err(DropReason::NotForUs) };
        let (port, syncid) = (backup.options.port, backup.options.syncid);
        if !matches!(ip.l4, L4::Udp { dport, .. } if dport == port) || ip.fragment != Fragment::Whole {
            return Err(DropReason::NotForUs);
        }
        let payload = udp::payload(buf, &ip).ok_or(DropReason::BadSync)?;
        if payload.get(1).is_some_and(|id| syncid != 0 && *id != syncid) {
            return Err(DropReason::NotForUs);
        }
        for record in read(payload, syncid).map_err(|_| DropReason::BadSync)? {
            self.take_record(&record.map_err(|_| DropReason::BadSync)?, now);
        }
        self.router.ledger.consume(Consumed::Sync);
        Ok(())
    }

    /// Takes a conn or template; what cannot be one, or has no server here, is passed over.
    fn take_record(&mut self, record: &Record, now: Instant) {
        let template = record.flags & TEMPLATE != 0;
        let contradicts = record.flags & ONE_PACKET != 0 || (template && record.flags & NO_CLIENT_PORT != 0);
        let known_engine = record.engine.is_none_or(|(name, _)| name == "sip");
        if contradicts || !known_engine || !is_state(record) {
            return;
        }
        let found = self.known_conn(record, template);
        let id = match found {
            Some(id) if template || self.conns.real(self.conns.get(id)) == record.real => {
                self.take_activity(id, record);
                Some(id)
            }
            // An older conn to another server is not worth an inactive one.
            Some(_) if record.flags & INACTIVE != 0 => None,
            Some(other) => {
                self.replace(other);
                self.new_conn(record, template, now)
            }
            None => self.new_conn(record, template, now),
        };
        if let Some(id) = id {
            self.take_state(id, record, now);
        }
    }

    fn known_conn(&self, record: &Record, template: bool) -> Option<ConnId> {
        if !template {
            return self.conns.find_flow(record.proto, record.client, record.virt);
        }
        match record.engine {
            Some((_, call)) => self.calls.find(&template_key(record), call),
            None => self.conns.find_template(record.proto, record.client, record.virt),
        }
    }

    /// The dest that a record means: with the port of the record or, for marks, with any, and the other way round.
    fn dest_of(&self, record: &Record) -> Option<DestId> {
        let service = self.services.find_marked(record.mark, record.proto, record.virt)?;
        let at = |port| self.services.find_dest(service, crate::base::Endpoint::new(record.real.addr, port));
        let any_first = record.mark != 0 && record.flags & METHOD != NAT;
        let ports = if any_first { [0, record.real.port] } else { [record.real.port, 0] };
        ports.into_iter().find_map(at)
    }

    /// Makes the conn; it counts at its dest as the master says, and as nobody's new conn.
    fn new_conn(&mut self, record: &Record, template: bool, now: Instant) -> Option<ConnId> {
        let dest = self.dest_of(record)?;
        let forwarding = self.forwarding(dest);
        if forwarding == Forwarding::FullNat && !template {
            // Its local endpoint is not told.
            return None;
        }
        let kind = match template {
            true => Kind::Template { timeout: lifetime(record) },
            false if self.is_here(record.real.addr) => Kind::LocalFlow,
            false => Kind::Flow,
        };
        let new = NewConn {
            proto: record.proto,
            client: record.client,
            virt: record.virt,
            real: self.conns.intern(record.real.addr)?,
            dport: record.real.port,
            local: None,
            dest,
            forwarding,
            kind,
        };
        let id = self.insert(&new, now, Duration::from_secs(u64::from(lifetime(record)))).ok()?;
        self.conns.get_mut(id).set_synced();
        if template {
            self.services.bind_template(dest);
            if let Some((_, call)) = record.engine {
                self.conns.hide(id);
                self.calls.remember(&template_key(record), call, id);
            }
            return Some(id);
        }
        self.services.bind(dest);
        if Ftp::watches(self.conns.get(id)) {
            self.conns.get_mut(id).set_helped();
        }
        self.take_activity(id, record);
        Some(id)
    }

    /// Counts a conn as its master does.
    fn take_activity(&mut self, id: ConnId, record: &Record) {
        let conn = self.conns.get_mut(id);
        let (dest, before) = (conn.dest, conn.counted());
        let after = Counted::active_if(record.flags & INACTIVE == 0);
        if !conn.is_template() && before != after {
            conn.set_counted(after);
            self.services.recount(dest, before, after);
        }
    }

    fn take_state(&mut self, id: ConnId, record: &Record, now: Instant) {
        let threshold = self.settings.sync_threshold;
        let conn = self.conns.get_mut(id);
        conn.in_pkts = threshold;
        conn.state = record.state as u8;
        let lifetime = lifetime(record);
        if conn.is_template() {
            self.conns.set_template_timeout(id, lifetime);
        }
        let end = now + Duration::from_secs(u64::from(lifetime));
        if self.sync.has_master() {
            *self.conns.synced(id) = Synced { state: record.state as u8, ..Synced::default() };
        }
        self.conns.rearm(id, now, end.since(now));
    }
}

fn lifetime(record: &Record) -> u32 {
    if record.timeout == 0 { LIFETIME } else { record.timeout.min(LONGEST) }
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
