//! The maps by which the fast path's program answers SYNs: services, ways back to clients, and which clients have conns.
//!
//! Never decides what is in a map.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::bpf::{Constant, Map, MapKind};
use super::mapped;
use crate::base::{Array, Prefix};
use crate::fastpath::abi::{Key, Proxied, Reach};
use crate::fastpath::program as code;
use crate::fastpath::proxied::{PROXIED_LEN, answered, prefix};

/// Services, and prefixes, that there is room for.
const SERVICES: u32 = 1 << 16;
const PREFIXES: u32 = 1 << 18;

/// The maps.
pub struct AnswerMaps {
    services: Map,
    reaches: Map,
    clients: Map,
}

impl AnswerMaps {
    pub(super) fn create() -> io::Result<AnswerMaps> {
        Ok(AnswerMaps {
            services: Map::create(MapKind::Hash, "tapvs_proxied", code::OF_PROXIED, SERVICES)?,
            reaches: Map::create(MapKind::Trie, "tapvs_reaches", code::OF_REACHES, PREFIXES)?,
            clients: Map::create(MapKind::Memory, "tapvs_clients", code::OF_CLIENTS, code::CLIENT_ELEMENTS)?,
        })
    }

    pub(super) fn inherited([services, reaches, clients]: [OwnedFd; 3]) -> AnswerMaps {
        AnswerMaps {
            services: Map::inherited(services, code::OF_PROXIED),
            reaches: Map::inherited(reaches, code::OF_REACHES),
            clients: Map::inherited(clients, code::OF_CLIENTS),
        }
    }

    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.services.as_fd(), self.reaches.as_fd(), self.clients.as_fd()]
    }

    pub(super) fn constants(&self) -> [(u64, Constant<'_>); 3] {
        [
            (code::PROXIED, Constant::Map(&self.services)),
            (code::REACHES, Constant::Map(&self.reaches)),
            (code::CLIENTS, Constant::Map(&self.clients)),
        ]
    }

    /// SYNs to an endpoint are answered from now on.
    pub fn answer(&self, key: &Key, proxied: &Proxied) -> io::Result<()> {
        self.services.set(&key.to_bytes(), &proxied.to_bytes())
    }

    /// They are the director's from now on.
    pub fn leave_syns(&self, key: &Key) -> io::Result<bool> {
        self.services.remove(&key.to_bytes())
    }

    /// How many SYNs to an endpoint were answered.
    pub fn answered_of(&self, key: &Key) -> io::Result<u64> {
        let mut value = [0; PROXIED_LEN];
        self.services.get(&key.to_bytes(), &mut value)?;
        Ok(answered(&value))
    }

    /// The way back to clients of a prefix; `None` if there is no other than that of the prefix around it.
    pub fn set_reach(&self, to: &Prefix, reach: Option<Reach>) -> io::Result<()> {
        match reach {
            Some(reach) => self.reaches.set(&prefix(to), &reach.to_bytes()),
            None => self.reaches.remove(&prefix(to)).map(drop),
        }
    }

    /// Places in which clients with conns are counted.
    pub fn clients(&self) -> io::Result<Array<u8>> {
        mapped::map_bytes(self.clients.as_fd(), code::CLIENT_ELEMENTS as usize * code::OF_CLIENTS.1)
    }

    /// Has the program answer nothing, and forgets all ways.
    pub fn clear(&self) -> io::Result<()> {
        self.services.clear()?;
        self.reaches.clear()
    }
}
