//! A flow table that an earlier process has left: what belongs to its conns outside of it is made anew.
//!
//! Never looks at a packet.

use super::Flows;
use crate::base::Counted;
use crate::conn::ConnTable;

impl Flows {
    /// An empty table of the size that the settings say, in place of a smaller one.
    pub fn make_table(&mut self) {
        debug_assert!(self.conns.len() == 0);
        self.conns = ConnTable::new(self.settings.max_flows, std::hash::RandomState::new());
    }

    /// Goes on with these conns, whose dests are there. There were none before.
    pub fn adopt(&mut self, conns: ConnTable) {
        debug_assert!(self.conns.len() == 0);
        for (id, conn) in conns.iter() {
            if conn.is_template() {
                self.services.bind_template(conn.dest);
                continue;
            }
            self.count_at_client(id, conn);
            self.services.bind(conn.dest);
            if conn.counted() == Counted::Active {
                self.services.recount(conn.dest, Counted::Inactive, Counted::Active);
            }
            if let Some(local) = conns.local(conn) {
                self.ports.claim(local.addr, conn.proto(), conns.pool(conn), local.port);
            }
        }
        self.conns = conns;
    }
}
