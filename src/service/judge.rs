//! What checks say of dests, applied: masks, weights, the sorry dest, the lost quorum.
//!
//! Never changes the administrator's part, and never the list of dests: a failed dest keeps its place.

use super::command::{DestOptions, Method, ServiceKey};
use super::{Judgement, Services};
use crate::base::{DestId, Endpoint, Instant};
use crate::sched::{Change, Mask};

impl Services {
    /// Applies a judgement; the dest, if that changes anything for it.
    pub fn judge(&mut self, key: ServiceKey, endpoint: Endpoint, judgement: Judgement) -> Option<DestId> {
        let id = *self.by_key.get(&key)?;
        let dest = self.find_dest(id, endpoint)?;
        let known = &mut self.dests[dest.index()];
        if known.judgement == judgement {
            return None;
        }
        let ends_otherwise = known.judgement.ending != judgement.ending;
        known.judgement = judgement;
        let weight = judgement.weight(known.weight);
        let server = &mut self.servers[dest.index()];
        let is_upset = ends_otherwise || server.mask != judgement.mask;
        if (server.mask, server.weight) != (judgement.mask, weight) {
            server.mask = judgement.mask;
            server.set_weight(weight);
            self.notify(id, Change::Edited(dest));
            self.reproxy(key);
        }
        if is_upset {
            self.upset(dest);
        }
        Some(dest)
    }

    /// Something has happened to the conns of a dest.
    pub(super) fn upset(&mut self, dest: DestId) {
        if !self.upset.contains(&dest) {
            self.upset.push(dest);
        }
    }

    /// Forgets what checks said of a service: it has none any more.
    pub fn acquit(&mut self, key: ServiceKey, now: Instant) {
        let Some(service) = self.by_key(&key) else { return };
        let endpoints: Vec<Endpoint> = service.dests.iter().map(|dest| self.server(*dest).endpoint).collect();
        for endpoint in endpoints {
            self.judge(key, endpoint, Judgement::default());
        }
        self.set_sorry(key, None, now);
        self.set_lost(key, Quorum::There);
    }

    /// Sets whether enough dests are up.
    pub fn set_lost(&mut self, key: ServiceKey, quorum: Quorum) {
        let Some(id) = self.by_key.get(&key) else { return };
        if let Some(service) = self.services[id.index()].as_mut() {
            service.lost = quorum == Quorum::Lost;
        }
    }

    /// Names the sorry dest of a service.
    pub fn set_sorry(&mut self, key: ServiceKey, sorry: Option<(Endpoint, Method)>, now: Instant) {
        let Some(&id) = self.by_key.get(&key) else { return };
        let present = self.get(id).and_then(|service| service.sorry);
        let is = present.map(|dest| (self.server(dest).endpoint, self.dest(dest).method));
        if is == sorry {
            return;
        }
        if let Some(dest) = present {
            self.retire(dest, now);
        }
        let fresh = sorry.map(|(endpoint, method)| {
            let options = DestOptions { method, ..DestOptions::default() };
            let dest = self.new_dest(key, endpoint, &options);
            self.dests[dest.index()].slot = id;
            dest
        });
        if let Some(service) = self.services[id.index()].as_mut() {
            service.sorry = fresh;
        }
    }

    /// True if conns of this dest that begin anew, and datagrams, go elsewhere.
    #[inline]
    pub fn is_abandoned(&self, dest: DestId) -> bool {
        self.servers[dest.index()].mask != Mask::None
            && self.dests[dest.index()].judgement.ending != super::Ending::None
    }
}

