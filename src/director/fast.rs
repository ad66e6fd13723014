//! The fast path's place in the director: which conns the kernel forwards, and when it stops.
//!
//! ```text
//! offer    a packet of a conn asks, now and then                          path.rs
//! admit    what the conn does now becomes its entries, after all that was read is written
//! leave    its state moves, it ends, another conn takes its replies ...   conn: LifeEvent::Left
//!          its dest is edited, removed, failed, drained                   services: upset
//!          links, routes, sizes, virtual addresses, standby change        all conns leave
//! heed     a neighbour has another MAC, or none                           one write for all its conns
//! credit   what the kernel has counted goes where packets are counted here
//! ```
//! Conns that have left ask again with their next packets. Never decides what becomes of a packet.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Director;
use super::standby::Standby;
use crate::base::{ConnId, DestId, Endpoint, Instant, LinkId, Mac, Medium, Proto, Tuple};
use crate::conn::{Conn, Event, LifeEvent, Side, TcpState};
use crate::fastpath::abi::{Counters, Entry, Key, Neighbour, Station};
use crate::fastpath::{self, Facts, FastPath, Hop, Kernel, Passed};
use crate::flows::Flows;
use crate::forward;
use crate::router::{Egress, Route, Router, Turn};
use crate::sched::Mask;
use crate::service::Stats;
use crate::service::command::{Command, ServiceKey};
use crate::sync::Sync;

/// All entries are read once in this time ...
const ROUND: Duration = Duration::from_secs(1);
/// ... or, where there are many, so many conns in the time that follows.
const PAUSE: Duration = Duration::from_millis(20);
/// So many conns have their counters read before a listing; more are at most a few rounds old.
const READ_BEFORE_LISTS: usize = 65_536;

/// No place for a next hop.
const NONE_LEFT: u32 = u32::MAX;

/// When the director does what for the conns that the kernel forwards.
#[derive(Default)]
pub(super) struct Watch {
    /// When entries are read next.
    due: Instant,
    /// How often links and routes, and neighbours, had changed when the kernel was told.
    told: (u64, u64),
    /// Whether this director had its addresses then.
    was_active: bool,
    /// Packets of conns that other directors may be told of.
    unsaid: Vec<(ConnId, u64)>,
}

impl Watch {
    /// When entries are read next.
    pub(super) fn due(&self, path: &FastPath) -> Option<Instant> {
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

    /// Gives entries to conns that have asked. Called when all that was read is written: an entry that is made before would
    /// let later packets overtake.
    pub fn admit(&mut self, now: Instant) {
        if !self.path.is_asked() {
            return;
        }
        self.heed();
        while let Some(id) = self.path.next_offer() {
            if self.path.len() >= self.flows.settings.fast_flows {
                self.path.refuse("full");
                continue;
            }
            if let Err(why) = self.give_entries(id, now) {
                self.path.refuse(why);
            }
        }
    }

    fn give_entries(&mut self, id: ConnId, now: Instant) -> Result<(), &'static str> {
        let Some(conn) = self.flows.conns.live(id).copied().filter(|conn| !conn.is_fast()) else { return Ok(()) };
        self.check(&conn)?;
        let ends = self.flows.ends(id);
        let there = self.router.route(ends.real.addr).map_err(|_| "route")?;
        let back = ends.method.rewrites_replies().then(|| self.router.route(ends.client().addr));
        let back = back.transpose().map_err(|_| "route")?;
        let largest = forward::largest(&ends, &there, self.router, now).ok_or("route")?;
        let mut facts = Facts {
            proto: conn.proto(),
            request: Hop { neighbour: 0, largest },
            reply: None,
            source: self.router.source(there.link, there.next_hop, ends.real.addr),
            discovery: self.router.path_mtus.discovery,
        };
        // Before places are taken: one that the program cannot forward takes none.
        fastpath::entries(&ends, &facts).map_err(|unfit| unfit.name())?;
        facts.request.neighbour = self.hold(&there).ok_or("neighbours")?;
        let hops = [facts.request.neighbour, back.map_or(Some(0), |route| self.hold(&route)).unwrap_or(NONE_LEFT)];
        if hops[1] == NONE_LEFT {
            self.path.release_hop(hops[0]);
            return Err("neighbours");
        }
        facts.reply = back.map(|route| Hop { neighbour: hops[1], largest: route.mtu });
        let mut entries = fastpath::entries(&ends, &facts).map_err(|unfit| unfit.name())?;
        entries.first.1.born = conn.in_pkts;
        if let Some((_, entry)) = &mut entries.second {
            entry.born = conn.in_pkts;
        }
        if self.path.add(id, conn.dest, &entries, hops).is_ok() {
            self.flows.conns.set_fast(id);
        }
        Ok(())
    }

