//! Which neighbours may be solicited at a time: bounded by source and by link, so that nobody's scan of a net floods the
//! link or keeps others' neighbours from being resolved.
//!
//! Gateways and real servers are always solicited. Clients of conns and the next hops of packets that are only forwarded
//! have a share each; the oldest makes room, for a neighbour that is there has answered long before.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::routes::{Need, Route};
use crate::base::{Instant, LinkId};

/// Neighbours of packets that are only forwarded: solicited at once, and first solicitations in a second, on one link.
const OF_TRANSIT: usize = 256;
/// The same of clients of conns.
const OF_CONNS: usize = 1024;
/// Of those that are only forwarded: solicited at once for one source.
const PER_SOURCE: usize = 16;

/// Whether a neighbour may be solicited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admission {
    /// It may.
    Granted,
    /// It may, and this one is not waited for any longer.
    InPlaceOf(IpAddr),
    /// Not now.
    Refused,
}

/// The neighbours of all links that are solicited, but for those that the configuration names.
#[derive(Default)]
pub(super) struct Unresolved {
    links: Vec<Shares>,
}

struct Shares {
    transit: Share,
    conns: Share,
}

struct Share {
    /// Neighbour and source of the packet that needs it, the oldest first.
    waiting: VecDeque<(IpAddr, IpAddr)>,
    /// As many may wait, and as many are first solicited in a second.
    limit: usize,
    /// First solicitations that are left, in thousandths: a millisecond earns `limit` of them.
    credit: usize,
    counted: Instant,
}

impl Unresolved {
    /// Whether `addr` may be solicited for a packet of `source`; if so it is waited for until `remove`.
    pub(super) fn admit(&mut self, route: &Route, source: IpAddr, now: Instant) -> Admission {
        let Route { link, next_hop: addr, need, .. } = *route;
        if self.links.len() <= link.index() {
            self.links.resize_with(link.index() + 1, || Shares {
                transit: Share::of(OF_TRANSIT),
                conns: Share::of(OF_CONNS),
            });
        }
        let shares = &mut self.links[link.index()];
        match need {
            Need::Configured => Admission::Granted,
            Need::Conn => shares.conns.admit(addr, source, now),
            Need::Transit if shares.transit.of_source(source) >= PER_SOURCE => Admission::Refused,
            Need::Transit => shares.transit.admit(addr, source, now),
        }
    }

    /// A neighbour has answered, or is not waited for any longer.
    pub(super) fn remove(&mut self, link: LinkId, addr: IpAddr) {
        let Some(shares) = self.links.get_mut(link.index()) else { return };
        for share in [&mut shares.transit, &mut shares.conns] {
            if let Some(place) = share.waiting.iter().position(|(waiting, _)| *waiting == addr) {
                share.waiting.remove(place);
            }
        }
    }
}

impl Share {
    fn of(limit: usize) -> Share {
        Share { waiting: VecDeque::new(), limit, credit: limit * 1000, counted: Instant::START }
    }

    fn of_source(&self, source: IpAddr) -> usize {
        self.waiting.iter().filter(|(_, of)| *of == source).count()
    }

    fn admit(&mut self, addr: IpAddr, source: IpAddr, now: Instant) -> Admission {
        let earned = (now.since(self.counted).as_millis() as usize).saturating_mul(self.limit);
        self.counted = now;
        self.credit = self.credit.saturating_add(earned).min(self.limit * 1000);
        let Some(left) = self.credit.checked_sub(1000) else { return Admission::Refused };
        self.credit = left;
        let oldest = if self.waiting.len() < self.limit { None } else { self.waiting.pop_front() };
        self.waiting.push_back((addr, source));
        oldest.map_or(Admission::Granted, |(oldest, _)| Admission::InPlaceOf(oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(0);

    fn route(number: usize, need: Need) -> Route {
        Route { link: LINK, next_hop: addr(number), mtu: 1500, need }
    }

    fn addr(number: usize) -> IpAddr {
        IpAddr::from([10, 0, (number >> 8) as u8, number as u8])
    }

    fn client(number: usize) -> IpAddr {
        IpAddr::from([192, 0, (number >> 8) as u8, number as u8])
    }

    #[test]
    fn one_source_has_few_and_no_part_in_what_conns_and_servers_need() {
        let mut unresolved = Unresolved::default();
        let mut admit = |number, source, need| unresolved.admit(&route(number, need), source, Instant(1000));
        let granted = (0..1000).filter(|number| admit(*number, client(1), Need::Transit) == Admission::Granted);
        assert_eq!(granted.count(), PER_SOURCE);
        assert_eq!(admit(2000, client(2), Need::Transit), Admission::Granted);
        assert_eq!(admit(2001, client(1), Need::Conn), Admission::Granted);
        assert_eq!(admit(2002, client(1), Need::Configured), Admission::Granted);
    }

    #[test]
    fn many_sources_have_a_rate_in_common_and_the_oldest_makes_room() {
        let mut unresolved = Unresolved::default();
        let mut admit = |number: usize, now| unresolved.admit(&route(number, Need::Transit), client(number), now);
        assert!((0..OF_TRANSIT).all(|number| admit(number, Instant(1000)) == Admission::Granted));
        assert_eq!(admit(5000, Instant(1000)), Admission::Refused, "the rate");
        let later = (0..1000).map(|number| admit(6000 + number, Instant(1500)));
        let admitted: Vec<Admission> = later.filter(|admission| *admission != Admission::Refused).collect();
        assert_eq!(admitted.len(), OF_TRANSIT / 2);
        assert_eq!(admitted[..2], [Admission::InPlaceOf(addr(0)), Admission::InPlaceOf(addr(1))]);
        unresolved.remove(LINK, addr(6000));
        assert_eq!(unresolved.admit(&route(1, Need::Conn), client(1), Instant(1500)), Admission::Granted);
        assert_eq!(unresolved.admit(&route(2, Need::Transit), client(2), Instant(1600)), Admission::Granted);
    }
}
