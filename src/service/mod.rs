//! What the operator configured: virtual services, their dests, and their statistics.
//!
//! Never sees a packet's bytes; turns a tuple into a service and a service into a dest.

mod addresses;
mod apply;
pub mod command;
mod dests;
mod judge;
mod judgement;
pub mod limits;
mod marks;
mod meters;
mod near;
pub mod quota;
mod refused;
mod stats;
mod syns;
#[cfg(test)]
mod tests;
mod trash;
pub mod words;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;

use crate::base::{Counted, DestId, Endpoint, Family, FastHash, Instant, Proto, Rng, ServiceId, Tuple};
use crate::conn::Bound;
use crate::sched::{self, Context, Flow, Scheduler, Server, Servers};
use addresses::{Addresses, Use};
use command::{ClientAddress, Command, DestOptions, Method, ServiceKey, ServiceOptions};
pub use judge::Quorum;
pub use judgement::{Ending, Judgement, Share};
pub use marks::{MarkRule, Marks, ports};
use meters::Meters;
use near::Near;
pub use stats::{Meter, Rates, Stats};
pub use syns::Syns;

/// The port of FTP's control conn: services there also take the data conns.
const FTP_PORT: u16 = 21;
/// The port a server opens active FTP data conns from.
const FTP_DATA_PORT: u16 = 20;
/// First port that a passive FTP server may announce (`ip_unprivileged_port_start`).
const FIRST_HIGH_PORT: u16 = 1024;

/// A virtual service.
pub struct Service {
    /// What it takes.
    pub key: ServiceKey,
    /// How it was configured.
    pub options: ServiceOptions,
    /// Its dests in the kernel's list order: the one added last comes first.
    pub dests: Vec<DestId>,
    /// Local addresses for FULL-NAT; the director's own if there are none.
    pub locals: Vec<IpAddr>,
    /// Counters.
    pub stats: Stats,
    /// Rates; `Services::rates` tells them.
    pub meter: Meter,
    /// Whether the counters have moved since the last reading.
    moved: bool,
    scheduler: Box<dyn Scheduler>,
    /// Takes the conns that no other dest may take; stands in no list.
    sorry: Option<DestId>,
    /// Too few dests are up: the sorry dest takes all new conns.
    lost: bool,
    /// SYNs of late, where `--syn-proxy` is auto.
    syns: Syns,
}

impl Service {
    /// True if each of its clients may have only so many conns at once.
    #[inline]
    pub fn limits_conns_of_clients(&self) -> bool {
        self.options.quota.client.conns != 0
    }
}

/// What a service knows of a dest besides its load.
pub struct Dest {
    /// The service it belongs or belonged to.
    pub service: ServiceKey,
    /// Where that service is while the dest is available.
    slot: ServiceId,
    /// How packets reach it.
    pub method: Method,
    /// How it learns who its clients are.
    pub client_address: ClientAddress,
    /// The administrator's weight; the present one also has what checks say in it.
    pub weight: u32,
    /// What checks say.
    pub judgement: Judgement,
    /// Conns that refer to it; the slot is kept while there are any.
    pub refs: u32,
    /// Persistence templates that refer to it.
    pub persistent: u32,
    /// Counters.
    pub stats: Stats,
    /// Rates; `Services::rates` tells them.
    pub meter: Meter,
    /// Whether the counters have moved since the last reading.
    moved: bool,
    place: trash::Place,
    /// Conns are bound to it that belong to no configured dest: another director's, and those that pass by.
    expected: bool,
}

/// All services and dests.
pub struct Services {
    services: Vec<Option<Service>>,
    /// Slots without a service, the lowest first.
    free_services: BinaryHeap<Reverse<u32>>,
    by_key: HashMap<ServiceKey, ServiceId, FastHash>,
    near: Near,
    dests: Vec<Dest>,
    servers: Vec<Server>,
    /// Slots without a dest, the lowest first.
    free_dests: BinaryHeap<Reverse<u32>>,
    /// The dests of the services by their endpoints.
    by_endpoint: HashMap<(ServiceId, Endpoint), DestId, FastHash>,
    /// How many servers of an endpoint are in NAT, by the protocol of their services; `IP` for those by mark.
    nat_servers: HashMap<(Proto, Endpoint), u32, FastHash>,
    /// Removed dests that are remembered.
    trash: trash::Trash,
    /// Which packets carry which mark.
    marks: Marks,
    /// What schedulers read.
    pub settings: sched::Settings,
    rng: Rng,
    /// Counters of all services together.
    pub total: Stats,
    /// Rates of all services together.
    pub total_meter: Meter,
    meters: Meters,
    /// Virtual and local addresses.
    addresses: Addresses,
    ftp: u32,
    any_port: u32,
    /// Services with a SYN proxy.
    syn_proxies: u32,
    families: [u32; 2],
    /// There was a FULL-NAT dest of another family than its service's.
    crossed: bool,
    /// How often services and dests have come, gone or been edited.
    changes: u64,
    /// Dests whose conns something has happened to; each once, so that there are no more than dests.
    upset: Vec<DestId>,
}

