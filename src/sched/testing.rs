//! Test only: a service without packets. Servers are called A, B, C, ... in the order they were added.
//!
//! Never counts conns by itself; a test that wants load moves the counters.

use std::net::{IpAddr, Ipv4Addr};

use super::{Change, Context, Flags, Flow, Mask, Scheduler, Server, Servers, Settings, create};
use crate::base::{DestId, Endpoint, Instant, Proto, Rng};

/// The clients of the published vectors, in their order.
pub(super) const CLIENTS: [&str; 8] =
    ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.1.2.3", "172.16.5.9", "192.0.2.1", "198.51.100.77", "203.0.113.200"];

pub(super) struct Farm {
    pub(super) scheduler: Box<dyn Scheduler>,
    pub(super) slab: Vec<Server>,
    pub(super) order: Vec<DestId>,
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) settings: Settings,
    names: Vec<char>,
}

impl Farm {
    /// A service made empty, to which servers of these weights are added one by one.
    pub(super) fn new(scheduler: &str, weights: &[u32]) -> Farm {
        Farm::with(scheduler, Flags::default(), Settings::default(), weights)
    }

    pub(super) fn with(scheduler: &str, flags: Flags, settings: Settings, weights: &[u32]) -> Farm {
        let scheduler = create(scheduler, flags, &Servers::new(&[], &[]), &settings).unwrap();
        let mut farm = Farm {
            scheduler,
            slab: vec![],
            order: vec![],
            now: Instant::START,
            rng: Rng::seeded(11),
            settings,
            names: vec![],
        };
        for (index, weight) in weights.iter().enumerate() {
            // Names beyond the alphabet go on in Unicode; only big farms have them.
            farm.add_as(char::from_u32('A' as u32 + index as u32).unwrap_or('?'), *weight);
        }
        farm
    }

    /// Adds at the head; 192.168.1.1:80, .2:80, ... in the order of slots.
    pub(super) fn add_as(&mut self, name: char, weight: u32) {
        let id = DestId(self.slab.len() as u32);
        let addr = Ipv4Addr::from(u32::from(Ipv4Addr::new(192, 168, 1, 1)) + id.0);
        self.slab.push(Server::new(Endpoint::new(IpAddr::V4(addr), 80), weight));
        self.names.push(name);
        self.insert(id);
    }

    /// Puts a server that was removed back, as `-a` does.
    pub(super) fn revive(&mut self, name: char, weight: u32) {
        let id = self.id(name);
        self.slab[id.index()].revive(weight, 0, 0);
        self.insert(id);
    }

    fn insert(&mut self, id: DestId) {
        self.order.insert(0, id);
        self.tell(Change::Added(id));
    }

    pub(super) fn remove(&mut self, name: char) {
        let id = self.id(name);
        let position = self.order.iter().position(|other| *other == id).unwrap();
        self.order.remove(position);
        self.slab[id.index()].available = false;
        self.tell(Change::Removed { id, position });
    }

    pub(super) fn weigh(&mut self, name: char, weight: u32) {
        let id = self.id(name);
        self.slab[id.index()].set_weight(weight);
        self.tell(Change::Edited(id));
    }

    /// Checks say something of a server.
    pub(super) fn mask(&mut self, name: char, mask: Mask) {
        let id = self.id(name);
        self.slab[id.index()].mask = mask;
        self.tell(Change::Edited(id));
    }

    pub(super) fn server(&mut self, name: char) -> &mut Server {
        let id = self.id(name);
        &mut self.slab[id.index()]
    }

    /// Who was given this name last.
    pub(super) fn id(&self, name: char) -> DestId {
        DestId(self.names.iter().rposition(|other| *other == name).unwrap() as u32)
    }

    pub(super) fn name(&self, id: DestId) -> char {
        self.names[id.index()]
    }

    fn tell(&mut self, change: Change) {
        self.scheduler.changed(&Servers::new(&self.order, &self.slab), change, &self.settings);
    }

    pub(super) fn pick(&mut self, flow: &Flow) -> Option<DestId> {
        let mut context = Context { now: self.now, rng: &mut self.rng, settings: &self.settings };
        self.scheduler.pick(&Servers::new(&self.order, &self.slab), flow, &mut context)
    }

    pub(super) fn pick_name(&mut self) -> Option<char> {
        let picked = self.pick(&flow("192.0.2.1", "198.51.100.1"));
        picked.map(|id| self.name(id))
    }

    /// The names of the next picks, "-" for nobody.
    pub(super) fn picks(&mut self, count: usize) -> String {
        let names: Vec<String> = (0..count).map(|_| self.pick_name().map_or("-".into(), String::from)).collect();
        names.join(" ")
    }

    /// The names of the picks for these flows.
    pub(super) fn picks_for(&mut self, flows: impl IntoIterator<Item = Flow>) -> String {
        let names: Vec<String> =
            flows.into_iter().map(|f| self.pick(&f).map_or("-".into(), |id| self.name(id).into())).collect();
        names.join(" ")
    }
}

/// A TCP packet from `src` port 12345 to `dst` port 80.
pub(super) fn flow(src: &str, dst: &str) -> Flow {
    Flow {
        proto: Proto::TCP,
        src: Endpoint::new(src.parse().unwrap(), 12345),
        dst: Endpoint::new(dst.parse().unwrap(), 80),
    }
}

/// A TCP packet from a random client.
pub(super) fn random_flow(rng: &mut Rng) -> Flow {
    let bits = rng.next_u64();
    let addr = |bits: u32| IpAddr::V4(Ipv4Addr::from(bits));
    Flow {
        proto: Proto::TCP,
        src: Endpoint::new(addr(bits as u32), (bits >> 32) as u16),
        dst: Endpoint::new(addr(0xc633_6400 | (bits >> 56) as u32), 80),
    }
}
