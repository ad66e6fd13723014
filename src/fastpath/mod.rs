//! The fast path: established flows are forwarded by a program in the kernel, which repeats what the director decided.
//!
//! `abi` is what both share, `entry` makes it of a conn, `program.c` is the program. Here is which conns have entries, and
//! what the kernel has counted of them that the director has not. Sans-I/O: the system calls are behind `Kernel`.

pub mod abi;
mod bytes;
mod entry;
mod hops;
mod kernel;
mod members;
mod passed;
pub mod program;
pub mod proxied;
mod remains;
mod report;

use std::net::IpAddr;

pub use entry::{Entries, Facts, Hop, Unfit, entries};
pub use hops::PLACES;
pub use kernel::{Kernel, NotAdded, READ_AT_ONCE};
pub use members::Member;
pub use remains::Left;
pub use report::Report;

use crate::base::{ConnId, DestId, Instant, LinkId};
use abi::{Counters, Entry, Key, Neighbour, Station, Totals};
use hops::Hops;
use members::Members;
use remains::Remains;

/// Conns that wait to be given entries at most; others ask again.
const OFFERED: usize = 1024;
/// Conns whose entries are read at a time, at most: frames wait for it.
const READ_CONNS: usize = 1024;
/// Conns of which a reply was noted, at most.
const NOTED: usize = 32;

/// What the kernel has done with packets of a conn since it was last asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passed {
    /// The conn.
    pub id: ConnId,
    /// Its dest.
    pub dest: DestId,
    /// Of packets from the client.
    pub request: Counters,
    /// Of packets from the server.
    pub reply: Counters,
}

impl Passed {
    fn of(&Member { id, dest, .. }: &Member) -> Passed {
        Passed { id, dest, request: Counters::default(), reply: Counters::default() }
    }

    fn add(&mut self, more: &Passed) {
        self.request = self.request.and(&more.request);
        self.reply = self.reply.and(&more.reply);
    }
}

/// The conns that the kernel forwards.
#[derive(Default)]
pub struct FastPath {
    kernel: Option<Box<dyn Kernel>>,
    members: Members,
    hops: Hops,
    /// The director's time is that of the kernel's clock less so many milliseconds.
    epoch: u64,
    /// Conns that may be given entries, after what they have sent was written.
    offered: Vec<ConnId>,
    /// Of which a reply was noted, each in the place that its number gives it.
    noted: [Option<ConnId>; NOTED],
    /// Entries of another process.
    remains: Remains,
    /// Where reading goes on: with the conns below this place, all of them if there are none.
    place: usize,
    /// What happened.
    pub report: Report,
    /// Frames that the ledger does not have yet.
    uncounted: u64,
    /// SYNs that the kernel had answered when it was last asked, and how many of them the ledger does not have yet.
    answered: u64,
    uncounted_answers: u64,
}

impl FastPath {
    /// There is a program: conns may have entries as soon as those that another process has left are gone.
    pub fn start(&mut self, kernel: Box<dyn Kernel>, epoch: u64) {
        self.answered = kernel.answered();
        (self.kernel, self.epoch, self.remains) = (Some(kernel), epoch, Remains::all());
    }

    /// True if there is a program.
    #[inline]
    pub fn is_there(&self) -> bool {
        self.kernel.is_some()
    }

    /// How the program came to the devices, if there is one.
    pub fn words(&self) -> Option<&str> {
        self.kernel.as_deref().map(Kernel::words)
    }

    /// The kernel's side, if there is a program.
    pub fn kernel(&mut self) -> Option<&mut dyn Kernel> {
        self.kernel.as_deref_mut().map(|kernel| kernel as &mut dyn Kernel)
    }

    /// The director's time is that of the kernel's clock less so many milliseconds.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many conns have entries.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Why packets were left to the director.
    pub fn totals(&self) -> Option<Totals> {
        self.kernel.as_deref().map(Kernel::totals)
    }

    /// A conn asks for entries. Who asks in vain asks again later.
    pub fn offer(&mut self, id: ConnId) {
        if self.is_there() && self.offered.len() < OFFERED {
            self.offered.push(id);
        }
    }

