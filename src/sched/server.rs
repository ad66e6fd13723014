//! The live state of one server as schedulers see it, and the ordered list of a service's servers.
//!
//! Never knows packets; counts are moved by the flow table through the service.

use crate::base::{DestId, Endpoint};

/// Weight, load and limits of one server of one service.
#[derive(Clone, Debug)]
pub struct Server {
    /// Address and port of the real server; a hash scheduler's key.
    pub endpoint: Endpoint,
    /// Present weight; 0 means quiesced: no new conns by choice.
    pub weight: u32,
    /// The latest weight that was not 0, or 0 if it never had one.
    pub last_weight: u32,
    /// Conns in an active state.
    pub active: u32,
    /// All other conns.
    pub inactive: u32,
    /// Upper threshold of active + inactive; 0: none.
    pub upper: u32,
    /// Lower threshold as configured; 0: three quarters of `upper`.
    pub lower: u32,
    /// The overload mark: set and cleared by conns that come and go.
    pub overloaded: bool,
    /// False once the server was taken out of its service.
    pub available: bool,
}

/// A service's servers in the kernel's list order: the one added last comes first.
#[derive(Clone, Copy)]
pub struct Servers<'a> {
    order: &'a [DestId],
    slab: &'a [Server],
}

impl<'a> Servers<'a> {
    /// `slab` is indexed by `DestId`, `order` names those of one service.
    pub fn new(order: &'a [DestId], slab: &'a [Server]) -> Servers<'a> {
        Servers { order, slab }
    }

    /// How many servers the service has.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True if the service has none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The server at a position of the list.
    pub fn at(&self, position: usize) -> (DestId, &'a Server) {
        let id = self.order[position];
        (id, &self.slab[id.index()])
    }

    /// The server behind an id, in the list or not any more.
    pub fn get(&self, id: DestId) -> &'a Server {
        &self.slab[id.index()]
    }

    /// All servers in list order.
    pub fn iter(&self) -> impl Iterator<Item = (DestId, &'a Server)> + use<'a> {
        let slab = self.slab;
        self.order.iter().map(move |id| (*id, &slab[id.index()]))
    }
}

impl Server {
    pub fn vacant() -> Server {
        Server {
            endpoint: Endpoint::UNSPECIFIED,
            weight: 0,
            last_weight: 0,
            active: 0,
            inactive: 0,
            upper: 0,
            lower: 0,
            overloaded: false,
            available: false,
        }
    }
    pub fn bind(&mut self, active: bool) {
        if active { self.active += 1 } else { self.inactive += 1 }
    }
    pub fn unbind(&mut self, active: bool) {
        if active { self.active -= 1 } else { self.inactive -= 1 }
    }
    pub fn set_activity(&mut self, active: bool) {
        if active {
            self.active += 1;
            self.inactive -= 1
        } else {
            self.active -= 1;
            self.inactive += 1
        }
    }
    pub fn set_weight(&mut self, weight: u32) {
        self.weight = weight;
    }
    pub fn set_thresholds(&mut self, upper: u32, lower: u32) {
        self.upper = upper;
        self.lower = lower;
    }
}
