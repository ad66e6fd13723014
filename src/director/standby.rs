//! Standing by while another director with the same services works: which of them answers for the addresses.
//!
//! ```text
//! Active     answers and forwards
//! Reserved   the backup's synchronisation daemon runs here and no master's: silent about the addresses of services. What
//!            is sent here nevertheless is forwarded, as by a kernel
//! Mute       the same with backup_only, or told so by an operator, or from the start by the setting standby: drops all but
//!            what the master tells of its conns
//! ```

use std::net::IpAddr;

use super::Director;
use crate::base::Instant;
use crate::router::Virtuals;
use crate::service::Services;
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
pub(super) struct Standby {
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

    /// True if nothing may be sent.
    pub(super) fn is_mute(&self) -> bool {
        self.part == Part::Mute
    }

    /// The run begins.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// True for what another director is to deal with.
    pub(super) fn silences(&self, parsed: &Parsed, services: &Services, virtuals: &Virtuals) -> bool {
        (!self.is_active() && self.is_for_other(parsed, services))
            || (virtuals.any_away() && is_to_away(parsed, virtuals))
    }

    fn is_for_other(&self, parsed: &Parsed, services: &Services) -> bool {
        match parsed {
            // What the master tells of its conns is sent to a group.
            Parsed::Ip(ip) => self.is_mute() && !ip.dst.is_multicast(),
            Parsed::Arp(arp) if self.is_mute() => arp.op == ArpOp::Request,
            Parsed::Ndp(ndp) if self.is_mute() => !matches!(ndp, Ndp::Advertisement { .. }),
            Parsed::Arp(arp) => arp.op == ArpOp::Request && services.owns(IpAddr::V4(arp.target.1)),
            Parsed::Ndp(Ndp::Solicitation { target, .. }) => services.owns(IpAddr::V6(*target)),
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

impl Director {
    /// An operator has this director stand by, or work.
    pub fn stand_by(&mut self, on: bool, now: Instant) {
        self.standby.told = Some(on);
        self.judge_standby(now);
    }

    /// Whether this director stands by, for people.
    pub fn standby(&self) -> Option<&'static str> {
        match self.standby.part {
            Part::Active => None,
            Part::Reserved => Some("silent about the addresses of services; another director has them"),
            Part::Mute => Some("mute; another director works"),
        }
    }

    /// True while another director has the conns (`backup_only`), unless an operator has this one work.
    pub(super) fn only_stands_by(&self) -> bool {
        self.sync.only_backs_up(&self.flows.settings) && self.standby.told != Some(false)
    }

    /// Takes the part that is due now. Whoever takes over announces all addresses.
    pub(super) fn judge_standby(&mut self, now: Instant) {
        let backup = self.sync.is_backup() && !self.sync.is_master();
        let part = match self.standby.told {
            Some(true) => Part::Mute,
            Some(false) => Part::Active,
            None if self.flows.settings.standby && !self.sync.is_master() => Part::Mute,
            None if backup && self.flows.settings.backup_only => Part::Mute,
            None if backup => Part::Reserved,
            None => Part::Active,
        };
        if std::mem::replace(&mut self.standby.part, part) == part {
            return;
        }
        self.stack.announcements.clear();
        log::info!(
            "{}",
            self.standby().map_or("works: announces its addresses".to_owned(), |how| format!("stands by: {how}"))
        );
        if self.standby.begun {
            let own: Vec<IpAddr> = self.router.own_addresses().collect();
            let all = if part == Part::Mute { Vec::new() } else { own };
            all.into_iter().for_each(|addr| self.stack.announcements.add(addr, now));
        }
        let services: Vec<IpAddr> = self.flows.services.addresses().collect();
        self.announce(services, now);
    }

    /// Has addresses of services announced, unless another director has them.
    pub(super) fn announce(&mut self, addresses: impl IntoIterator<Item = IpAddr>, now: Instant) {
        if self.standby.is_active() {
            let here = addresses.into_iter().filter(|addr| !self.router.virtuals.is_away(*addr));
            here.for_each(|addr| self.stack.announcements.add(addr, now));
        }
    }

    /// Has new addresses of services probed and announced, unless another director has them.
    pub(super) fn announce_new(&mut self, addresses: impl IntoIterator<Item = IpAddr>, now: Instant) {
        if self.standby.part == Part::Active {
            let here = addresses.into_iter().filter(|addr| !self.router.virtuals.is_away(*addr));
            here.for_each(|addr| self.stack.announcements.probe(addr, now));
        }
    }
}
