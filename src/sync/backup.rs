//! Another director's conns are taken over (the backup's side of connection synchronisation).
//!
//! Anybody on the link can send such messages. Who is heard is decided here; what a conn may be that they tell of, in `take`.
//! Never answers but in `table`.

use super::Sync;
use super::daemon::Daemon;
use super::message::read;
use super::own::{self, Own};
use super::record::Record;
use super::seal::Opener;
use super::take::take;
use crate::base::{ConnId, Consumed, DropReason, Instant};
use crate::flows::Flows;
use crate::router::{Egress, Router, Turn};
use crate::service::command::SyncOptions;
use crate::wire::{Fragment, L4, Packet, udp};

/// The daemon that listens.
pub(super) struct Listener {
    pub(super) daemon: Daemon,
    opener: Option<Opener>,
}

impl Listener {
    pub(super) fn new(daemon: Daemon) -> Listener {
        let opener = daemon.options.key.as_ref().map(|key| Opener::new(key.0.as_bytes()));
        Listener { daemon, opener }
    }
}

impl Sync {
    /// A whole packet to the group or from a peer: a message, or something else. What is not taken is counted by its reason.
    pub fn receive(
        &mut self,
        packet: &Packet,
        flows: &mut Flows,
        router: &mut Router,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), DropReason> {
        let done = self.hear(packet, flows, router, turn);
        match done {
            Ok(()) => turn.consume(Consumed::Sync),
            Err((why, _)) => self.heard.refuse_message(why, packet.ip.src),
        }
        done.map_err(|(_, reason)| reason)
    }

    fn hear(
        &mut self,
        packet: &Packet,
        flows: &mut Flows,
        router: &mut Router,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), (&'static str, DropReason)> {
        const UNREADABLE: (&str, DropReason) = ("unreadable", DropReason::BadSync);
        let Some(Listener { daemon, opener }) = &mut self.backup else {
            return Err(("no backup", DropReason::NotForUs));
        };
        let SyncOptions { port, syncid, peers, .. } = &daemon.options;
        let (ip, syncid) = (&packet.ip, *syncid);
        if turn.link != daemon.link {
            return Err(("interface", DropReason::NotForUs));
        }
        if !peers.is_empty() && !peers.contains(&ip.src) {
            return Err(("peer", DropReason::NotForUs));
        }
        if !matches!(ip.l4, L4::Udp { dport, .. } if dport == *port) || ip.fragment != Fragment::Whole {
            return Err(("port", DropReason::NotForUs));
        }
        let mut payload = udp::payload(packet.buf, ip).ok_or(UNREADABLE)?;
        if payload.get(1).is_some_and(|id| syncid != 0 && *id != syncid) {
            return Err(("syncid", DropReason::NotForUs));
        }
        match opener {
            Some(opener) => {
                payload = opener.open(payload, ip.src, turn.clock).map_err(|why| (why, DropReason::BadSync))?;
            }
            None if own::is_sealed(payload) => return Err(("key", DropReason::BadSync)),
            None => {}
        }
        let records = read(payload, syncid).map_err(|_| UNREADABLE)?;
        self.heard.message(ip.src, turn.now);
        if let Some(own) = own::read(payload) {
            self.hear_own(own, router, turn);
        }
        // Only these say all that a director knows of a conn.
        let is_whole = matches!(own::read(payload), Some(Own::Conns(_) | Own::Crossed(_)));
        for record in records {
            let record = record.map_err(|_| UNREADABLE)?;
            let taken = self.hear_record(&record, flows, router, turn.now);
            let helped = |id: &ConnId| flows.conns.get(*id).is_helped() || !record.helped.is_nothing();
            if let Some(id) = taken.filter(|id| is_whole && helped(id)) {
                self.heard_helped.push((id, record.helped));
            }
        }
        Ok(())
    }

    fn hear_record(&mut self, record: &Record, flows: &mut Flows, router: &Router, now: Instant) -> Option<ConnId> {
        // Directors that tell each other have the same services; a lone backup's may still come, as in the kernel.
        if self.is_master() && record.mark == 0 && !flows.services.owns(record.virt.addr) {
            self.heard.refuse("address");
            return None;
        }
        self.note_taken(record);
        let taken = take(record, flows, router, now);
        match taken {
            Some(id) => {
                self.heard.record();
                self.master.note_synced(id, flows.conns.get(id).state(), flows);
            }
            None => self.heard.refuse("conn"),
        }
        taken
    }
}
