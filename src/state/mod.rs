//! The state of an instance in a file that outlives its processes: where everything lies in it, and what it says.
//!
//! ```text
//! header     magic, layout, size of the flow table, key, the moment time began, the boot; when a process ran last, and what
//!            is kept beside conns that have just begun
//! journal    two halves: links, rules, and the slots of dests (see `journal`)
//! counters   of services and dests, by slot
//! conns      addresses, checks, shifts of sequence numbers, records (see `conn::Memory`)
//! ```
//! Never decides what becomes of rules that the configuration contradicts.

mod counters;
mod draft;
pub mod facts;
mod header;
pub mod journal;
mod young;

use std::fs::File;
use std::io;

use serde::{Deserialize, Serialize};

use crate::base::{Array, DestId, Endpoint, Instant};
use crate::conn::{AddressLine, Conn, Memory as ConnMemory};
use crate::director::Director;
use crate::io::{Memory, boot_id, monotonic_millis, random_u64};
use crate::service::command::{Command, ServiceKey};
use facts::{Fact, Facts};
use header::{check_header, header_for, header_in};
use journal::Journal;

pub use draft::Draft;
pub use young::Young;

const HEADER: usize = 512;
/// The header's number behind those that have a check, which is written again and again.
const RAN_AT: usize = 9;
/// The next one, which is written with it.
const ANSWERED: usize = 10;
/// Behind that, the generation of the process that was last to begin, for a draft.
const GENERATION_AT: usize = 11;
/// What is kept beside young conns.
const YOUNG: std::ops::Range<usize> = 32..32 + young::LEN;
/// Bytes of half a journal: some 200,000 rules.
const HALF: usize = 64 << 20;
/// Slots of dests and services that have counters here.
const COUNTED: usize = 1 << 17;

/// One thing that the journal says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Entry {
    /// The links of the configuration, a line each.
    Links(Vec<String>),
    /// The rules that the configuration had.
    Configured(Vec<Command>),
    /// A reload has begun: the commands that follow are the configuration's.
    Reloading,
    /// It has ended: the rules up to here are those that the configuration had.
    Reloaded,
    /// A command that was carried out.
    Command(Command),
    /// The slots that follow are of this generation of processes.
    Generation(u64),
    /// A dest's slot.
    Dest(u32, ServiceKey, Endpoint),
    /// A service's slot.
    Service(u32, ServiceKey),
    /// Something besides rules.
    Fact(Fact),
}

/// The open state of this instance.
pub struct State {
    header: Array<u64>,
    journal: Journal,
    services: Array<[u64; 5]>,
    dests: Array<[u64; 5]>,
    total: Array<[u64; 5]>,
    /// Of the processes whose dests have the same slots as here.
    pub generation: u64,
    configured: Vec<Command>,
    links: Vec<String>,
    facts: Facts,
    ring: young::Ring,
    /// The journal is full, or its memory is: said once.
    lost: bool,
}

/// What was found in the file.
pub struct Found {
    /// The moment at which the time of its conns began, in milliseconds of the kernel's monotonic clock.
    pub epoch: u64,
    /// What the journal said.
    pub entries: Vec<Entry>,
    /// Memory for the flow table, or with one in it.
    pub conns: ConnMemory,
}

/// Why a file cannot be used, to follow its name and a colon.
pub type Unusable = String;

fn size_before_conns() -> usize {
    Memory::size_of::<u64>(HEADER)
        + 2 * Memory::size_of::<u8>(HALF)
        + 2 * Memory::size_of::<[u64; 5]>(COUNTED)
        + Memory::size_of::<[u64; 5]>(1)
}

fn size_of_all(max: usize) -> usize {
    size_before_conns()
        + Memory::size_of::<AddressLine>(ConnMemory::ADDRESSES)
        + Memory::size_of::<u32>(1)
        + 2 * Memory::size_of::<u32>(max)
        + Memory::size_of::<Conn>(max)
}

impl State {
    /// Looks whether this version can go on with a file that another process uses; why not, in a sentence.
    pub fn check(file: &File) -> Result<(), Unusable> {
        let header = header_in(file).ok_or("the state has no header")?;
        let boot = boot_id().map_err(|error| format!("cannot tell the boot: {error}"))?;
        check_header(&header, header[2] as usize, boot).map_err(|why| format!("the state cannot be taken over: {why}"))
    }

    /// The size of the flow table that a file is for, if its header can be trusted.
    pub fn max_of(file: &File) -> Option<usize> {
        let header = header_in(file)?;
        let max = header[2] as usize;
        check_header(&header, max, boot_id().ok()?).ok().map(|()| max)
    }

