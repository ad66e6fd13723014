//! The director: one frame in, frames out, every one accounted for.
//!
//! Joins the rooms: the packet's path from one to the next is in `path`, and here is what all of them do as time passes.
//! Sans-I/O: frames, time and the way out are arguments. Never reads a clock, a socket or a random source.

mod admin;
mod batch;
mod begin;
mod expiry_resets;
mod fast;
mod frame;
mod help;
mod icmp;
mod keep_alive;
mod kept;
mod kernel_quirks;
mod martians;
mod options;
mod own_probes;
mod owner;
mod path;
mod presence;
mod standby;
mod syn_cookies;
mod syn_proxy;
mod told;
mod transit;
mod tunnel_gso;

use std::net::IpAddr;

pub use crate::settings::Settings;
pub use batch::Batch;
#[cfg(any(test, feature = "testing"))]
pub use fast::joined;
pub use kept::{Kept, end_untold, kept_of, recall_young};
pub use own_probes::{Answer, OwnProbe, OwnProbes};

use crate::alg::{Ftp, Proxy, SipTcp, Toa};
use crate::base::{Chance, Instant};
use crate::conn::{Due, LifeEvent};
use crate::fastpath::FastPath;
use crate::flows::Flows;
use crate::outbound::Outbound;
use crate::router::{Egress, Router, Turn};
use crate::stack::{Host, Stack};
use crate::sync::{Parting, Sync};
use crate::vrrp::Vrrp;
use fast::Watch;
use keep_alive::KeepAlive;
use owner::Ownership;
use standby::Standby;

/// Everything between the links.
pub struct Director {
    /// Links, routes, neighbours.
    pub router: Router,
    /// Services, conns, and what binds them.
    pub flows: Flows,
    stack: Stack,
    ftp: Ftp,
    proxy: Proxy,
    sip: SipTcp,
    /// Options by which servers learn their clients.
    pub toa: Toa,
    /// Conns of which other directors are told, or tell.
    pub sync: Sync,
    /// Whether another director works.
    pub standby: Standby,
    /// What packets of no service may do.
    pub outbound: Outbound,
    /// Health probes by the director's own packets.
    pub own_probes: OwnProbes,
    /// Virtual routers: which addresses this director has now.
    pub vrrp: Vrrp,
    /// Conns that the kernel forwards.
    pub fast: FastPath,
    watch: Watch,
    keep_alive: KeepAlive,
}

impl Director {
    /// A director without links and services.
    pub fn new(settings: Settings, chance: Chance) -> Director {
        let mut router = Router::default();
        router.start_ids_at(chance.seed as u16);
        router.path_mtus.discovery = settings.pmtu_disc;
        let stack = Stack::new(settings.icmp_rate, chance.seed);
        let flows = Flows::new(settings, chance);
        let (ftp, proxy, sync, standby) = (Ftp::default(), Proxy::default(), Sync::default(), Standby::default());
        let (outbound, own_probes, vrrp) = (Outbound::default(), OwnProbes::default(), Vrrp::default());
        let (toa, fast, watch) = (Toa::default(), FastPath::default(), Watch::default());
        let keep_alive = KeepAlive::default();
        Director {
            router,
            flows,
            stack,
            ftp,
            proxy,
            sip: SipTcp::default(),
            toa,
            sync,
            standby,
            outbound,
            own_probes,
            vrrp,
            fast,
            watch,
            keep_alive,
        }
    }