impl Services {
    /// None yet; `seed` feeds the schedulers that draw.
    pub fn new(settings: sched::Settings, seed: u64) -> Services {
        Services {
            services: Vec::new(),
            free_services: BinaryHeap::new(),
            by_key: HashMap::default(),
            near: Near::default(),
            dests: Vec::new(),
            servers: Vec::new(),
            free_dests: BinaryHeap::new(),
            by_endpoint: HashMap::default(),
            nat_servers: HashMap::default(),
            trash: trash::Trash::default(),
            marks: Marks::default(),
            settings,
            rng: Rng::seeded(seed),
            total: Stats::default(),
            total_meter: Meter::default(),
            meters: Meters::default(),
            addresses: Addresses::default(),
            ftp: 0,
            any_port: 0,
            syn_proxies: 0,
            families: [0; 2],
            crossed: false,
            changes: 0,
            upset: Vec::new(),
        }
    }

    /// The service that takes a packet: by mark, by exact address, by the FTP rule, by address with any port.
    pub fn find(&self, tuple: &Tuple) -> Option<ServiceId> {
        self.find_marked(self.marks.of(tuple), tuple.proto, tuple.dst)
    }

    /// As `find`, of a packet that carries this mark.
    pub fn find_marked(&self, mark: u32, proto: Proto, dst: Endpoint) -> Option<ServiceId> {
        if mark != 0
            && let Some(id) = self.slot_of(&ServiceKey::Mark(Family::of(dst.addr), mark))
        {
            return Some(id);
        }
        let at = |port| self.slot_of(&ServiceKey::Address(proto, Endpoint::new(dst.addr, port)));
        let port = dst.port;
        let ftp_data = proto == Proto::TCP && (port == FTP_DATA_PORT || port >= FIRST_HIGH_PORT);
        at(port)
            .or_else(|| if self.ftp > 0 && ftp_data { at(FTP_PORT) } else { None })
            .or_else(|| if self.any_port > 0 { at(0) } else { None })
    }

    /// A dest of a service by its endpoint.
    pub fn find_dest(&self, service: ServiceId, real: Endpoint) -> Option<DestId> {
        self.by_endpoint.get(&(service, real)).copied()
    }

    /// True for the endpoint of a server in NAT; those of mark services have no protocol of their own.
    pub fn is_nat_server(&self, proto: Proto, real: Endpoint) -> bool {
        [proto, Proto::IP].into_iter().any(|of| self.nat_servers.contains_key(&(of, real)))
    }

    /// True if there is any service of this family, or one whose servers may be of it; without one, nothing is balanced.
    pub fn any(&self, family: Family) -> bool {
        self.families[family as usize] > 0 || (self.crossed && self.families != [0; 2])
    }

    /// True for a virtual address and for a local one of FULL-NAT: the director answers for both.
    pub fn owns(&self, addr: IpAddr) -> bool {
        self.addresses.is_own(addr)
    }

    /// True for a local address of FULL-NAT.
    pub fn is_local(&self, addr: IpAddr) -> bool {
        self.addresses.is_local(addr)
    }

    /// True for the address of a real server.
    pub fn is_server(&self, addr: IpAddr) -> bool {
        self.addresses.is_server(addr)
    }

    /// True if a packet belongs to a service by its mark, whatever its destination: the rule may name a net.
    pub fn takes_by_mark(&self, tuple: &Tuple) -> bool {
        self.marks.any_net() && {
            let mark = self.marks.of(tuple);
            mark != 0 && self.by_key.contains_key(&ServiceKey::Mark(Family::of(tuple.dst.addr), mark))
        }
    }

