//! The program of the fast path in this kernel beside a director: its entries are made by the director, or as a model's are, and
//! the same frames are given to it.
//!
//! What it counts stays here: whoever it stands beside has counted the frames already. Needs rights; without them there is none.

use std::io;
use std::rc::Rc;

use crate::base::{Array, LinkId, Medium, Prefix};
use crate::fastpath::abi::{Entry, Key, Neighbour, Proxied, Reach, Station, Totals};
use crate::fastpath::{Kernel, NotAdded, READ_AT_ONCE};
use crate::io::bpf::{Program, Run};
use crate::io::{AnswerMaps, FastMaps};

/// Entries that there is room for.
const ROOM: u32 = 4096;
const NEIGHBOURS: u32 = 4096;
/// `TC_ACT_REDIRECT`
const REDIRECT: i32 = 7;

/// Maps, and a program for each link; all clones have the same.
#[derive(Clone)]
pub struct Shadow {
    maps: Rc<FastMaps>,
    programs: Rc<Vec<Program>>,
}

impl Shadow {
    /// For so many links; `None`, with a word about it, if this process may not load the program.
    pub fn new(links: u8) -> Option<Shadow> {
        let maps = match FastMaps::create(ROOM, NEIGHBOURS, true) {
            Ok(maps) => maps,
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
                crate::io::print_error(&format!("not compared: without rights no program can be loaded: {error}"));
                return None;
            }
            Err(error) => panic!("no maps: {error}"),
        };
        let program = |link| maps.program(LinkId(link), Medium::Ethernet).unwrap_or_else(|error| panic!("{error}"));
        let programs = (0..links).map(program).collect();
        Some(Shadow { maps: Rc::new(maps), programs: Rc::new(programs) })
    }

    /// What the program makes of a frame that comes to a link; `None` if it leaves it, or if it is too short for any program.
    pub fn run(&self, link: LinkId, frame: &[u8]) -> Option<Vec<u8>> {
        let verdict = self.programs[link.index()].run(&Run { frame, ..Run::default() });
        verdict.ok().filter(|verdict| verdict.action == REDIRECT).map(|verdict| verdict.frame)
    }

    /// Milliseconds of the clock that the program reads.
    pub fn millis() -> u64 {
        crate::io::monotonic_millis()
    }

    /// An entry with what was counted.
    pub fn counted(&self, key: &Key) -> Option<Entry> {
        self.maps.get(key).unwrap()
    }

    fn answers(&self) -> &AnswerMaps {
        self.maps.answers.as_ref().unwrap()
    }

    /// Takes all entries away.
    pub fn empty(&self) {
        self.maps.empty().unwrap();
    }
}

fn uncounted(mut entry: Entry) -> Entry {
    (entry.request.counters, entry.reply.counters) = Default::default();
    entry
}

impl Kernel for Shadow {
    fn add(&mut self, key: &Key, entry: &Entry) -> Result<(), NotAdded> {
        self.maps.add(key, entry).map_err(|error| match error.raw_os_error() {
            Some(libc::EEXIST) => NotAdded::Exists,
            Some(libc::E2BIG) => NotAdded::Full,
            _ => panic!("{error}"),
        })
    }

    fn take(&mut self, key: &Key) -> Option<Entry> {
        self.maps.take(key).unwrap().map(uncounted)
    }

    fn get(&mut self, key: &Key) -> Option<Entry> {
        self.maps.get(key).unwrap().map(uncounted)
    }

    fn read(&mut self, place: Option<u32>, each: &mut dyn FnMut(Key, Entry)) -> Option<u32> {
        self.maps.read(place, READ_AT_ONCE, &mut |key, entry| each(key, uncounted(entry))).unwrap()
    }

    fn set_neighbour(&mut self, place: u32, neighbour: &Neighbour) {
        self.maps.set_neighbour(place, neighbour).unwrap();
    }

    fn set_station(&mut self, link: LinkId, station: &Station) {
        self.maps.set_station(link, station).unwrap();
    }

    fn device(&self, link: LinkId) -> u32 {
        1 + u32::from(link.0)
    }

    fn totals(&self) -> Totals {
        self.maps.totals().unwrap()
    }

    fn clients(&mut self) -> Option<Array<u8>> {
        Some(self.answers().clients().unwrap())
    }

    fn answer(&mut self, key: &Key, proxied: &Proxied) -> bool {
        self.answers().answer(key, proxied).is_ok()
    }

    fn leave_syns(&mut self, key: &Key) {
        self.answers().leave_syns(key).unwrap();
    }

    fn leave_all_syns(&mut self) {
        self.answers().clear().unwrap();
    }

    fn answered_of(&self, key: &Key) -> u64 {
        self.answers().answered_of(key).unwrap()
    }

    fn answered(&self) -> u64 {
        self.maps.answered().unwrap()
    }

    fn set_reach(&mut self, to: &Prefix, reach: Option<Reach>) -> bool {
        self.answers().set_reach(to, reach).is_ok()
    }

    fn words(&self) -> &str {
        "BPF_PROG_TEST_RUN"
    }
}