    /// Whether a conn's packets are forwarded always the same way, and change nothing but counters and its deadline.
    fn check(&self, conn: &Conn) -> Result<(), &'static str> {
        let server = self.flows.services.server(conn.dest);
        let established = match conn.proto() {
            Proto::TCP => TcpState::from_number(conn.state()) == TcpState::Established,
            Proto::UDP => true,
            _ => return Err("protocol"),
        };
        match () {
            () if !self.is_active() || self.router.virtuals.is_away(conn.virt().addr) => Err("standby"),
            () if conn.is_template() || conn.is_hidden() || conn.is_shadowed() || conn.is_synced() => Err("state"),
            () if !established || conn.lacks_port() => Err("state"),
            () if conn.is_helped() => Err("helper"),
            () if conn.is_local() => Err("local"),
            () if !server.available || server.mask != Mask::None => Err("server"),
            () => Ok(()),
        }
    }

    fn hold(&mut self, route: &Route) -> Option<u32> {
        let neighbour = neighbour_of(self.router, self.path, route.link, route.next_hop);
        self.path.hold_hop((route.link, route.next_hop), neighbour)
    }

    /// Something has happened to a conn.
    pub(super) fn on(&mut self, event: LifeEvent) {
        match event {
            LifeEvent::Left(id) => {
                if let Some(passed) = self.path.take(id) {
                    self.credit(&passed);
                }
            }
            LifeEvent::LeftAtEnd(id) => {
                if let Some(passed) = self.path.take(id) {
                    self.count(&passed);
                }
            }
            LifeEvent::Opened(_) | LifeEvent::Moved(..) | LifeEvent::Ended(_) => {}
        }
    }

    /// The kernel is to forward no more packets of a conn; all that it has forwarded is counted.
    pub(super) fn leave(&mut self, id: ConnId) {
        if let Some(passed) = self.path.take(id) {
            self.flows.conns.clear_fast(id);
            self.credit(&passed);
        }
    }

    fn leave_dests(&mut self, is_wanted: impl Fn(DestId) -> bool) {
        self.path.of_dests(is_wanted).into_iter().for_each(|id| self.leave(id));
    }

    /// The same of all conns.
    pub fn leave_all(&mut self) {
        self.leave_dests(|_| true);
    }

    /// An operator's command is about to be carried out: conns whose packets it may send elsewhere, or whose deadlines it
    /// moves, leave the kernel; what it sets to zero is counted before.
    pub(super) fn prepare(&mut self, command: &Command) {
        if self.path.len() == 0 {
            return;
        }
        match command {
            Command::AddService(..) | Command::AddDest(..) | Command::AddLocalAddress(..) => {}
            Command::Zero(_) => self.read_all(),
            Command::EditDest(key, real, options) => {
                let Some(dest) = self.dest(key, *real) else { return };
                if self.flows.services.dest(dest).method != options.method {
                    self.leave_dests(|of| of == dest);
                }
            }
            Command::DeleteDest(key, real) => {
                let Some(dest) = self.dest(key, *real) else { return };
                self.leave_dests(|of| of == dest);
            }
            Command::EditService(key, _) | Command::DeleteService(key) | Command::DeleteLocalAddress(key, _) => {
                self.leave_service(key);
            }
            Command::Clear | Command::SetTimeouts { .. } | Command::StartDaemon(..) | Command::StopDaemon(_) => {
                self.leave_all();
            }
        }
    }

    fn dest(&self, key: &ServiceKey, real: Endpoint) -> Option<DestId> {
        let services = &self.flows.services;
        services.find_dest(services.slot_of(key)?, real)
    }

    fn leave_service(&mut self, key: &ServiceKey) {
        let services = &self.flows.services;
        let ids = self.path.of_dests(|dest| services.dest(dest).service == *key);
        ids.into_iter().for_each(|id| self.leave(id));
    }

    /// Heeds what has changed since it was last asked: servers, links, routes, addresses, neighbours.
    pub fn heed(&mut self) {
        if !self.path.is_there() {
            while self.flows.services.take_upset().is_some() {}
            return;
        }
        while let Some(dest) = self.flows.services.take_upset() {
            self.leave_dests(|of| of == dest);
        }
        let (routes, neighbours, active) = (self.router.changes(), self.router.neighbours.changes(), self.is_active());
        if routes != self.watch.told.0 || active != self.watch.was_active {
            self.watch.was_active = active;
            self.station();
            self.leave_all();
        }
        if neighbours != self.watch.told.1 {
            let (router, devices) = (&*self.router, self.devices());
            self.path.refresh_hops(|link, addr| neighbour_at(router, devices[link.index()], link, addr));
        }
        self.watch.told = (routes, neighbours);
    }

    fn devices(&self) -> Vec<u32> {
        self.router.links().map(|(link, _)| self.path.device(link)).collect()
    }

    /// Says on each link who the director is: nobody, while another one works.
    fn station(&mut self) {
        let active = self.is_active();
        let links: Vec<(LinkId, Mac)> = self.router.links().map(|(id, link)| (id, link.mac)).collect();
        for (link, mac) in links {
            let mut station = Station { mac: active.then_some(mac), ..Station::default() };
            for Mac([_, _, _, _, family, number]) in self.router.virtuals.macs(link) {
                let routers = if family == 1 { &mut station.routers4 } else { &mut station.routers6 };
                routers[usize::from(number) / 64] |= 1 << (number % 64);
            }
            self.path.set_station(link, &station);
        }
    }

    /// What the kernel has done with packets of a conn counts as if the director had done it.
    fn credit(&mut self, passed: &Passed) {
        self.count(passed);
        let Passed { id, request, reply, .. } = *passed;
        let conn = self.flows.conns.get_mut(id);
        conn.in_pkts = conn.in_pkts.wrapping_add(request.packets as u32);
        let conn = *conn;
        let last = [request, reply].iter().filter_map(|way| self.path.moment_of(way)).max();
        let timeout = self.flows.timeouts.of(&conn);
        if let Some(last) = last.filter(|last| *last + timeout > self.flows.conns.deadline(&conn)) {
            self.flows.conns.rearm(id, last, timeout);
        }
        if self.flows.wants_expected(&conn) {
            self.note_expected(id, Side::Request, &request);
            self.note_expected(id, Side::Reply, &reply);
        }
        if reply.packets > 0 {
            self.flows.assure(id, Event::Output);
        }
        if request.packets > 0 && self.sync.is_master() {
            self.watch.unsaid.push((id, request.packets));
        }
    }

    fn note_expected(&mut self, id: ConnId, sender: Side, way: &Counters) {
        if way.packets > 0 && way.acknowledged != 0 {
            self.flows.conns.note_expected(id, sender, way.acknowledged);
        }
    }

    fn count(&mut self, Passed { dest, request, reply, .. }: &Passed) {
        if request.packets + reply.packets > 0 {
            let (in_pkts, in_bytes) = (request.packets, request.bytes);
            let (out_pkts, out_bytes) = (reply.packets, reply.bytes);
            self.flows.services.count_passed(*dest, &Stats { conns: 0, in_pkts, out_pkts, in_bytes, out_bytes });
        }
    }

    /// Reads what the kernel has counted of all conns.
    pub fn read_all(&mut self) {
        while !self.read_some() {}
    }

    fn read_some(&mut self) -> bool {
        let mut news = Vec::new();
        let all = self.path.read_some(|passed| news.push(passed));
        news.iter().for_each(|passed| self.credit(passed));
        all
    }

    /// A list is about to be made: what the kernel has counted is in it.
    pub fn read_before_list(&mut self) {
        if self.path.len() <= READ_BEFORE_LISTS {
            self.read_all();
        }
    }

    /// Lets time pass: some entries are read, and what followed from earlier readings is told.
    pub(super) fn pass_time(&mut self, turn: &mut Turn<impl Egress>) {
        if !self.path.is_there() {
            return;
        }
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

    /// Frames that the kernel has forwarded are in the ledger.
    pub fn account<E>(&mut self, turn: &mut Turn<E>) {
        turn.passed(self.path.take_uncounted());
    }
}

/// Where packets to a next hop are sent by the kernel.
fn neighbour_of(router: &Router, path: &FastPath, link: LinkId, addr: IpAddr) -> Neighbour {
    neighbour_at(router, path.device(link), link, addr)
}

fn neighbour_at(router: &Router, ifindex: u32, link: LinkId, addr: IpAddr) -> Neighbour {
    let is_host = router.medium(link) == Medium::Ip;
    let mac = if is_host { Some(Mac::ZERO) } else { router.neighbours.present_mac(link, addr) };
    Neighbour { mac, is_host, link_mac: router.link(link).mac, ifindex }
}