    /// Opens the file, or begins it if it is empty, for a flow table of `max` conns; it may be in memory already.
    pub fn open(file: File, max: usize, mapped: Option<Memory>) -> Result<(State, Found), Unusable> {
        let boot = boot_id().map_err(|error| format!("cannot tell the boot: {error}"))?;
        let cannot = |error: io::Error| format!("cannot be used as memory: {error}");
        let (len, size) = (file.metadata().map_err(cannot)?.len(), size_of_all(max));
        if len != 0 && len != size as u64 {
            return Err(format!("it has {len} bytes, not the {size} of a state with max_flows {max}"));
        }
        let mapped = mapped.filter(|memory| len != 0 && memory.len() == size);
        let mut memory = mapped.map_or_else(|| Memory::map(file, size), Ok).map_err(cannot)?;
        let mut header: Array<u64> = memory.take(HEADER).map_err(cannot)?;
        if !header.commit(HEADER) {
            return Err("no room on its file system".into());
        }
        if len == 0 {
            let random = || random_u64().map_err(cannot);
            let begun = header_for(max, [random()?, random()?], monotonic_millis(), boot);
            header[..begun.len()].copy_from_slice(&begun);
        }
        let secret = [header[3], header[4]];
        let epoch = header[5];
        check_header(&header[..RAN_AT], max, boot)?;
        let halves = [memory.take(HALF).map_err(cannot)?, memory.take(HALF).map_err(cannot)?];
        let (services, dests) = (memory.take(COUNTED).map_err(cannot)?, memory.take(COUNTED).map_err(cannot)?);
        let total = memory.take(1).map_err(cannot)?;
        let [mut first, second] = halves;
        if !first.commit(16) {
            return Err("no room on its file system".into());
        }
        let (journal, entries) =
            Journal::open::<Entry>([first, second]).map_err(|_| "its list of rules is damaged".to_owned())?;
        let generations = entries.iter().filter_map(|entry| match entry {
            Entry::Generation(number) => Some(*number),
            _ => None,
        });
        let generation = generations.max().unwrap_or(0) + 1;
        let addresses = memory.take(ConnMemory::ADDRESSES).map_err(cannot)?;
        let used = memory.take(1).map_err(cannot)?;
        let (checks, shifts) = (memory.take(max).map_err(cannot)?, memory.take(max).map_err(cannot)?);
        let records = memory.take(max).map_err(cannot)?;
        let conns = ConnMemory { records, checks, shifts, addresses, used, secret, generation };
        let (configured, links) = (Vec::new(), Vec::new());
        let state = State {
            header,
            journal,
            services,
            dests,
            total,
            generation,
            configured,
            links,
            facts: Facts::default(),
            ring: young::Ring::default(),
            lost: false,
        };
        Ok((state, Found { epoch, entries, conns }))
    }

    /// The slots of the dests of today, before any conn names one: after a crash each is known by its generation.
    pub fn begin(&mut self, director: &Director) {
        self.header[GENERATION_AT] = self.generation;
        let slots: Vec<Entry> =
            std::iter::once(Entry::Generation(self.generation)).chain(dest_slots(director)).collect();
        slots.iter().for_each(|entry| self.add(entry));
    }

    /// Writes everything anew: `configured` are the rules that the configuration has, `rules` all.
    pub fn write(&mut self, director: &Director, links: Vec<String>, configured: Vec<Command>, rules: Vec<Command>) {
        (self.links, self.configured) = (links, configured);
        self.compact(director, rules);
        self.save_counters(director);
    }

    /// When a process has written last that it runs; `None` in a file of a version that does not.
    pub fn ran_at(&self) -> Option<Instant> {
        Some(self.header[RAN_AT]).filter(|at| *at != 0).map(Instant)
    }

    /// A process runs, and knows of so many SYNs that the kernel has answered, if it knows of any kernel.
    pub fn runs(&mut self, now: Instant, answered: Option<u64>) {
        self.header[RAN_AT] = now.0;
        if let Some(answered) = answered {
            self.header[ANSWERED] = answered + 1;
        }
    }

    /// How many SYNs that the kernel has answered were known last; `None` in a file of a version that does not say.
    pub fn answered(&self) -> Option<u64> {
        self.header[ANSWERED].checked_sub(1)
    }

    /// A reload has begun.
    pub fn reloading(&mut self) {
        self.add(&Entry::Reloading);
    }

    /// A reload has ended: the director has these rules, and the configuration too.
    pub fn reloaded(&mut self, configured: Vec<Command>) {
        self.configured = configured;
        self.facts.forget_configurable();
        self.add(&Entry::Reloaded);
    }

    /// What is kept beside a conn has changed, and is no more than two numbers now; the slot of the conn that has no place among
    /// the young any more.
    pub fn note_young(&mut self, young: Young) -> Option<u32> {
        self.ring.put(&mut self.header[YOUNG], young)
    }

