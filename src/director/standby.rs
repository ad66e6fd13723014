//! Standing by while another director with the same services works: which of them answers for the addresses.
//!
//! ```text
//! Active     answers and forwards
//! Reserved   the backup's synchronisation daemon runs here and no master's: silent about the addresses of services, but for
//!            those of virtual routers, which say themselves who has them. What is sent here nevertheless is forwarded, as by a
//!            kernel
//! Mute       the same with backup_only, or told so by an operator, or from the start by the setting standby: drops all but
//!            what the master tells of its conns
//! ```

use std::net::IpAddr;

use crate::router::Virtuals;
use crate::service::Services;
use crate::settings::Settings;
use crate::sync::Sync;
use crate::wire::Parsed;
use crate::wire::arp::ArpOp;
use crate::wire::ndp::Ndp;

/// How far a director takes part.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Part {
    #[default]
    Active,
    Reserved,
    Mute,
}

/// The part that a director takes, and what an operator has said about it.
#[derive(Default)]
pub struct Standby {
    part: Part,
    told: Option<bool>,
    /// Neighbours have been told of the addresses, so that a change is news.
    begun: bool,
}

impl Standby {
    /// True if no other director works.
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        self.part == Part::Active
    }

    /// True unless another director works, or has some of the addresses.
    #[inline]
    pub(super) fn has_all_addresses(&self, virtuals: &Virtuals) -> bool {
        self.is_active() && !virtuals.any_away()
    }

    /// True for an address of a service that no other director has.
    pub(super) fn speaks_for(&self, addr: IpAddr, virtuals: &Virtuals) -> bool {
        match self.part {
            Part::Active => !virtuals.is_away(addr),
            Part::Reserved => virtuals.is_here(addr),
            Part::Mute => false,
        }
    }

    /// True if nothing may be sent.
    pub(super) fn is_mute(&self) -> bool {
        self.part == Part::Mute
    }

    /// The run begins: neighbours are told of addresses from now on.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// True from then on.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// An operator has this director stand by, or work.
    pub(super) fn tell(&mut self, on: bool) {
        self.told = Some(on);
    }

    /// Takes the part that is due now; true if it is another one.
    pub(super) fn judge(&mut self, sync: &Sync, settings: &Settings) -> bool {
        let backup = sync.is_backup() && !sync.is_master();
        let part = match self.told {
            Some(true) => Part::Mute,
            Some(false) => Part::Active,
            None if settings.standby && !sync.is_master() => Part::Mute,
            None if backup && settings.backup_only => Part::Mute,
            None if backup => Part::Reserved,
            None => Part::Active,
        };
        std::mem::replace(&mut self.part, part) != part
    }

    /// Whether this director stands by, for people.
    pub fn in_words(&self) -> Option<&'static str> {
        match self.part {
            Part::Active => None,
            Part::Reserved => Some("silent about the addresses of services; another director has them"),
            Part::Mute => Some("mute; another director works"),
        }
    }

    /// True while another director has the conns (`backup_only`), unless an operator has this one work.
    #[inline]
    pub(super) fn leaves_conns(&self, sync: &Sync, settings: &Settings) -> bool {
        sync.only_backs_up(settings) && self.told != Some(false)
    }

    /// True for what another director is to deal with.
    pub(super) fn silences(&self, parsed: &Parsed, services: &Services, virtuals: &Virtuals, sync: &Sync) -> bool {
        let left_to_others = |addr| services.owns(addr) && !self.speaks_for(addr, virtuals);
        (!self.is_active() && self.is_for_other(parsed, left_to_others, sync))
            || (virtuals.any_away() && is_to_away(parsed, virtuals))
    }

    fn is_for_other(&self, parsed: &Parsed, left_to_others: impl Fn(IpAddr) -> bool, sync: &Sync) -> bool {
        // Peers that tell this director alone ask for its own addresses.
        let is_silent = self.is_mute() && !sync.has_peers();
        match parsed {
            // What the master tells of its conns is sent to a group, or to this director.
            Parsed::Ip(ip) => self.is_mute() && !ip.dst.is_multicast() && !sync.is_from_peer(ip),
            Parsed::Arp(arp) if is_silent => arp.op == ArpOp::Request,
            // Who does not answer queries is told nothing by a bridge that snoops.
            Parsed::Ndp(ndp) if is_silent => !matches!(ndp, Ndp::Advertisement { .. } | Ndp::Query(_)),
            Parsed::Arp(arp) => arp.op == ArpOp::Request && left_to_others(IpAddr::V4(arp.target.1)),
            Parsed::Ndp(Ndp::Solicitation { target, .. }) => left_to_others(IpAddr::V6(*target)),
            Parsed::Ndp(_) => false,
        }
    }
}

/// True for what is sent to an address that another director has now, or asks for it.
fn is_to_away(parsed: &Parsed, virtuals: &Virtuals) -> bool {
    match parsed {
        Parsed::Ip(ip) => virtuals.is_away(ip.dst),
        Parsed::Arp(arp) => arp.op == ArpOp::Request && virtuals.is_away(IpAddr::V4(arp.target.1)),
        Parsed::Ndp(Ndp::Solicitation { target, .. }) => virtuals.is_away(IpAddr::V6(*target)),
        Parsed::Ndp(_) => false,
    }
}
