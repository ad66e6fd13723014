//! A flow table that an earlier process has left: what belongs to its conns outside of it is made anew.
//!
//! Never looks at a packet.

use super::Flows;
use crate::base::{DestId, Instant};
use crate::conn::{Conn, ConnTable, Draft as ConnDraft, Memory, Restored, Since};
use crate::forward::LocalPorts;
use crate::service::Service;

/// What takes long to make of a flow table, from a copy of one that another process still works with.
pub struct Draft {
    /// What finds, ends and counts conns.
    pub conns: ConnDraft,
    /// The local ports that they have.
    pub ports: LocalPorts,
}

impl Draft {
    /// Of a copy of the slots in use of a table of `max`; ports are handed out in the order of `like`.
    pub fn of(copy: Memory, max: usize, now: Instant, like: &LocalPorts) -> Draft {
        let conns = ConnDraft::of(copy, max, now);
        let mut ports = like.emptied();
        ports.pass_time(now);
        let table = conns.table();
        table.iter().for_each(|(_, conn)| claim(&mut ports, table, conn));
        Draft { conns, ports }
    }

    /// The same of a later copy, for less.
    pub fn again(self, copy: Memory, now: Instant) -> Draft {
        let (conns, since) = self.conns.again(copy, now);
        let mut ports = self.ports;
        claim_since(&mut ports, conns.table(), &since);
        Draft { conns, ports }
    }
}

impl Flows {
    /// An empty table of the size that the settings say, in place of a smaller one.
    pub fn make_table(&mut self, key: [u64; 2]) {
        debug_assert!(self.conns.len() == 0);
        self.conns = ConnTable::new(self.settings.max_flows, key);
    }

    /// Goes on with these conns, whose dests are there, and with the ports of the draft that there was. There were none before.
    pub fn adopt(&mut self, conns: ConnTable, restored: &Restored, ports: Option<LocalPorts>) {
        debug_assert!(self.conns.len() == 0);
        for (slot, bound) in restored.bound.iter().enumerate() {
            self.services.bind_all(DestId(slot as u32), bound);
        }
        self.synced = restored.synced;
        match (&restored.since, ports) {
            (Some(since), Some(ports)) => {
                self.ports = ports;
                claim_since(&mut self.ports, &conns, since);
            }
            _ if restored.with_local > 0 => conns.iter().for_each(|(_, conn)| claim(&mut self.ports, &conns, conn)),
            _ => {}
        }
        if self.services.iter().any(Service::limits_conns_of_clients) {
            conns.iter().filter(|(_, conn)| !conn.is_template()).for_each(|(id, conn)| self.count_at_client(id, conn));
        }
        self.conns = conns;
    }
}

fn claim_since(ports: &mut LocalPorts, conns: &ConnTable, since: &Since) {
    since.gone.iter().for_each(|conn| give_back(ports, conns, conn));
    since.come.iter().for_each(|(id, _)| claim(ports, conns, conns.get(*id)));
}

fn claim(ports: &mut LocalPorts, conns: &ConnTable, conn: &Conn) {
    if let Some(local) = conns.local(conn) {
        ports.claim(local.addr, conn.proto(), conns.pool(conn), local.port);
    }
}

fn give_back(ports: &mut LocalPorts, conns: &ConnTable, conn: &Conn) {
    if let Some(local) = conns.local(conn) {
        ports.give_back(local.addr, conn.proto(), conns.pool(conn), local.port);
    }
}