    /// The conn in this slot is none of the young.
    pub fn forget_young(&mut self, slot: u32) {
        self.ring.take(&mut self.header[YOUNG], slot);
    }

    /// What an earlier process kept beside young conns, but for what `is_known` denies.
    pub fn recall_young(&mut self, mut is_known: impl FnMut(Young) -> bool) {
        let all: Vec<Young> = young::all(&self.header[YOUNG]).collect();
        let others = all.into_iter().filter(|young| !is_known(*young));
        others.for_each(|[place, _]| self.forget_young(young::slot_of(place)));
    }

    /// Facts of an earlier process that hold.
    pub fn keep(&mut self, facts: impl IntoIterator<Item = Fact>) {
        facts.into_iter().for_each(|fact| _ = self.facts.note(fact));
    }

    /// What is known besides rules.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.facts.iter()
    }

    /// Something besides rules is so now.
    pub fn note_fact(&mut self, fact: Fact, director: &Director, rules: impl FnOnce() -> Vec<Command>) {
        if let Some(news) = self.facts.note(fact)
            && !self.journal.add(&Entry::Fact(news))
        {
            self.compact(director, rules());
        }
    }

    fn compact(&mut self, director: &Director, rules: Vec<Command>) {
        let entries = [Entry::Links(self.links.clone()), Entry::Configured(self.configured.clone())];
        let entries = entries.into_iter().chain(rules.into_iter().map(Entry::Command));
        let entries = entries.chain([Entry::Generation(self.generation)]);
        let services = director.flows.services.slots_from(0).map(|(slot, service)| Entry::Service(slot, service.key));
        self.facts.keep_servers(|key, real| dest_of(director, key, real).is_some());
        let facts = self.facts.iter().cloned().map(Entry::Fact);
        if !self.journal.replace(entries.chain(services).chain(dest_slots(director)).chain(facts)) {
            self.complain();
        }
    }

    /// A command was carried out; `rules` are what there is now, if it must be written anew.
    pub fn note(&mut self, command: &Command, director: &Director, rules: impl FnOnce() -> Vec<Command>) {
        let slot = match command {
            // Counters are elsewhere.
            Command::Zero(_) => return,
            Command::AddDest(key, real, _) => dest_of(director, key, *real).map(|id| Entry::Dest(id.0, *key, *real)),
            Command::AddService(key, _) => {
                director.flows.services.slot_of(key).map(|id| Entry::Service(id.index() as u32, *key))
            }
            _ => None,
        };
        let added = self.journal.add(&Entry::Command(command.clone()));
        if !added || !slot.is_none_or(|slot| self.journal.add(&slot)) {
            self.compact(director, rules());
        }
    }

    fn add(&mut self, entry: &Entry) {
        if !self.journal.add(entry) {
            self.complain();
        }
    }

    fn complain(&mut self) {
        if !std::mem::replace(&mut self.lost, true) {
            log::error!("no room for the rules in the state file: a restart will not have them all");
        }
    }
}

fn dest_slots(director: &Director) -> impl Iterator<Item = Entry> {
    director.flows.services.iter().flat_map(|service| {
        service.dests.iter().map(|id| Entry::Dest(id.0, service.key, director.flows.services.server(*id).endpoint))
    })
}

/// A dest by its service and endpoint.
pub fn dest_of(director: &Director, key: &ServiceKey, real: Endpoint) -> Option<DestId> {
    director.flows.services.find_dest(director.flows.services.slot_of(key)?, real)
}

/// The time of conns, now.
pub fn now_since(epoch: u64) -> Instant {
    Instant(monotonic_millis().saturating_sub(epoch))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_file_says_how_many_conns_it_is_for_unless_it_is_damaged() {
        let path = std::env::temp_dir().join(format!("tapvs-state-size-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(State::max_of(&file), None, "an empty file");
        let again = || file.try_clone().unwrap();
        assert!(State::open(again(), 1000, None).is_ok());
        assert_eq!(State::max_of(&file), Some(1000));
        assert!(State::open(again(), 1001, None).is_err());
        let (mut state, _) = State::open(again(), 1000, None).unwrap();
        assert_eq!(state.ran_at(), None, "no process has run with it");
        assert_eq!(state.answered(), None);
        state.runs(Instant(6), Some(0));
        state.runs(Instant(7), None);
        drop(state);
        let (state, _) = State::open(again(), 1000, None).unwrap();
        assert_eq!((state.ran_at(), state.answered()), (Some(Instant(7)), Some(0)));
        drop(state);
        file.write_all_at(&2000_u64.to_ne_bytes(), 16).unwrap();
        assert_eq!(State::max_of(&file), None, "a header that was changed");
    }
}