    /// A reply of a conn, of which one in so many comes here: whose second one does asks for entries, so that a conn of one
    /// request and one answer does not.
    pub fn note_reply(&mut self, id: ConnId) {
        let place = &mut self.noted[id.index() % NOTED];
        if place.replace(id) == Some(id) {
            self.offer(id);
        }
    }

    /// True if conns ask for entries.
    #[inline]
    pub fn is_asked(&self) -> bool {
        !self.offered.is_empty()
    }

    /// A conn that has asked for entries.
    pub fn next_offer(&mut self) -> Option<ConnId> {
        self.offered.pop()
    }

    /// A conn gets none, for this reason.
    pub fn refuse(&mut self, why: &'static str) {
        self.report.refuse(why);
    }

    /// The place of a next hop, for entries; to be released if none is made.
    pub fn hold_hop(&mut self, hop: (LinkId, IpAddr), neighbour: Neighbour) -> Option<u32> {
        self.hops.hold(hop, neighbour, self.kernel.as_deref_mut()?)
    }

    /// No entry names the place any more.
    pub fn release_hop(&mut self, place: u32) {
        self.hops.release(place);
    }

    /// Gives a conn its entries; the places of next hops are the conn's then, or are released.
    pub fn add(&mut self, id: ConnId, dest: DestId, entries: &Entries, hops: [u32; 2]) -> Result<(), NotAdded> {
        let added = self.add_entries(entries);
        if let Err(why) = added {
            hops.iter().for_each(|place| self.hops.release(*place));
            self.refuse(match why {
                NotAdded::Exists => "same-client",
                NotAdded::Full => "full",
                NotAdded::Refused => "kernel",
            });
            return Err(why);
        }
        let second = entries.second.map(|(key, _)| key);
        self.members.add(Member { id, dest, key: entries.first.0, second, hops, counted: Default::default() });
        self.report.added += 1;
        Ok(())
    }

    fn add_entries(&mut self, entries: &Entries) -> Result<(), NotAdded> {
        let kernel = self.kernel.as_deref_mut().ok_or(NotAdded::Refused)?;
        // Replies first: a request that the kernel forwards may be answered at once.
        if let Some((key, entry)) = &entries.second {
            kernel.add(key, entry)?;
        }
        let first = kernel.add(&entries.first.0, &entries.first.1);
        if let (Err(_), Some((key, _))) = (first, &entries.second) {
            kernel.take(key);
        }
        first
    }

    /// Takes the entries of a conn away; what the kernel has done since it was last asked.
    pub fn take(&mut self, id: ConnId) -> Option<Passed> {
        let mut member = self.members.take(id)?;
        let kernel = self.kernel.as_deref_mut()?;
        let first = kernel.take(&member.key).map(|entry| (member.key, entry));
        let second = member.second.and_then(|key| kernel.take(&key).map(|entry| (key, entry)));
        let mut passed = Passed::of(&member);
        for (key, entry) in first.into_iter().chain(second) {
            passed.add(&news_of(&mut member, &key, &entry));
        }
        self.note(&passed, member.hops);
        member.hops.iter().for_each(|place| self.hops.release(*place));
        Some(passed)
    }

    /// The next reading begins with the first conn.
    pub fn read_from_the_first(&mut self) {
        self.place = 0;
    }

    /// Reads the entries of some conns and calls `each` with what the kernel has done; true if all were read since it was true
    /// last. By their keys: a map that is read from end to end, in one call, holds its processor for all of its buckets, full
    /// or not.
    pub fn read_some(&mut self, mut each: impl FnMut(Passed)) -> bool {
        let Some(kernel) = self.kernel.as_deref_mut() else { return true };
        let below = if self.place == 0 { usize::MAX } else { self.place };
        let (place, part) = self.members.part(below, READ_CONNS);
        self.place = place;
        let mut all = Vec::new();
        for member in part {
            let mut passed = Passed::of(member);
            for key in std::iter::once(member.key).chain(member.second) {
                if let Some(entry) = kernel.get(&key) {
                    passed.add(&news_of(member, &key, &entry));
                }
            }
            if passed.request.packets + passed.reply.packets > 0 {
                all.push((passed, member.hops));
            }
        }
        for (passed, hops) in all {
            self.note(&passed, hops);
            each(passed);
        }
        self.place == 0
    }

