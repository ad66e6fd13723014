//! VRRP: which of several directors has the virtual addresses (RFC 9568; RFC 3768 with the password of RFC 2338).
//!
//! Speaks with other routers and says what changes; what an address that comes or goes means is the director's matter.

mod follow;
mod groups;
mod hear;
mod machine;
mod neighbours;
mod options;
mod report;
mod track;
mod virtual_router;

use std::net::IpAddr;

pub use machine::Rank;
pub use options::Options;
pub use report::Report;
pub use track::{Track, Tracked};

use crate::base::{Consumed, DropReason, Family, Instant, LinkId, Mac, Proto};
use crate::router::{Egress, Router, Turn};
use crate::service::Services;
use crate::wire::vrrp::{GROUP4, GROUP6};
use crate::wire::{Ip, Packet};
use neighbours::Asked;
use track::Failed;
use virtual_router::VirtualRouter;

/// Addresses that have come or gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Their link.
    pub link: LinkId,
    /// Which ones.
    pub addresses: Vec<IpAddr>,
    /// The MAC that they have; the link's without one.
    pub mac: Option<Mac>,
    /// Packets to them that are for no service are taken.
    pub accept: bool,
    /// What has become of them.
    pub now: Place,
}

/// Where addresses are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Here; neighbours are to be told.
    Here,
    /// At another director.
    Away,
    /// They do not move any more.
    Fixed,
}

/// The virtual routers of a director.
#[derive(Default)]
pub struct Vrrp {
    routers: Vec<VirtualRouter>,
    changes: Vec<Change>,
    wanted: Vec<Options>,
    /// What is wanted is not what there is yet.
    is_due: bool,
    /// An operator wants others to have the addresses.
    gives_up: bool,
    /// Those that go on where an earlier process has ended.
    resumed: Vec<Name>,
    /// Which ones are active is not told yet.
    has_news: bool,
    /// What has failed of all that is tracked.
    failed: Vec<Failed>,
    /// Which is not heeded yet.
    failed_anew: bool,
    /// The director answers nobody.
    stands_by: bool,
    /// Neighbours that are tracked.
    asked: Vec<Asked>,
    /// When addresses of services that have come or gone are looked at, for those that follow them.
    following: Option<Instant>,
    /// When that was done last.
    followed: Instant,
}

/// Names a virtual router: its link, number and family.
pub type Name = (LinkId, u8, Family);

impl Vrrp {
    /// Other virtual routers, from the next tick on. One that stays keeps its state; one that goes tells the others.
    pub fn want(&mut self, wanted: Vec<Options>) {
        (self.wanted, self.is_due) = (wanted, true);
    }

    /// These were active in a process that has just ended: they go on, before anybody misses an advertisement.
    pub fn resume(&mut self, active: impl Iterator<Item = Name>) {
        self.resumed = active.collect();
    }

    /// The virtual routers that are active, if others are than when it was asked for.
    pub fn take_news(&mut self) -> Option<Vec<Name>> {
        let active = || self.routers.iter().filter(|known| known.is_active()).map(|known| known.options().name());
        std::mem::take(&mut self.has_news).then(|| active().collect())
    }

    /// The options of the virtual routers that are wanted.
    pub fn wanted(&self) -> &[Options] {
        &self.wanted
    }

    fn configure(&mut self, services: &Services, router: &mut Router, turn: &mut Turn<impl Egress>) {
        (self.following, self.followed) = (None, turn.now);
        let wanted = self.with_addresses(services, router);
        for mut old in std::mem::take(&mut self.routers) {
            if wanted.iter().any(|options| options.is_of(old.options())) {
                self.routers.push(old);
            } else {
                old.stop("it is not configured any more", router, turn);
                self.changes.push(old.change(Place::Fixed));
            }
        }
        let tracks = || wanted.iter().flat_map(|options| &options.tracks);
        self.failed.retain(|(what, _)| tracks().any(|track| track.what == *what));
        self.failed_anew = true;
        self.ask_for(tracks(), turn.now);
        for options in &wanted {
            match self.routers.iter_mut().find(|known| options.is_of(known.options())) {
                Some(known) => self.changes.extend(known.set_options(options.clone())),
                None => self.add(options.clone(), router, turn),
            }
        }
    }

    fn add(&mut self, options: Options, router: &mut Router, turn: &mut Turn<impl Egress>) {
        if options.family == Family::V6 && options.peers.is_empty() {
            // Bridges that snoop deliver the group's frames to members only.
            router.join(options.link, GROUP6, turn);
        }
        let mut new = VirtualRouter::new(options, turn.now);
        self.changes.push(new.change(Place::Away));
        let resumes = self.resumed.contains(&new.options().name());
        let change = if resumes { new.resume(router, turn) } else { new.start(router, turn) };
        self.changes.extend(change);
        self.routers.push(new);
    }

    /// True for a packet to the group of all VRRP routers that is for them.
    pub fn is_advertisement(ip: &Ip) -> bool {
        matches!(ip.proto, Proto::VRRP | Proto::AH) && (ip.dst == GROUP4 || ip.dst == GROUP6)
    }

