//! The fast path's program at the devices, for as long as the keeper lives; and what a worker does with its maps.
//!
//! Never decides what is in a map.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::net::if_::if_nametoindex;
use serde::{Deserialize, Serialize};

use super::bpf::Attached;
use super::{AnswerMaps, FastMaps, LinkFacts, inherited, let_inherit};
use crate::base::{Array, LinkId, Prefix};
use crate::fastpath::abi::{self, Entry, Key, Neighbour, Proxied, Reach, Station, Totals};
use crate::fastpath::{Kernel, NotAdded, PLACES, READ_AT_ONCE, program};

/// Bytes of keys and values of the maps of entries and of stations, one behind the other.
const LENGTHS: [u32; 4] = {
    let (flows, stations) = (program::OF_FLOWS, program::OF_STATIONS);
    [flows.0 as u32, flows.1 as u32, stations.0 as u32, stations.1 as u32]
};
/// Those of keepers that do not say them, whose layout is the first.
const FIRST_LENGTHS: [u32; 4] = [20, 144, 4, 72];

/// What a worker is given of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FastFacts {
    /// The layout of the maps (`fastpath::abi::LAYOUT`).
    #[serde(default)]
    layout: Option<u32>,
    /// What is to be known of the maps of any layout (see `LENGTHS`).
    #[serde(default)]
    lengths: Vec<u32>,
    /// Descriptors of the maps, those of `FastMaps::descriptors` first.
    maps: Vec<RawFd>,
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
    /// Loads the program, once for each link, and puts it there. `flows` is how many conns may have entries, `answers` whether
    /// it is to answer SYNs. Needs CAP_BPF and CAP_NET_ADMIN (before Linux 5.8 CAP_SYS_ADMIN). An error is what the kernel
    /// says.
    pub fn open(links: &[LinkFacts], flows: usize, answers: bool) -> Result<FastProgram, String> {
        // FULL-NAT has two entries for a conn.
        let entries = u32::try_from(flows.saturating_mul(2)).unwrap_or(u32::MAX);
        let maps = FastMaps::create(entries, PLACES, answers).map_err(|error| format!("no maps: {error}"))?;
        let (mut attached, mut devices) = (Vec::new(), Vec::new());
        for (number, link) in links.iter().enumerate() {
            let device = if_nametoindex(link.name.as_str()).map_err(|error| format!("{}: {error}", link.name))?;
            let program = maps.program(LinkId(number as u8), link.framing().medium);
            let program = program.map_err(|error| format!("the kernel refuses the program: {error}"))?;
            attached.push(program.attach(device).map_err(|error| format!("{}: {error}", link.name))?);
            devices.push(device);
        }
        let words = attached.first().map_or("nothing", Attached::by).to_owned();
        let descriptors = maps.descriptors().map(|fd| fd.as_raw_fd()).collect();
        let facts =
            FastFacts { layout: Some(abi::LAYOUT), lengths: LENGTHS.to_vec(), maps: descriptors, devices, words };
        Ok(FastProgram { maps, facts, _attached: attached })
    }

    /// What a worker is given; it inherits the descriptors.
    pub fn give(&self) -> io::Result<FastFacts> {
        self.maps.descriptors().try_for_each(let_inherit)?;
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
        let mut maps = facts.maps.iter().map(|fd| inherited(*fd)).collect::<io::Result<Vec<OwnedFd>>>()?;
        let others = maps.split_off(4.min(maps.len()));
        let maps = maps.try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
        let said = <[u32; 4]>::try_from(facts.lengths.as_slice()).unwrap_or(FIRST_LENGTHS);
        let [flow_key, flow, station_key, station] = said.map(|length| length as usize);
        let maps = FastMaps::inherited(maps, others, (flow_key, flow), (station_key, station));
        Ok(FastKernel { maps, facts: facts.clone(), told: false })
    }

    /// A keeper of another version may have loaded a program whose maps this one does not understand. An error is a sentence.
    pub fn check(&self) -> Result<(), String> {
        let layout = self.facts.layout.unwrap_or(1);
        if layout == abi::LAYOUT {
            return Ok(());
        }
        Err(format!(
            "the program that the keeper has loaded has maps of layout {layout}, this version's have layout {}; \
             a new start of tapvs loads this version's",
            abi::LAYOUT
        ))
    }

    /// The same, for a worker that begins: a program that it does not understand forwards nothing any more, and is left no
    /// entry, which would not be true when a worker comes that does.
    pub fn taken_up(self) -> Result<FastKernel, String> {
        let Err(why) = self.check() else { return self.taken_over() };
        let links = (0..self.facts.devices.len()).map(|link| LinkId(link as u8));
        if let Err(error) = self.maps.silence(links) {
            return Err(format!("{why}; until then it goes on by itself, for it cannot be stopped: {error}"));
        }
        // It reads them no more; on a kernel without such calls (before Linux 5.6) they stay.
        let _ = self.maps.empty();
        Err(why)
    }

    /// What a worker before has told of services is not known to be true any more.
    fn taken_over(self) -> Result<FastKernel, String> {
        match self.maps.answers.as_ref().map_or(Ok(()), AnswerMaps::clear) {
            Ok(()) => Ok(self),
            Err(error) => Err(format!("its maps cannot be emptied: {error}")),
        }
    }

    /// What becomes of a map by which SYNs are answered.
    fn answers<T>(&mut self, change: impl FnOnce(&AnswerMaps) -> io::Result<T>) -> Option<T> {
        let done = self.maps.answers.as_ref().map(change)?;
        self.heed(done)
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

    fn get(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.maps.get(key);
        self.heed(entry).flatten()
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

    fn clients(&mut self) -> Option<Array<u8>> {
        // Before Linux 5.5 a map is no memory.
        self.maps.answers.as_ref()?.clients().ok()
    }

    fn answer(&mut self, key: &Key, proxied: &Proxied) -> bool {
        self.answers(|maps| maps.answer(key, proxied)).is_some()
    }

    fn leave_syns(&mut self, key: &Key) {
        self.answers(|maps| maps.leave_syns(key));
    }

    fn leave_all_syns(&mut self) {
        self.answers(AnswerMaps::clear);
    }

    fn answered_of(&self, key: &Key) -> u64 {
        self.maps.answers.as_ref().and_then(|maps| maps.answered_of(key).ok()).unwrap_or(0)
    }

    fn answered(&self) -> u64 {
        self.maps.answered().unwrap_or(0)
    }

    fn set_reach(&mut self, to: &Prefix, reach: Option<Reach>) -> bool {
        self.answers(|maps| maps.set_reach(to, reach)).is_some()
    }

    fn words(&self) -> &str {
        &self.facts.words
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use super::*;
    use crate::base::Medium;
    use crate::fastpath::abi::{Method, Way};
    use crate::io::bpf::{Program, Run};
    use crate::testing::{DIRECTOR, LINK, Packet, ROUTER, endpoint};

    const CLIENT: &str = "192.0.2.7:4000";
    const VIP: &str = "198.51.100.1:80";

    /// A program that forwards the packets of one conn, if this process may load it.
    fn forwarding() -> Option<(FastMaps, Program)> {
        let maps = FastMaps::create(16, 16, true)
            .map_err(|error| crate::io::print_error(&format!("not tested: there are no maps: {error}")))
            .ok()?;
        let program = maps.program(LINK, Medium::Ethernet).unwrap();
        maps.set_station(LINK, &Station { mac: Some(DIRECTOR), ..Station::default() }).unwrap();
        let neighbour = Neighbour { mac: Some(ROUTER), is_host: false, link_mac: DIRECTOR, ifindex: 1 };
        maps.set_neighbour(1, &neighbour).unwrap();
        let request = Way { neighbour: 1, largest: 1500, ..Way::default() };
        let (virt, other) = (endpoint(VIP), endpoint(CLIENT));
        let (method, keeps_df, shift, born, reply) = (Method::Direct, true, 0, 0, Way::default());
        let joined = Default::default();
        let entry = Entry { virt, server: virt, other, method, keeps_df, shift, born, joined, request, reply };
        maps.add(&Key { proto: crate::base::Proto::TCP, endpoint: other }, &entry).unwrap();
        Some((maps, program))
    }

    fn forwards(program: &Program) -> bool {
        const REDIRECT: i32 = 7;
        let frame = Packet::tcp(CLIENT, VIP, "A").frame(ROUTER, DIRECTOR);
        program.run(&Run { frame: &frame, ..Run::default() }).unwrap().action == REDIRECT
    }

    /// What a worker has of a keeper, which says these words.
    fn worker(maps: &FastMaps, words: &str) -> FastKernel {
        let fds: Vec<_> =
            maps.descriptors().map(|fd| fd.try_clone_to_owned().unwrap().into_raw_fd().to_string()).collect();
        let words = words.replace("MAPS", &fds.join(","));
        FastKernel::inherited(&serde_json::from_str(&words).unwrap()).unwrap()
    }

    #[test]
    fn the_maps_of_a_keeper_of_another_layout_are_not_used_and_its_program_forwards_nothing_any_more() {
        let Some((maps, program)) = forwarding() else { return };
        let own = FastFacts {
            layout: Some(abi::LAYOUT),
            lengths: LENGTHS.to_vec(),
            maps: vec![-1],
            devices: vec![1],
            words: "TCX".into(),
        };
        let own = serde_json::to_string(&own).unwrap().replace("[-1]", "[MAPS]");
        let silent = r#"{"maps":[MAPS],"devices":[1],"words":"TCX"}"#;
        assert!(worker(&maps, &own).taken_up().is_ok() && forwards(&program));
        // One of layout 1 does not say so.
        assert!(worker(&maps, silent).check().is_err() && forwards(&program));
        let other = &own.replace(&format!("\"layout\":{}", abi::LAYOUT), "\"layout\":7");
        assert!(worker(&maps, other).check().is_err() && forwards(&program), "it is another worker's until then");
        let why = worker(&maps, other).taken_up().map(drop).unwrap_err();
        assert!(why.contains("layout 7") && why.contains(&format!("layout {}", abi::LAYOUT)), "{why}");
        assert!(!forwards(&program));
        let mut left = 0;
        maps.read(None, READ_AT_ONCE, &mut |_, _| left += 1).unwrap();
        assert_eq!(left, 0, "entries that a worker of the keeper's version would find");
    }
}