    fn note(&mut self, passed: &Passed, hops: [u32; 2]) {
        let (there, back) = (passed.request.packets, passed.reply.packets);
        self.report.frames += there + back;
        self.uncounted += there + back;
        for (count, place) in [(there, hops[0]), (back, hops[1])] {
            if count > 0 {
                self.hops.note_used(place);
            }
        }
    }

    /// Frames that the kernel has forwarded since this was last asked.
    pub fn take_uncounted(&mut self) -> u64 {
        std::mem::take(&mut self.uncounted)
    }

    /// SYNs that the kernel had answered when it was last asked; `None` if there is no program.
    pub fn answered(&self) -> Option<u64> {
        self.is_there().then_some(self.answered)
    }

    /// An earlier process knew of so many: those since are in no ledger. Of a kernel that has answered fewer it knew nothing.
    pub fn recall_answered(&mut self, known: u64) {
        self.answered = if known <= self.answered { known } else { 0 };
        self.read_answered();
    }

    /// Asks the kernel how many SYNs it has answered; true if there are more than there were.
    pub fn read_answered(&mut self) -> bool {
        let now = self.kernel.as_deref().map_or(self.answered, Kernel::answered);
        let more = now.saturating_sub(std::mem::replace(&mut self.answered, now));
        self.report.answered += more;
        self.uncounted_answers += more;
        more > 0
    }

    /// SYNs that the kernel has answered since this was last asked.
    pub fn take_uncounted_answers(&mut self) -> u64 {
        std::mem::take(&mut self.uncounted_answers)
    }

    /// Packets have passed by a next hop.
    pub fn note_used(&mut self, place: u32) {
        self.hops.note_used(place);
    }

    /// True while entries that another process has left are there.
    pub fn has_remains(&self) -> bool {
        !self.remains.are_gone()
    }

    /// Takes some of them away.
    pub fn take_remains(&mut self, most: usize) -> Vec<Left> {
        match self.kernel.as_deref_mut() {
            Some(kernel) => self.remains.take(most, kernel),
            None => Vec::new(),
        }
    }

    /// The conns of dests that `is_wanted` takes.
    pub fn of_dests(&self, is_wanted: impl Fn(DestId) -> bool) -> Vec<ConnId> {
        self.members.iter().filter(|member| is_wanted(member.dest)).map(|member| member.id).collect()
    }

    /// The kernel is told where next hops are now.
    pub fn refresh_hops(&mut self, now: impl Fn(LinkId, IpAddr) -> Neighbour) {
        if let Some(kernel) = self.kernel.as_deref_mut() {
            self.hops.refresh(now, kernel);
        }
    }

    /// The next hops by which packets have passed since this was last asked.
    pub fn take_used_hops(&mut self) -> Vec<(LinkId, IpAddr)> {
        self.hops.take_used()
    }

    /// Says who the director is on a link.
    pub fn set_station(&mut self, link: LinkId, station: &Station) {
        if let Some(kernel) = self.kernel.as_deref_mut() {
            kernel.set_station(link, station);
        }
    }

    /// The number of a link's device.
    pub fn device(&self, link: LinkId) -> u32 {
        self.kernel.as_deref().map_or(0, |kernel| kernel.device(link))
    }

    /// When the kernel saw the last packet of a way, in the director's time.
    pub fn moment_of(&self, counters: &Counters) -> Option<Instant> {
        const NANOS_A_MILLI: u64 = 1_000_000;
        (counters.seen != 0).then(|| Instant((counters.seen / NANOS_A_MILLI).saturating_sub(self.epoch)))
    }
}

/// What an entry has counted that was not known yet.
fn news_of(member: &mut Member, key: &Key, entry: &Entry) -> Passed {
    let mut passed = Passed::of(member);
    let is_first = *key == member.key;
    if is_first {
        passed.request = since(&mut member.counted[0], entry.request.counters);
    }
    // The first of two entries has no replies.
    if !is_first || member.second.is_none() {
        passed.reply = since(&mut member.counted[1], entry.reply.counters);
    }
    passed
}

fn since(known: &mut Counters, now: Counters) -> Counters {
    let before = std::mem::replace(known, now);
    let packets = now.packets.saturating_sub(before.packets);
    Counters { packets, bytes: now.bytes.saturating_sub(before.bytes), ..now }
}
