//! The fast path's place in the director: which conns the kernel forwards, and when it stops.
//!
//! ```text
//! offer    a packet of a conn asks, now and then                          path.rs
//! admit    what the conn does now becomes its entries, after all that was read is written
//! leave    its state moves, it ends, another conn takes its replies ...   conn: LifeEvent::Left
//!          its dest is edited, removed, failed, drained                   services: upset
//!          links, routes, sizes, virtual addresses, standby change        all conns leave, many in parts
//! heed     a neighbour has another MAC, or none                           one write for all its conns
//! credit   what the kernel has counted goes where packets are counted here
//! ```
//! Conns that have left ask again with their next packets. Never decides what becomes of a packet.

mod admit;
mod counted;
mod leave;
mod places;

use std::collections::BTreeMap;
use std::time::Duration;

use super::Director;
use super::standby::Standby;
use crate::base::{ConnId, Instant, Medium, Tuple};
use crate::fastpath::abi::{Counters, Entry, Key};
use crate::fastpath::{FastPath, Kernel, Passed};
use crate::flows::Flows;
use crate::router::{Egress, Router, Turn};
use crate::sync::Sync;

/// All entries are read once in this time ...
const ROUND: Duration = Duration::from_secs(1);
/// ... or, where there are many, so many conns in the time that follows.
const PAUSE: Duration = Duration::from_millis(40);

/// When the director does what for the conns that the kernel forwards.
#[derive(Default)]
pub(in crate::director) struct Watch {
    /// When entries are read next.
    due: Instant,
    /// How often links and routes, and neighbours, had changed when the kernel was told.
    told: (u64, u64),
    /// Whether this director had its addresses then.
    was_active: bool,
    /// Conns that are to leave the kernel, which forwards nothing as long as there are any.
    leaving: Vec<ConnId>,
    /// Packets of conns that other directors may be told of.
    unsaid: Vec<(ConnId, u64)>,
}

impl Watch {
    /// When entries are read, or taken away, next.
    pub(in crate::director) fn due(&self, path: &FastPath) -> Option<Instant> {
        if !self.leaving.is_empty() {
            return Some(Instant::default());
        }
        (path.len() > 0).then_some(self.due)
    }
}

/// Those parts of a director that say what the kernel does.
pub struct Fast<'a> {
    path: &'a mut FastPath,
    watch: &'a mut Watch,
    flows: &'a mut Flows,
    router: &'a mut Router,
    standby: &'a Standby,
    sync: &'a mut Sync,
}

impl Director {
    /// Which conns the kernel forwards.
    pub fn fast(&mut self) -> Fast<'_> {
        let Director { fast, watch, flows, router, standby, sync, .. } = self;
        Fast { path: fast, watch, flows, router, standby, sync }
    }
}

impl Fast<'_> {
    /// There is a program in the kernel from now on. Conns that it forwards for another process, which has ended, leave it;
    /// what it has counted of them is theirs. `epoch` is the moment of the kernel's clock that is 0 here, in milliseconds.
    pub fn start(&mut self, kernel: Box<dyn Kernel>, epoch: u64) {
        self.path.start(kernel, epoch);
        let mut left = Vec::new();
        self.path.forget_all(|key, entry| left.push((key, entry)));
        let mut counted: BTreeMap<u32, (u32, [Counters; 2])> = BTreeMap::new();
        for (key, entry) in left {
            if let Some(id) = self.conn_of(&key, &entry) {
                let (born, [request, reply]) = counted.entry(id.0).or_default();
                *born = entry.born;
                *request = request.and(&entry.request.counters);
                *reply = reply.and(&entry.reply.counters);
            }
        }
        for (id, (born, counters)) in counted {
            self.recall(ConnId(id), born, counters);
        }
        self.watch.was_active = self.is_active();
        self.station();
    }

    /// True while this director forwards packets of conns.
    fn is_active(&self) -> bool {
        self.standby.is_active() && !self.standby.leaves_conns(self.sync, &self.flows.settings)
    }

    /// The conn of an entry that another process has made.
    fn conn_of(&self, key: &Key, entry: &Entry) -> Option<ConnId> {
        // The second entry of FULL-NAT has replies alone.
        let is_second = entry.request.neighbour == 0;
        let (src, dst) = if is_second { (entry.server, key.endpoint) } else { (key.endpoint, entry.virt) };
        self.flows.conns.lookup(&Tuple { proto: key.proto, src, dst }).map(|(id, _)| id)
    }

    /// Counts what the kernel has counted of a conn and another process has not. Of its requests the conn's own number says
    /// how many that had; all else is taken to be in the same proportion.
    fn recall(&mut self, id: ConnId, born: u32, [request, reply]: [Counters; 2]) {
        let conn = self.flows.conns.get(id);
        let known = u64::from(conn.in_pkts.wrapping_sub(born));
        let (left, all) = (request.packets.saturating_sub(known), request.packets);
        let part = |count: u64| {
            let part = if all == 0 { count } else { (u128::from(count) * u128::from(left) / u128::from(all)) as u64 };
            part.min(count)
        };
        let news = |way: Counters| Counters { packets: part(way.packets), bytes: part(way.bytes), ..way };
        self.credit(&Passed { id, dest: conn.dest, request: news(request), reply: news(reply) });
    }

    /// Lets time pass: some entries are read, and what followed from earlier readings is told.
    pub(in crate::director) fn pass_time(&mut self, turn: &mut Turn<impl Egress>) {
        if !self.path.is_there() {
            return;
        }
        self.go_on_leaving();
        if self.path.len() > 0 && self.watch.due <= turn.now {
            self.watch.due = turn.now + if self.read_some() { ROUND } else { PAUSE };
            for (link, addr) in self.path.take_used_hops() {
                if self.router.medium(link) == Medium::Ethernet {
                    self.router.keep_alive(link, addr, turn);
                }
            }
        }
        for (id, count) in std::mem::take(&mut self.watch.unsaid) {
            if self.flows.conns.live(id).is_some() {
                self.sync.master.passed((id, count), self.flows, self.router, turn);
            }
        }
        self.heed();
        self.account(turn);
    }
}
