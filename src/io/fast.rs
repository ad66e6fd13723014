//! The fast path's maps and programs in the kernel, as values of `fastpath::abi`.
//!
//! Making them takes rights, changing maps takes none: a keeper makes them, and hands their descriptors to its workers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::bpf::{Constant, Done, LoadError, Map, MapKind, Program};
use super::fast_answers::AnswerMaps;
use crate::base::{LinkId, Medium};
use crate::fastpath::abi::{self, ENTRY_LEN, Entry, KEY_LEN, Key, Neighbour, Station, TOTALS_LEN, Totals};
use crate::fastpath::program as code;

/// The maps of the fast path.
pub struct FastMaps {
    flows: Map,
    neighbours: Map,
    stations: Map,
    totals: Map,
    /// Those by which SYNs are answered, where any are; a keeper of another layout may have none.
    pub answers: Option<AnswerMaps>,
}

impl FastMaps {
    /// Makes maps for so many entries and neighbours, and those by which the program answers SYNs, if it is to.
    pub fn create(entries: u32, neighbours: u32, answers: bool) -> io::Result<FastMaps> {
        let array = |name, lengths, elements| Map::create(MapKind::Array, name, lengths, elements);
        Ok(FastMaps {
            flows: Map::create(MapKind::Hash, "tapvs_flows", code::OF_FLOWS, entries)?,
            neighbours: array("tapvs_neighbour", code::OF_NEIGHBOURS, neighbours)?,
            stations: array("tapvs_station", code::OF_STATIONS, code::LINKS)?,
            totals: array("tapvs_totals", code::OF_TOTALS, 1)?,
            answers: answers.then(AnswerMaps::create).transpose()?,
        })
    }

    /// The maps that another process has made, in the order of `descriptors`, those of every layout first; what it has told of
    /// the lengths of two of them.
    pub fn inherited(
        [of_flows, neighbours, of_stations, totals]: [OwnedFd; 4],
        others: Vec<OwnedFd>,
        flows: code::Lengths,
        stations: code::Lengths,
    ) -> FastMaps {
        FastMaps {
            flows: Map::inherited(of_flows, flows),
            neighbours: Map::inherited(neighbours, code::OF_NEIGHBOURS),
            stations: Map::inherited(of_stations, stations),
            totals: Map::inherited(totals, code::OF_TOTALS),
            answers: others.try_into().ok().map(AnswerMaps::inherited),
        }
    }