/// Whether enough dests of a service are up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quorum {
    /// Enough.
    There,
    /// Too few.
    Lost,
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::command::{Command, ServiceOptions};
    use super::super::{Ending, Share};
    use super::*;
    use crate::base::{Family, Proto, Tuple};
    use crate::sched::Settings;

    const NOW: Instant = Instant::START;

    fn end(last: u8) -> Endpoint {
        Endpoint::new(IpAddr::from([10, 0, 0, last]), 80)
    }

    fn key() -> ServiceKey {
        ServiceKey::Address(Proto::TCP, end(100))
    }

    fn options(weight: u32) -> DestOptions {
        DestOptions { method: Method::Nat, weight, ..DestOptions::default() }
    }

    fn services() -> Services {
        let mut services = Services::new(Settings::default(), 1);
        let rr = ServiceOptions { scheduler: "wrr".into(), ..ServiceOptions::defaults(Family::V4) };
        services.apply(&Command::AddService(key(), rr), NOW).unwrap();
        for last in [21, 22] {
            services.apply(&Command::AddDest(key(), end(last), options(4)), NOW).unwrap();
        }
        services
    }

    fn picks(services: &mut Services) -> Vec<u8> {
        let tuple = Tuple { proto: Proto::TCP, src: Endpoint::new(IpAddr::from([192, 0, 2, 1]), 1024), dst: end(100) };
        let id = services.find(&tuple).unwrap();
        let mut pick = || {
            let dest = services
                .substitute(id)
                .or_else(|| services.pick(id, &tuple, NOW))
                .or_else(|| services.last_resort(id))?;
            let IpAddr::V4(addr) = services.server(dest).endpoint.addr else { return None };
            Some(addr.octets()[3])
        };
        let mut picks: Vec<u8> = (0..8).filter_map(|_| pick()).collect();
        picks.sort();
        picks
    }

    fn failed() -> Judgement {
        Judgement { mask: Mask::Failed, ..Judgement::default() }
    }

    #[test]
    fn a_failed_dest_keeps_its_place_and_the_administrators_weight() {
        let mut services = services();
        let before = services.by_key(&key()).unwrap().dests.clone();
        services.judge(key(), end(21), failed());
        assert_eq!(picks(&mut services), [22; 8]);
        assert_eq!(services.by_key(&key()).unwrap().dests, before);
        let dest = services.find_dest(services.find(&tuple()).unwrap(), end(21)).unwrap();
        assert_eq!((services.dest_options(dest).weight, services.server(dest).present_weight()), (4, 0));
        // Whoever edits it sets the administrator's part alone.
        services.apply(&Command::EditDest(key(), end(21), options(9)), NOW).unwrap();
        assert_eq!((services.dest_options(dest).weight, services.server(dest).present_weight()), (9, 0));
        services.judge(key(), end(21), Judgement { share: Share::Percent(50), ..Judgement::default() });
        assert_eq!((services.dest_options(dest).weight, services.server(dest).weight), (9, 5));
        services.acquit(key(), NOW);
        assert_eq!(services.server(dest).weight, 9);
    }

    fn tuple() -> Tuple {
        Tuple { proto: Proto::TCP, src: end(1), dst: end(100) }
    }

    #[test]
    fn the_sorry_dest_stands_in_no_list_and_serves_without_a_quorum_or_as_the_last_resort() {
        let mut services = services();
        services.set_sorry(key(), Some((end(99), Method::Nat)), NOW);
        assert_eq!(services.by_key(&key()).unwrap().dests.len(), 2);
        assert_eq!(picks(&mut services), [21, 21, 21, 21, 22, 22, 22, 22]);
        services.set_lost(key(), Quorum::Lost);
        assert_eq!(picks(&mut services), [99; 8]);
        services.set_lost(key(), Quorum::There);
        [21, 22].iter().for_each(|last| _ = services.judge(key(), end(*last), failed()));
        assert_eq!(picks(&mut services), [99; 8]);
        services.set_sorry(key(), None, NOW);
        assert!(picks(&mut services).is_empty());
        services.set_lost(key(), Quorum::Lost);
        services.acquit(key(), NOW);
        assert_eq!(picks(&mut services).len(), 8);
    }

    #[test]
    fn only_a_masked_dest_with_an_ending_is_abandoned() {
        let mut services = services();
        let dest = services.find_dest(services.find(&tuple()).unwrap(), end(21)).unwrap();
        for (mask, ending, wanted) in [
            (Mask::None, Ending::None, false),
            (Mask::Drained, Ending::None, false),
            (Mask::Failed, Ending::None, false),
            (Mask::Failed, Ending::Reschedule, true),
            (Mask::Drained, Ending::Drop, true),
        ] {
            services.judge(key(), end(21), Judgement { mask, ending, ..Judgement::default() });
            assert_eq!(services.is_abandoned(dest), wanted, "{mask:?} {ending:?}");
        }
    }
}
