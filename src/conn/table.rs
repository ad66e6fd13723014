//! The flow table: records in slots, an index to find them, a wheel for their timers.
//!
//! Everything is reserved at the start; a full table refuses.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use super::addresses::AddrId;
use super::clients::{Clients, Step};
use super::index::FlowIndex;
use super::key::Secret;
use super::life::{Life, LifeEvent};
use super::memory::Memory;
use super::new_conn::NewConn;
use super::record::Conn;
use super::records::Records;
use super::shares::Shares;
use super::wheel::{Wheel, tick_at};
use crate::base::{Array, ConnId, Endpoint, Instant, siphash13};

/// The table is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// All live conns.
pub struct ConnTable {
    pub(super) records: Records,
    pub(super) index: FlowIndex,
    pub(super) wheel: Wheel,
    pub(super) max: usize,
    pub(super) live: usize,
    pub(super) half_open: usize,
    pub(super) shares: Shares,
    /// Where the search for a conn that makes room goes on.
    pub(super) hand: usize,
    pub(super) one_way: usize,
    pub(super) without_port: usize,
    /// What each end expects next, by slot: for flows that are reset when they expire. Empty until there is one.
    pub(super) expected: Vec<[u32; 2]>,
    /// For the sequence numbers of FULL-NAT.
    pub(super) sequence_key: [u64; 2],
    /// For a program that answers SYNs, where there is one.
    pub(super) clients: Option<Clients>,
    pub(super) life: Life,
}

impl ConnTable {
    /// Room for `max` conns, reserved now, which are found by a secret.
    pub fn new(max: usize, secret: Secret) -> ConnTable {
        ConnTable::over(Memory::new(max, secret), Instant::START)
    }

    /// A table without conns, whatever the memory holds.
    pub(super) fn over(memory: Memory, now: Instant) -> ConnTable {
        let max = memory.records.len();
        ConnTable::over_part(memory, max, now)
    }

    /// The same over memory that ends before the last of `max` slots: it takes no conn.
    pub(super) fn over_part(memory: Memory, max: usize, now: Instant) -> ConnTable {
        let secret = memory.secret;
        ConnTable {
            records: Records::over(memory, max),
            index: FlowIndex::new(max, secret),
            wheel: Wheel::starting_at(max, now),
            max,
            live: 0,
            half_open: 0,
            shares: Shares::new([siphash13(secret, [2]), siphash13(secret, [3])]),
            hand: 0,
            one_way: 0,
            without_port: 0,
            expected: Vec::new(),
            sequence_key: [siphash13(secret, [4]), siphash13(secret, [5])],
            clients: None,
            life: Life::new(),
        }
    }

    /// The index of a real or local address, for `NewConn`.
    pub fn intern(&mut self, addr: IpAddr) -> Option<AddrId> {
        self.records.addresses.intern(addr)
    }

    /// The address behind an index.
    pub fn address(&self, id: AddrId) -> IpAddr {
        self.records.addresses.packed(id).into()
    }

    /// Live conns.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Slots that were ever used; `scan` looks at so many.
    pub fn slots(&self) -> usize {
        self.records.all().len()
    }

    /// Where its large arrays lie: every packet of a flow that was not seen lately touches them at random.
    pub fn memory(&self) -> [Range<usize>; 3] {
        [self.records.memory(), self.index.memory(), self.wheel.memory()]
    }

    /// A live conn.
    #[inline]
    pub fn get(&self, id: ConnId) -> &Conn {
        &self.records[id]
    }

    /// The conn in that slot, if there is such a slot and a conn in it.
    pub fn live(&self, id: ConnId) -> Option<&Conn> {
        self.records.all().get(id.index()).filter(|conn| conn.is_live())
    }

    /// A live conn, to move its state.
    #[inline]
    pub fn get_mut(&mut self, id: ConnId) -> &mut Conn {
        &mut self.records[id]
    }

    /// Real server endpoint of a conn.
    pub fn real(&self, conn: &Conn) -> Endpoint {
        Endpoint::new(self.address(conn.real()), conn.dport())
    }

    /// The server whose pool of local ports a FULL-NAT conn's is from.
    pub fn pool(&self, conn: &Conn) -> Endpoint {
        Endpoint::new(self.address(conn.real()), conn.port_of_pool())
    }

    /// Local endpoint of a FULL-NAT conn.
    pub fn local(&self, conn: &Conn) -> Option<Endpoint> {
        conn.local().map(|(addr, port)| Endpoint::new(self.address(addr), port))
    }

    /// Adds a conn with a deadline. A newer conn with the same reply key hides the older one's replies.
    pub fn insert(&mut self, new: &NewConn, now: Instant, timeout: Duration) -> Result<ConnId, Full> {
        let mut conn = Conn::new(new);
        conn.deadline = tick_at(now + timeout);
        let id = self.records.add(conn).ok_or(Full)?;
        if let Some(expected) = self.expected.get_mut(id.index()) {
            *expected = [0; 2];
        }
        self.link(id);
        self.records.seal(id);
        self.wheel.insert(id, conn.deadline);
        self.count_in(&conn);
        self.life.add(LifeEvent::Opened(id));
        Ok(id)
    }

    /// Makes a record findable.
    pub(super) fn link(&mut self, id: ConnId) {
        if let Some(older) = self.index.link(&mut self.records, id) {
            self.disturb(older);
        }
        self.one_way += usize::from(is_one_way_flow(&self.records[id]));
        self.without_port += usize::from(self.records[id].lacks_port());
        self.count_client(id, Step::Comes);
    }

    /// The opposite of `link`.
    pub(super) fn unlink(&mut self, id: ConnId) {
        self.index.unlink(&mut self.records, id);
        self.one_way -= usize::from(is_one_way_flow(&self.records[id]));
        self.without_port -= usize::from(self.records[id].lacks_port());
        self.count_client(id, Step::Goes);
    }

    /// Counts clients in these places from now on.
    pub fn count_clients(&mut self, places: Array<u8>) {
        let found = self.records.all().iter().filter(|conn| conn.is_live() && !conn.is_hidden());
        self.clients = Some(Clients::of(places, self.client_key(), found));
    }

    #[inline]
    fn count_client(&mut self, id: ConnId, step: Step) {
        if let Some(clients) = &mut self.clients {
            clients.note(&self.records[id], step);
        }
    }

    /// True while listeners have something to be told.
    #[inline(always)]
    pub fn has_events(&self) -> bool {
        self.life.has_events()
    }

    /// The next thing that happened to a conn, in order; every listener is told of it before the next packet.
    #[inline]
    pub fn next_event(&mut self) -> Option<LifeEvent> {
        self.life.next()
    }

    /// Takes a conn out. Its dest's counters and local port are the caller's.
    pub fn remove(&mut self, id: ConnId) {
        self.wheel.remove(id);
        self.forget(id);
    }

    pub(super) fn forget(&mut self, id: ConnId) {
        let conn = self.records[id];
        debug_assert!(conn.is_live() && !conn.controls());
        if conn.is_fast() {
            self.life.add(LifeEvent::LeftAtEnd(id));
        }
        if !conn.is_hidden() {
            self.unlink(id);
        }
        if let Some(control) = conn.control() {
            self.records.count_controlled(control, -1);
        }
        self.records.remove(id);
        self.count_out(&conn);
        self.life.add(LifeEvent::Ended(id));
    }
}

/// A flow whose replies would come from the virtual address, if they came here at all.
pub(super) fn is_one_way_flow(conn: &Conn) -> bool {
    !conn.rewrites_replies() && !conn.is_template()
}
