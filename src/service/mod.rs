//! What the operator configured: virtual services, their dests, and their statistics.
//!
//! Never sees a packet's bytes; turns a tuple into a service and a service into a dest.

mod addresses;
mod apply;
pub mod command;
mod counts;
mod dests;
mod find;
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

use crate::base::{DestId, Endpoint, Family, FastHash, Instant, Proto, Rng, ServiceId, Tuple};
use crate::sched::{self, Context, Flow, Scheduler, Server, Servers};
use addresses::{Addresses, Use};
use command::{ClientAddress, DestOptions, Method, ServiceKey, ServiceOptions};
pub use judge::Quorum;
pub use judgement::{Ending, Judgement, Share};
pub use marks::{MarkRule, Marks, ports};
use meters::Meters;
use near::Near;
pub use stats::{Meter, Rates, Stats};
pub use syns::Syns;

/// A virtual service.
pub struct Service {
    /// What it takes.
    pub key: ServiceKey,
    /// How it was configured.
    pub options: ServiceOptions,
    /// Its dests in the kernel's list order: the one added last comes first.
    pub dests: Vec<DestId>,
    /// Local addresses for FULL-NAT, those of IPv4 first; the director's own if there are none.
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
    /// Services whose SYNs may have to be answered in another way.
    reproxied: Vec<ServiceKey>,
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
            reproxied: Vec::new(),
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

    /// True if there is, or was, a dest whose server is told of its clients.
    pub fn any_told(&self) -> bool {
        self.dests.iter().any(|dest| dest.client_address != ClientAddress::None)
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
    pub fn locals_of_family(&self, id: ServiceId, family: Family) -> &[IpAddr] {
        let locals = self.get(id).map_or(&[][..], |service| &service.locals);
        let (four, six) = locals.split_at(locals.partition_point(IpAddr::is_ipv4));
        match family {
            Family::V4 => four,
            Family::V6 => six,
        }
    }

    /// A dest whose conns something has happened to, since this was last asked: it was removed, or checks say otherwise.
    pub fn take_upset(&mut self) -> Option<DestId> {
        self.upset.pop()
    }
}