    /// The virtual and the local addresses, each once.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.own()
    }

    /// The addresses that a command may take away.
    pub fn addresses_of(&self, command: &Command) -> Vec<IpAddr> {
        let of = |service: &Service| {
            let vip = match service.key {
                ServiceKey::Address(_, vip) => Some(vip.addr),
                ServiceKey::Mark(..) => None,
            };
            vip.into_iter().chain(service.locals.iter().copied()).collect()
        };
        match command {
            Command::DeleteService(key) => self.by_key(key).map(of).unwrap_or_default(),
            Command::Clear => self.addresses().collect(),
            Command::DeleteLocalAddress(_, local) => vec![*local],
            _ => Vec::new(),
        }
    }

    /// Adds a mark rule behind the others.
    #[cfg(any(test, feature = "testing"))]
    pub fn add_mark(&mut self, rule: MarkRule) {
        rule.host().into_iter().for_each(|addr| self.addresses.add(addr, Use::Virtual));
        self.marks.add(rule);
    }

    /// Replaces the mark rules.
    pub fn set_marks(&mut self, marks: Marks) {
        let former = std::mem::replace(&mut self.marks, marks);
        self.marks.hosts().for_each(|addr| self.addresses.add(addr, Use::Virtual));
        former.hosts().for_each(|addr| self.addresses.remove(addr, Use::Virtual));
    }

    /// The mark rules.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// True for a service on FTP's control port.
    pub fn is_ftp(&self, id: ServiceId) -> bool {
        let key = self.get(id).map(|service| service.key);
        matches!(key, Some(ServiceKey::Address(Proto::TCP, vip)) if vip.port == FTP_PORT)
    }

    /// A service by its slot.
    pub fn get(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(id.index())?.as_ref()
    }

    /// A service by its key.
    pub fn by_key(&self, key: &ServiceKey) -> Option<&Service> {
        self.get(*self.by_key.get(key)?)
    }

    /// True for a service that is there, with servers enough that take conns.
    pub fn has_quorum(&self, key: &ServiceKey) -> bool {
        let takes = |dest: &DestId| self.server(*dest).present_weight() > 0;
        self.by_key(key).is_some_and(|service| !service.lost && service.dests.iter().any(takes))
    }

    /// The dests of the service with that key, the one added last first; none without it.
    pub fn dests_of(&self, key: &ServiceKey) -> &[DestId] {
        self.by_key(key).map_or(&[], |service| &service.dests)
    }

    /// The slot of a service.
    #[inline]
    pub fn slot_of(&self, key: &ServiceKey) -> Option<ServiceId> {
        let near = self.near.get(key);
        match self.get(near) {
            Some(service) if service.key == *key => Some(near),
            _ => self.by_key.get(key).copied(),
        }
    }

    /// How many services there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// All services, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().flatten()
    }

    /// Services from a slot on, each with its slot.
    pub fn slots_from(&self, slot: u32) -> impl Iterator<Item = (u32, &Service)> {
        let from = self.services.get(slot as usize..).unwrap_or_default();
        from.iter().zip(slot..).filter_map(|(service, slot)| Some((slot, service.as_ref()?)))
    }

    /// A dest by its slot.
    pub fn dest(&self, id: DestId) -> &Dest {
        &self.dests[id.index()]
    }

    /// The load of a dest.
    pub fn server(&self, id: DestId) -> &Server {
        &self.servers[id.index()]
    }

    /// True if any service has a dest of another family.
    pub fn has_mixed_families(&self) -> bool {
        let mixed = |service: &Service, dest: &DestId| {
            Family::of(self.servers[dest.index()].endpoint.addr) != service.key.family()
        };
        self.iter().any(|service| service.dests.iter().any(|dest| mixed(service, dest)))
    }

    /// Asks the scheduler for a dest.
    pub fn pick(&mut self, id: ServiceId, tuple: &Tuple, now: Instant) -> Option<DestId> {
        let service = self.services.get_mut(id.index())?.as_mut()?;
        let servers = Servers::new(&service.dests, &self.servers);
        let flow = Flow { proto: tuple.proto, src: tuple.src, dst: tuple.dst };
        let mut context = Context { now, rng: &mut self.rng, settings: &self.settings };
        service.scheduler.pick(&servers, &flow, &mut context)
    }

    /// The dest for all new conns while too few others are up.
    pub fn substitute(&self, id: ServiceId) -> Option<DestId> {
        self.get(id).filter(|service| service.lost)?.sorry
    }

    /// The dest for a conn that the scheduler has no dest for.
    pub fn last_resort(&self, id: ServiceId) -> Option<DestId> {
        self.get(id)?.sorry
    }

    /// How often services and dests have come, gone or been edited.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// A dest as the operator configured it.
    pub fn dest_options(&self, id: DestId) -> DestOptions {
        let (server, dest) = (self.server(id), self.dest(id));
        let (method, client_address) = (dest.method, dest.client_address);
        DestOptions { method, weight: dest.weight, upper: server.upper, lower: server.lower, client_address }
    }

    /// The local addresses of a service that are of that family.
    pub fn locals_of_family(&self, id: ServiceId, family: Family) -> impl Iterator<Item = IpAddr> + Clone {
        let locals = self.get(id).map_or(&[][..], |service| &service.locals);
        locals.iter().copied().filter(move |local| Family::of(*local) == family)
    }

    /// No local port is left towards a dest: it is not chosen until one of its conns ends.
    pub fn exhausted(&mut self, dest: DestId) {
        self.servers[dest.index()].exhausted();
    }

    /// A conn refers to a dest; it counts as inactive until its state says otherwise.
    pub fn bind(&mut self, dest: DestId) {
        self.dests[dest.index()].refs += 1;
        self.servers[dest.index()].bind(Counted::Inactive);
    }

    /// Conns that an earlier process has left refer to a dest.
    pub fn bind_all(&mut self, dest: DestId, bound: &Bound) {
        let Bound { active, inactive, templates } = *bound;
        if *bound != Bound::default() {
            let kept = &mut self.dests[dest.index()];
            kept.refs += active + inactive + templates;
            kept.persistent += templates;
            self.servers[dest.index()].bind_all(active, inactive);
        }
    }

    /// A conn was scheduled: it counts at its dest, its service and in total.
    pub fn count_conn(&mut self, service: ServiceId, dest: DestId) {
        let (id, service_id) = (dest, service);
        let dest = &mut self.dests[id.index()];
        dest.stats.conns += 1;
        self.total.conns += 1;
        if let Some(Some(service)) = self.services.get_mut(service_id.index()) {
            service.stats.conns += 1;
            self.meters.note((dest, id), (service, service_id));
        }
    }

    /// A conn has ended.
    pub fn unbind(&mut self, dest: DestId, counted: Counted) {
        self.dests[dest.index()].refs -= 1;
        self.servers[dest.index()].unbind(counted);
    }

    /// A persistence template was made; it refers to the dest, counts as no conn, and is looked at by the thresholds.
    pub fn bind_template(&mut self, dest: DestId) {
        self.dests[dest.index()].refs += 1;
        self.dests[dest.index()].persistent += 1;
        self.servers[dest.index()].bind_template();
    }

    /// A persistence template has ended.
    pub fn unbind_template(&mut self, dest: DestId) {
        self.dests[dest.index()].refs -= 1;
        self.dests[dest.index()].persistent -= 1;
        self.servers[dest.index()].unbind_template();
    }

    /// A conn has changed what it counts as.
    pub fn recount(&mut self, dest: DestId, from: Counted, to: Counted) {
        self.servers[dest.index()].recount(from, to);
    }

    /// A packet from a client to this dest; not counted where the dest is not in its service.
    #[inline]
    pub fn count_in(&mut self, dest: DestId, bytes: usize) {
        self.count(dest, |stats| stats.count_in(bytes));
    }

    /// A packet from this dest to a client.
    #[inline]
    pub fn count_out(&mut self, dest: DestId, bytes: usize) {
        self.count(dest, |stats| stats.count_out(bytes));
    }

    /// Packets between clients and this dest that the kernel has forwarded, also where the dest has left its service since.
    pub fn count_passed(&mut self, id: DestId, passed: &Stats) {
        let dest = &mut self.dests[id.index()];
        if dest.expected {
            return;
        }
        dest.stats.add(passed);
        self.total.add(passed);
        let slot = dest.slot;
        if let Some(service) = self.services[slot.index()].as_mut().filter(|service| service.key == dest.service) {
            service.stats.add(passed);
            self.meters.note((dest, id), (service, slot));
        }
    }

    /// A dest whose conns something has happened to, since this was last asked: it was removed, or checks say otherwise.
    pub fn take_upset(&mut self) -> Option<DestId> {
        self.upset.pop()
    }

    #[inline]
    fn count(&mut self, id: DestId, add: impl Fn(&mut Stats)) {
        let dest = &mut self.dests[id.index()];
        if !self.servers[id.index()].available || dest.expected {
            return;
        }
        add(&mut dest.stats);
        add(&mut self.total);
        let slot = dest.slot;
        if let Some(service) = &mut self.services[slot.index()] {
            add(&mut service.stats);
            self.meters.note((dest, id), (service, slot));
        }
    }
}