    /// An advertisement, from this link if it was sent to a group.
    pub fn hear(
        &mut self,
        link: Option<LinkId>,
        packet: &Packet,
        router: &mut Router,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), DropReason> {
        let mut done = Err(DropReason::Vrrp);
        let id = hear::number(&packet.frame()[packet.ip.l4_at..packet.ip.end], packet.ip.proto);
        let is_of = |known: &VirtualRouter| Some(known.options().id) == id;
        let is_known = self.routers.iter().any(|known| known.listens(link, packet.ip) && is_of(known));
        for known in self.routers.iter_mut() {
            if !known.listens(link, packet.ip) {
                known.note_other_way(link, id, packet.ip, turn.now);
                continue;
            }
            if !is_known {
                known.count_refused(if id.is_some() { "id" } else { "length" });
            } else if is_of(known)
                && let Some(change) = known.hear(packet, router, turn)
            {
                self.changes.extend(change);
                done = Ok(());
            }
        }
        if done.is_ok() {
            turn.consume(Consumed::Vrrp);
            self.follow_groups(router, turn);
        }
        done
    }

    /// Nobody is preempted while this is said: conns of others are not known here yet.
    pub fn hold_back(&mut self, held: bool) {
        self.routers.iter_mut().for_each(|known| known.hold_back(held));
    }

    /// The director answers nobody from now on, so that its virtual routers take no part, or it works.
    pub fn stand_by(&mut self, on: bool) {
        self.failed_anew |= on != self.stands_by;
        self.stands_by = on;
    }

    /// True if addresses may be given up at the next tick.
    pub fn is_leaving(&self) -> bool {
        self.is_due || self.gives_up || self.failed_anew
    }

    /// All that is tracked.
    pub fn tracked(&self) -> impl Iterator<Item = &Tracked> {
        self.wanted.iter().flat_map(|options| &options.tracks).map(|track| &track.what)
    }

    /// Something of it is well, or has failed for this reason.
    pub fn judge(&mut self, what: &Tracked, why: Option<&str>) {
        let known = self.failed.iter().position(|(failed, _)| failed == what);
        match (known, why) {
            (Some(place), None) => drop(self.failed.swap_remove(place)),
            (None, Some(why)) => self.failed.push((what.clone(), why.to_owned())),
            (Some(_), Some(_)) | (None, None) => return,
        }
        self.failed_anew = true;
    }

    /// A program to run, with its arguments, that is to be told of a change, and who it runs as. Of a group, its first one
    /// speaks.
    pub fn take_notice(&mut self) -> Option<(Vec<String>, Option<String>)> {
        let is_first = |at: usize, all: &[VirtualRouter]| {
            let group = &all[at].options().group;
            group.is_none() || all[..at].iter().all(|other| other.options().group != *group)
        };
        (0..self.routers.len())
            .find_map(|at| if is_first(at, &self.routers) { self.routers[at].take_notice() } else { None })
    }

    /// True if this process was frozen while it was active, for so long that others have taken over.
    pub fn has_overslept(&self, now: Instant) -> bool {
        self.routers.iter().any(|known| known.has_overslept(now))
    }

    /// True if addresses that were here have gone to somebody who has advertised.
    pub fn has_yielded(&self) -> bool {
        self.changes.iter().any(|change| change.now == Place::Away)
    }

    /// Sends what is due, takes over what nobody has.
    pub fn tick(&mut self, services: &Services, router: &mut Router, turn: &mut Turn<impl Egress>) {
        let woken = self.routers.iter_mut().filter_map(|known| known.wake(turn.now));
        self.changes.extend(woken);
        if std::mem::take(&mut self.is_due) || self.following.is_some_and(|due| due <= turn.now) {
            self.configure(services, router, turn);
        }
        if std::mem::take(&mut self.gives_up) {
            for known in &mut self.routers {
                let change = known.give_up("an operator wants it", router, turn);
                self.changes.extend(change);
            }
        }
        if std::mem::take(&mut self.failed_anew) {
            self.stand(router, turn);
        }
        self.gather_groups(turn.now);
        for known in &mut self.routers {
            let change = known.tick(router, turn);
            self.changes.extend(change);
        }
        self.follow_groups(router, turn);
        // What follows from it is done at the next tick, for which conns are told before.
        self.ask_neighbours(router, turn);
    }

    /// Gives up what is here at the next tick, for others to take over at once; how many virtual routers that are.
    pub fn give_up(&mut self) -> usize {
        self.gives_up = true;
        self.routers.iter().filter(|known| known.is_active()).count()
    }

    /// The end of the run: others take over at once.
    pub fn shut_down(&mut self, router: &mut Router, turn: &mut Turn<impl Egress>) {
        self.routers.iter_mut().for_each(|known| known.stop("the director ends", router, turn));
    }

    /// What has changed since it was asked for.
    pub fn take_change(&mut self) -> Option<Change> {
        if self.changes.is_empty() {
            return None;
        }
        self.has_news = true;
        Some(self.changes.remove(0))
    }

    /// When `tick` has something to do.
    pub fn due(&self) -> Option<Instant> {
        let at_once = self.is_leaving().then_some(Instant::START).into_iter().chain(self.following);
        self.routers.iter().filter_map(VirtualRouter::due).chain(at_once).chain(self.asking_due()).min()
    }

    /// All of them, for people.
    pub fn reports(&self) -> impl Iterator<Item = Report> {
        self.routers.iter().map(VirtualRouter::report)
    }
}
