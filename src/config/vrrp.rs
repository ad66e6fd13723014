//! What the configuration's virtual routers are on its links, each of one family.

use std::net::IpAddr;

use super::draft::VrrpDraft;
use super::link::PlannedLink;
use super::place::{At, Place, Problems};
use crate::base::{self, Family, LinkId};
use crate::service::command::{Command, SyncOptions, SyncRole};
use crate::vrrp::{Options, Rank};
use crate::wire::vrrp::Version;

/// Where links without IPv4 have the group of connection synchronisation.
const GROUP6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x51));

/// The virtual routers, each of one family. `services` are the addresses of all services.
pub fn options(
    drafts: &[VrrpDraft],
    links: &[PlannedLink],
    services: &[IpAddr],
    problems: &mut Problems,
) -> Vec<Options> {
    let mut all: Vec<Options> = Vec::new();
    for (place, draft) in drafts.iter().enumerate() {
        let Some(link) = link_of(draft, links, problems) else { continue };
        let follows = draft.addresses.is_empty();
        if follows && drafts[..place].iter().any(|other| other.addresses.is_empty()) {
            problems
                .add(&draft.place, "another virtual router has the addresses of all services; name those of this one");
        }
        let said = draft.addresses.iter().map(|addr| addr.value);
        let mut addresses: Vec<IpAddr> = if follows { services.to_vec() } else { said.collect() };
        base::sort(&mut addresses);
        addresses.dedup();
        let fixed = links.iter().flat_map(|link| &link.addresses).map(|prefix| prefix.addr);
        for addr in fixed.filter(|addr| addresses.contains(addr)) {
            problems.add(&draft.place, format!("{addr} is a link's own address and does not move; name another"));
        }
        for family in [Family::V4, Family::V6] {
            let of_family = |addr: &IpAddr| Family::of(*addr) == family;
            let addresses: Vec<IpAddr> = addresses.iter().copied().filter(of_family).collect();
            if addresses.is_empty() && !(follows && can_speak(draft, family)) {
                continue;
            }
            if let Some(addr) = addresses.first() {
                check_speech(draft, *addr, problems);
            }
            let addresses = if follows { Vec::new() } else { addresses };
            let new = of_one_family(draft, link, family, addresses);
            check_apart(&new, &all, draft, problems);
            all.push(new);
        }
    }
    all
}

/// Synchronisation daemons that a virtual router brings.
#[derive(Clone, Debug)]
pub struct Daemons {
    link: LinkId,
    options: SyncOptions,
    /// Where they were asked for.
    pub place: Place,
}

impl Daemons {
    /// Those of the virtual routers with `sync`, each for itself.
    pub fn of(drafts: &[VrrpDraft], links: &[PlannedLink]) -> Vec<Daemons> {
        let asked = drafts.iter().filter_map(|draft| Some((draft, draft.sync.as_ref()?)));
        let daemons = asked.filter_map(|(draft, said)| {
            // A link that there is not has been told of.
            let link = link_of(draft, links, &mut Problems::default())?;
            let (peers, key) = (draft.sync_peers.clone(), draft.sync_key.clone());
            let mut options = SyncOptions { syncid: draft.id, peers, key, ..SyncOptions::default() };
            if !links[link.index()].addresses.iter().any(|prefix| prefix.addr.is_ipv4()) {
                options.group = GROUP6;
            }
            Some(Daemons { link, options, place: said.place.clone() })
        });
        daemons.collect()
    }

    /// Both roles at once, whoever has the addresses: a director without traffic has nothing to tell, and one that changed
    /// its role would miss what the others say meanwhile. `links` are the names of all links.
    pub fn commands(&self, links: &[(String, u16)]) -> [Command; 2] {
        let interface = links.get(self.link.index()).map_or_else(String::new, |(name, _)| name.clone());
        let options = SyncOptions { interface, ..self.options.clone() };
        [SyncRole::Master, SyncRole::Backup].map(|role| Command::StartDaemon(role, options.clone()))
    }
}

/// The link that a virtual router is on.
fn link_of(draft: &VrrpDraft, links: &[PlannedLink], problems: &mut Problems) -> Option<LinkId> {
    let index = match &draft.link {
        None => Some(0),
        Some(name) => links.iter().position(|link| link.device.tap.as_deref() == Some(&name.value)),
    };
    let found = index.filter(|index| links.get(*index).is_some_and(|link| link.device.bridge.is_some()));
    if found.is_none() {
        let place = draft.link.as_ref().map_or(&draft.place, |link| &link.place);
        problems.add(place, "no link on a bridge has this name; name the TAP of one");
    }
    found.map(|index| LinkId(index as u8))
}

fn is_v2(draft: &VrrpDraft) -> bool {
    draft.version != Version::V3
}

/// Those of a family.
fn of_family(all: &[At<IpAddr>], family: Family) -> Vec<IpAddr> {
    all.iter().map(|addr| addr.value).filter(|addr| Family::of(*addr) == family).collect()
}

/// True if a virtual router can advertise addresses of a family.
fn can_speak(draft: &VrrpDraft, family: Family) -> bool {
    let has_peers = draft.peers.is_empty() || !of_family(&draft.peers, family).is_empty();
    has_peers && (family == Family::V4 || !is_v2(draft))
}

/// Says why it cannot advertise this address.
fn check_speech(draft: &VrrpDraft, addr: IpAddr, problems: &mut Problems) {
    if is_v2(draft) && addr.is_ipv6() {
        problems.add(&draft.place, format!("version 2 has no IPv6 ({addr}); use version 3"));
    }
    if !draft.peers.is_empty() && of_family(&draft.peers, Family::of(addr)).is_empty() {
        problems.add(&draft.place, format!("no peer of the family of {addr}; name one, or leave peers out"));
    }
}

fn of_one_family(draft: &VrrpDraft, link: LinkId, family: Family, addresses: Vec<IpAddr>) -> Options {
    let (peers, from) = (of_family(&draft.peers, family), of_family(&draft.from, family));
    let (is_v2, follows) = (is_v2(draft), draft.addresses.is_empty());
    let VrrpDraft { priority, interval, preempt, preempt_delay, .. } = *draft;
    let rank = Rank { priority, interval, preempt, preempt_delay, is_v2 };
    let VrrpDraft { id, version, virtual_mac, covers, accept, .. } = *draft;
    let (tracks, group) = (draft.tracks.clone(), draft.group.clone());
    let (notify, user) = (draft.notify.clone(), draft.user.clone());
    Options {
        link,
        id,
        version,
        rank,
        family,
        addresses,
        follows,
        peers,
        from,
        accept,
        virtual_mac,
        covers,
        tracks,
        group,
        notify,
        user,
    }
}

/// An address belongs to one virtual router, and a number is used once on a link.
fn check_apart(new: &Options, known: &[Options], draft: &VrrpDraft, problems: &mut Problems) {
    if known.iter().any(|other| new.is_of(other)) {
        problems.add(&draft.place, format!("a second virtual router {} on this link; give it another id", new.id));
    }
    for addr in new.addresses.iter().filter(|addr| known.iter().any(|other| other.addresses.contains(addr))) {
        problems.add(&draft.place, format!("{addr} belongs to another virtual router already; name it once"));
    }
}
