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
//! answers  SYNs that it answers in the director's place
//! ```
//! Conns that have left ask again with their next packets. Never decides what becomes of a packet.

mod admit;
mod answers;
mod counted;
mod leave;
mod places;
mod recall;

#[cfg(any(test, feature = "testing"))]
pub use admit::joined;

use std::time::Duration;

use super::Director;
use super::standby::Standby;
use crate::alg::{Proxy, Toa};
use crate::base::{ConnId, Instant, Medium};
use crate::fastpath::{FastPath, Kernel};
use crate::flows::Flows;
use crate::router::{Egress, Router, Turn};
use crate::sync::Sync;
use answers::Answers;

/// All entries are read once in this time ...
const ROUND: Duration = Duration::from_secs(1);
/// ... or, where there are many, so many conns in the time that follows.
const PAUSE: Duration = Duration::from_millis(10);

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
    /// Packets of each conn when there were entries of another process and no packet had come here.
    counts: Vec<u32>,
    /// Packets of conns that other directors may be told of.
    unsaid: Vec<(ConnId, u64)>,
    answers: Answers,
}

impl Watch {
    /// When entries are read, or taken away, next.
    pub(in crate::director) fn due(&self, path: &FastPath) -> Option<Instant> {
        if !self.leaving.is_empty() || path.has_remains() {
            return Some(Instant::default());
        }
        (path.len() > 0 || self.answers.given).then_some(self.due)
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
    proxy: &'a Proxy,
    toa: &'a Toa,
}

impl Director {
    /// Which conns the kernel forwards.
    pub fn fast(&mut self) -> Fast<'_> {
        let Director { fast, watch, flows, router, standby, sync, proxy, toa, .. } = self;
        Fast { path: fast, watch, flows, router, standby, sync, proxy, toa }
    }
}

impl Fast<'_> {
    /// There is a program in the kernel from now on, which forwards nothing as long as there are entries that another process
    /// has left. `epoch` is the moment of the kernel's clock that is 0 here, in milliseconds.
    pub fn start(&mut self, kernel: Box<dyn Kernel>, epoch: u64) {
        self.path.start(kernel, epoch);
        self.watch.was_active = self.is_active();
        self.station();
        self.go_on_leaving();
        self.note_counts();
    }

    /// True while this director forwards packets of conns.
    fn is_active(&self) -> bool {
        self.standby.is_active() && !self.standby.leaves_conns(self.sync, &self.flows.settings)
    }

    /// Lets time pass: some entries are read, and what followed from earlier readings is told.
    pub(in crate::director) fn pass_time(&mut self, turn: &mut Turn<impl Egress>) {
        if !self.path.is_there() {
            return;
        }
        self.go_on_leaving();
        if (self.path.len() > 0 || self.watch.answers.given) && self.watch.due <= turn.now {
            self.read_answered(turn.now);
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