    /// The descriptors of the maps.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let of_any_layout = [&self.flows, &self.neighbours, &self.stations, &self.totals].map(Map::as_fd);
        of_any_layout.into_iter().chain(self.answers.iter().flat_map(AnswerMaps::descriptors))
    }

    /// Loads the program for a link. One that answers SYNs takes the verifier three times as long.
    pub fn program(&self, link: LinkId, medium: Medium) -> Result<Program, LoadError> {
        let medium = u64::from(medium == Medium::Ip);
        let mut constants = vec![
            (code::FLOWS, Constant::Map(&self.flows)),
            (code::NEIGHBOURS, Constant::Map(&self.neighbours)),
            (code::STATIONS, Constant::Map(&self.stations)),
            (code::TOTALS, Constant::Map(&self.totals)),
            (code::LINK, Constant::Number(u64::from(link.0))),
            (code::MEDIUM, Constant::Number(medium)),
            (code::ANSWERS, Constant::Number(u64::from(self.answers.is_some()))),
        ];
        constants.extend(self.answers.iter().flat_map(AnswerMaps::constants));
        Program::load(code::NAME, code::CODE, &constants)
    }

    /// Adds an entry; `EEXIST` if its key is there, `E2BIG` if there is no room.
    pub fn add(&self, key: &Key, entry: &Entry) -> io::Result<()> {
        self.flows.add(&key.to_bytes(), &entry.to_bytes())
    }

    /// Sets many entries at once, whether their keys are there or not.
    pub fn set_all(&self, entries: &[(Key, Entry)]) -> Done {
        let keys: Vec<u8> = entries.iter().flat_map(|(key, _)| key.to_bytes()).collect();
        let values: Vec<u8> = entries.iter().flat_map(|(_, entry)| entry.to_bytes()).collect();
        self.flows.set_all(&keys, &values)
    }

    /// An entry with what was counted until now.
    pub fn get(&self, key: &Key) -> io::Result<Option<Entry>> {
        let mut value = [0; ENTRY_LEN];
        Ok(self.flows.get(&key.to_bytes(), &mut value)?.then(|| Entry::from_bytes(&value)).flatten())
    }

    /// Takes an entry away; what it was at last.
    pub fn take(&self, key: &Key) -> io::Result<Option<Entry>> {
        let mut value = [0; ENTRY_LEN];
        Ok(self.flows.take(&key.to_bytes(), &mut value)?.then(|| Entry::from_bytes(&value)).flatten())
    }

    /// Takes many entries away at once, whatever was counted.
    pub fn remove_all(&self, keys: &[Key]) -> Done {
        self.flows.remove_all(&keys.iter().flat_map(|key| key.to_bytes()).collect::<Vec<u8>>())
    }

    /// Calls `each` with at most so many entries from a place on; where to go on, if there may be more.
    pub fn read(&self, place: Option<u32>, most: usize, each: &mut dyn FnMut(Key, Entry)) -> io::Result<Option<u32>> {
        let (mut keys, mut values) = (vec![0; most * KEY_LEN], vec![0; most * ENTRY_LEN]);
        let (count, next) = self.flows.read_from(place, &mut keys, &mut values)?;
        let (keys, values) = (keys.as_chunks().0, values.as_chunks().0);
        for (key, value) in keys.iter().zip(values).take(count) {
            if let Some(entry) = Entry::from_bytes(value) {
                each(Key::from_bytes(key), entry);
            }
        }
        Ok(next)
    }

    /// Puts a next hop into its place.
    pub fn set_neighbour(&self, place: u32, neighbour: &Neighbour) -> io::Result<()> {
        self.neighbours.set(&place.to_ne_bytes(), &neighbour.to_bytes())
    }

    /// Says who the director is on a link.
    pub fn set_station(&self, link: LinkId, station: &Station) -> io::Result<()> {
        self.stations.set(&u32::from(link.0).to_ne_bytes(), &station.to_bytes())
    }

    /// Has the program forward nothing on these links, whatever layout it is of.
    pub fn silence(&self, links: impl Iterator<Item = LinkId>) -> io::Result<()> {
        let nobody = vec![0; self.stations.lengths().1];
        for link in links {
            self.stations.set(&u32::from(link.0).to_ne_bytes(), &nobody)?;
        }
        Ok(())
    }

    /// Takes all entries away, whatever layout they are of.
    pub fn empty(&self) -> io::Result<()> {
        const AT_ONCE: usize = 4096;
        let (key_len, value_len) = self.flows.lengths();
        let (mut keys, mut values, mut place) = (vec![0; AT_ONCE * key_len], vec![0; AT_ONCE * value_len], None);
        loop {
            let (count, next) = self.flows.read_from(place, &mut keys, &mut values)?;
            self.flows.remove_all(&keys[..count * key_len]).map_err(|(_, error)| error)?;
            place = next;
            if place.is_none() {
                return Ok(());
            }
        }
    }

    /// How many packets were left to user space for each reason.
    pub fn totals(&self) -> io::Result<Totals> {
        Ok(abi::totals(&self.read_totals()?))
    }

    /// How many SYNs were answered.
    pub fn answered(&self) -> io::Result<u64> {
        Ok(abi::answered(&self.read_totals()?))
    }

    fn read_totals(&self) -> io::Result<[u8; TOTALS_LEN]> {
        let mut value = [0; TOTALS_LEN];
        self.totals.get(&0_u32.to_ne_bytes(), &mut value)?;
        Ok(value)
    }
}

#[cfg(test)]
#[path = "fast_tests.rs"]
mod tests;