    /// To whom packets belong.
    #[inline(always)]
    fn ownership(&self) -> Ownership<'_> {
        Ownership { flows: &self.flows, router: &self.router }
    }

    /// True for every address that the director answers for.
    pub fn owns(&self, addr: IpAddr) -> bool {
        self.ownership().owns(addr)
    }

    fn host(&mut self) -> Host<'_> {
        Host { services: &self.flows.services, router: &mut self.router }
    }

    /// What has happened to conns is told to those who keep something beside them, in one place.
    #[inline(always)]
    fn tell_listeners(&mut self) {
        if self.flows.conns.has_events() {
            tell_events(self);
        }
    }

    /// Lets time pass: conns expire, neighbours are asked again, caches are cleaned.
    pub fn tick(&mut self, turn: &mut Turn<impl Egress>) {
        let now = turn.now;
        self.presence().judge_standby(now);
        self.fast().pass_time(turn);
        self.asking().heed_answers(turn);
        while let Some(due) = self.flows.expire_one(now) {
            match due {
                Due::Over(id, conn) => {
                    expiry_resets::reset_ends((id, &conn), (&self.flows, &self.standby), &mut self.router, turn);
                }
                Due::Fast(id) => self.fast().leave(id),
                Due::Quiet(id) => self.asking().ask_ends(id, turn),
                Due::Prolonged(id) => self.sync.master.prolonged(id, &mut self.flows, &mut self.router, turn),
            }
            self.tell_listeners();
        }
        syn_proxy::repeat_handshakes(self, turn);
        help::send_waiting(self, turn);
        self.sync.send_due(&self.flows, &mut self.router, turn);
        let Director { flows, standby, router, .. } = self;
        flows.sweep(now, |flows, id, conn| expiry_resets::reset_both((id, conn), (flows, standby), router, turn));
        self.flows.defend(now);
        self.outbound.expire(&mut self.flows.ports, now);
        self.flows.ports.pass_time(now);
        self.tell_listeners();
        let mut host = Host { services: &self.flows.services, router: &mut self.router };
        self.stack.expire_fragments(&mut host, turn);
        self.router.tick(turn);
        self.presence().tick_vrrp(turn);
        self.errors().tell_of_undelivered(turn);
        self.tell_listeners();
        told::tell_directors(self, turn);
        self.flows.services.read_meters(now);
        self.flows.services.empty_trash(now);
        self.stack.announcements.send_due(&mut self.router, turn);
        self.stack.listeners.send_due(&mut self.router, turn);
        self.fast().heed();
    }

    /// The end of the run: whoever stands by takes over, and what waits is dropped by name.
    pub fn shut_down(&mut self, turn: &mut Turn<impl Egress>) {
        self.fast().read_all();
        self.fast().account(turn);
        self.sync.part(Parting::News, &self.flows, &mut self.router, turn);
        told::tell_directors(self, turn);
        self.sync.master.flush(&mut self.router, turn);
        self.vrrp.shut_down(&mut self.router, turn);
        self.router.shut_down(turn);
    }

    /// When `tick` has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let flows = &self.flows;
        let deadlines = [
            flows.conns.next_deadline(),
            self.router.next_deadline(),
            self.stack.next_deadline(),
            flows.sweep_due(),
            flows.defence_due(),
            self.outbound.next_due(),
            self.sync.due(),
            self.vrrp.due(),
            flows.services.meters_due(),
            flows.services.trash_due(),
            self.watch.due(&self.fast),
            self.keep_alive.due(),
            self.proxy.due(),
            flows.splices.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The conn that a packet of this flow belongs to now, for tests and explanations.
    #[cfg(any(test, feature = "testing"))]
    pub fn conn_of(&self, tuple: &crate::base::Tuple) -> Option<crate::base::ConnId> {
        self.flows.conns.lookup(tuple).map(|(id, _)| id)
    }
}

/// Who listens to what.
#[inline(never)]
fn tell_events(director: &mut Director) {
    while let Some(event) = director.flows.conns.next_event() {
        match event {
            LifeEvent::Opened(_) => director.sync.on(event, &director.flows.conns),
            LifeEvent::Moved(..) => {
                director.flows.note_answered(event);
                director.flows.refusals.on(event, &director.flows.conns);
            }
            LifeEvent::Left(_) | LifeEvent::LeftAtEnd(_) => director.fast().on(event),
            LifeEvent::Ended(_) => {
                director.ftp.on(event);
                director.proxy.on(event);
                director.toa.on(event);
                director.sip.on(event);
                director.flows.splices.on(event);
            }
        }
    }
}
