//! The fast path's program at the devices, for as long as the keeper lives; and what a worker does with its maps.
//!
//! Never decides what is in a map.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::net::if_::if_nametoindex;
use serde::{Deserialize, Serialize};

use super::bpf::Attached;
use super::{FastMaps, LinkFacts, inherited, let_inherit};
use crate::base::LinkId;
use crate::fastpath::abi::{Entry, Key, Neighbour, Station, Totals};
use crate::fastpath::{Kernel, NotAdded, PLACES, READ_AT_ONCE};

/// What a worker is given of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FastFacts {
    /// Descriptors of the maps.
    maps: [RawFd; 4],
    /// Numbers of the links' devices.
    devices: Vec<u32>,
    /// How the program came to the devices.
    words: String,
}

/// The program at its devices.
pub struct FastProgram {
    maps: FastMaps,
    facts: FastFacts,
    _attached: Vec<Attached>,
}

impl FastProgram {
    /// Loads the program, once for each link, and puts it there. `flows` is how many conns may have entries. Needs CAP_BPF
    /// and CAP_NET_ADMIN (before Linux 5.8 CAP_SYS_ADMIN). An error is what the kernel says.
    pub fn open(links: &[LinkFacts], flows: usize) -> Result<FastProgram, String> {
        // FULL-NAT has two entries for a conn.
        let entries = u32::try_from(flows.saturating_mul(2)).unwrap_or(u32::MAX);
        let maps = FastMaps::create(entries, PLACES).map_err(|error| format!("no maps: {error}"))?;
        let (mut attached, mut devices) = (Vec::new(), Vec::new());
        for (number, link) in links.iter().enumerate() {
            let device = if_nametoindex(link.name.as_str()).map_err(|error| format!("{}: {error}", link.name))?;
            let program = maps.program(LinkId(number as u8), link.framing().medium);
            let program = program.map_err(|error| format!("the kernel refuses the program: {error}"))?;
            attached.push(program.attach(device).map_err(|error| format!("{}: {error}", link.name))?);
            devices.push(device);
        }
        let words = attached.first().map_or("nothing", Attached::by).to_owned();
        let facts = FastFacts { maps: maps.descriptors().map(|fd| fd.as_raw_fd()), devices, words };
        Ok(FastProgram { maps, facts, _attached: attached })
    }

    /// What a worker is given; it inherits the descriptors.
    pub fn give(&self) -> io::Result<FastFacts> {
        self.maps.descriptors().into_iter().try_for_each(let_inherit)?;
        Ok(self.facts.clone())
    }

    /// How the program came to the devices.
    pub fn words(&self) -> &str {
        &self.facts.words
    }
}

/// The maps in a worker, which changes them by their descriptors: that takes no right.
pub struct FastKernel {
    maps: FastMaps,
    facts: FastFacts,
    /// A failure was said.
    told: bool,
}

impl FastKernel {
    /// What a keeper has given.
    pub fn inherited(facts: &FastFacts) -> io::Result<FastKernel> {
        let [flows, neighbours, stations, totals] = facts.maps;
        let take = |fd: RawFd| -> io::Result<OwnedFd> { inherited(fd) };
        let maps = FastMaps::inherited([take(flows)?, take(neighbours)?, take(stations)?, take(totals)?]);
        Ok(FastKernel { maps, facts: facts.clone(), told: false })
    }

    /// What the kernel gave; a failure is said once, for it would go on.
    fn heed<T>(&mut self, done: io::Result<T>) -> Option<T> {
        if let Err(error) = &done
            && !std::mem::replace(&mut self.told, true)
        {
            log::error!("fast path: the kernel refuses a change of its maps: {error}; start tapvs with fast off");
        }
        done.ok()
    }
}

impl Kernel for FastKernel {
    fn add(&mut self, key: &Key, entry: &Entry) -> Result<(), NotAdded> {
        let added = self.maps.add(key, entry);
        match added.as_ref().err().and_then(io::Error::raw_os_error) {
            Some(libc::EEXIST) => Err(NotAdded::Exists),
            Some(libc::E2BIG | libc::ENOMEM) => Err(NotAdded::Full),
            _ => self.heed(added).ok_or(NotAdded::Refused),
        }
    }

    fn take(&mut self, key: &Key) -> Option<Entry> {
        let taken = self.maps.take(key);
        self.heed(taken).flatten()
    }

    fn read(&mut self, place: Option<u32>, each: &mut dyn FnMut(Key, Entry)) -> Option<u32> {
        let next = self.maps.read(place, READ_AT_ONCE, each);
        self.heed(next).flatten()
    }

    fn set_neighbour(&mut self, place: u32, neighbour: &Neighbour) {
        let done = self.maps.set_neighbour(place, neighbour);
        self.heed(done);
    }

    fn set_station(&mut self, link: LinkId, station: &Station) {
        let done = self.maps.set_station(link, station);
        self.heed(done);
    }

    fn device(&self, link: LinkId) -> u32 {
        self.facts.devices.get(link.index()).copied().unwrap_or(0)
    }

    fn totals(&self) -> Totals {
        // Without them nothing is shown.
        self.maps.totals().unwrap_or_default()
    }

    fn words(&self) -> &str {
        &self.facts.words
    }
}
