//! Dests that are added, edited and deleted, with the refusals of the kernel.
//!
//! Never touches conns: they keep their dest's slot, and find it unavailable.

use std::net::IpAddr;

use super::addresses::Use;
use super::command::{DestOptions, Method, Refused, ServiceKey, ServiceOptions, SynProxy};
use super::trash::Place;
use super::{Dest, Judgement, Meter, Services, Stats};
use crate::base::{DestId, Endpoint, Family, Instant, ServiceId};
use crate::sched::{Change, Server};

impl Services {
    pub(super) fn add_dest(
        &mut self,
        key: ServiceKey,
        endpoint: Endpoint,
        options: &DestOptions,
    ) -> Result<(), Refused> {
        let id = self.service_for(key, endpoint, options)?;
        if self.by_endpoint.contains_key(&(id, endpoint)) {
            return Err(Refused::DestExists);
        }
        let dest = self.revive(key, endpoint, options).unwrap_or_else(|| self.new_dest(key, endpoint, options));
        self.dests[dest.index()].slot = id;
        self.by_endpoint.insert((id, endpoint), dest);
        self.count_nat(dest, true);
        self.addresses.add(endpoint.addr, Use::Server);
        if let Some(service) = self.services[id.index()].as_mut() {
            service.dests.insert(0, dest);
        }
        self.notify(id, Change::Added(dest));
        Ok(())
    }

    /// The service that a dest is for, if it can be a dest of it.
    fn service_for(
        &mut self,
        key: ServiceKey,
        endpoint: Endpoint,
        options: &DestOptions,
    ) -> Result<ServiceId, Refused> {
        let id = *self.by_key.get(&key).ok_or(Refused::ServiceNotDefined)?;
        check_dest(key, endpoint, options)?;
        let service = self.get(id).ok_or(Refused::ServiceNotDefined)?;
        check_methods(&service.options, std::iter::once(options.method))?;
        self.note_crossing(key, endpoint, options);
        Ok(id)
    }

    /// From now on packets of one family may belong to services of the other.
    fn note_crossing(&mut self, key: ServiceKey, endpoint: Endpoint, options: &DestOptions) {
        self.crossed |= options.method == Method::FullNat && Family::of(endpoint.addr) != key.family();
    }

    /// A dest that was removed and is remembered comes back with its conns and counters.
    pub(super) fn revive(&mut self, key: ServiceKey, endpoint: Endpoint, options: &DestOptions) -> Option<DestId> {
        let id = self.take_remembered(key, endpoint)?;
        let dest = &mut self.dests[id.index()];
        dest.place = Place::Serving;
        (dest.method, dest.weight, dest.judgement) = (options.method, options.weight, Judgement::default());
        dest.client_address = options.client_address;
        self.servers[id.index()].revive(options.weight, options.upper, options.lower);
        Some(id)
    }

    /// A dest in a slot that no conn refers to any more, or in a new one.
    pub(super) fn new_dest(&mut self, service: ServiceKey, endpoint: Endpoint, options: &DestOptions) -> DestId {
        let dest = Dest {
            service,
            slot: ServiceId(0),
            method: options.method,
            client_address: options.client_address,
            weight: options.weight,
            judgement: Judgement::default(),
            refs: 0,
            persistent: 0,
            stats: Stats::default(),
            meter: Meter::default(),
            moved: false,
            place: Place::Serving,
            expected: false,
        };
        let mut server = Server::new(endpoint, options.weight);
        server.set_thresholds(options.upper, options.lower);
        let index = self.free_dests.pop().map_or(self.dests.len(), |slot| slot.0 as usize);
        if index == self.dests.len() {
            self.dests.push(dest);
            self.servers.push(server);
            self.meters.reserve(self.services.len() + self.dests.len());
        } else {
            self.dests[index] = dest;
            self.servers[index] = server;
        }
        DestId(index as u32)
    }

    pub(super) fn edit_dest(
        &mut self,
        key: ServiceKey,
        endpoint: Endpoint,
        options: &DestOptions,
    ) -> Result<(), Refused> {
        let id = self.service_for(key, endpoint, options)?;
        let dest = self.find_dest(id, endpoint).ok_or(Refused::NoSuchDest)?;
        self.count_nat(dest, false);
        let known = &mut self.dests[dest.index()];
        (known.method, known.weight) = (options.method, options.weight);
        known.client_address = options.client_address;
        let weight = known.judgement.weight(options.weight);
        self.count_nat(dest, true);
        let server = &mut self.servers[dest.index()];
        server.set_weight(weight);
        server.set_thresholds(options.upper, options.lower);
        self.notify(id, Change::Edited(dest));
        Ok(())
    }

    /// Keeps the tally of servers in NAT by protocol and endpoint.
    pub(super) fn count_nat(&mut self, dest: DestId, added: bool) {
        let (of, endpoint) = (&self.dests[dest.index()], self.servers[dest.index()].endpoint);
        if of.method != Method::Nat {
            return;
        }
        let tally = self.nat_servers.entry((of.service.proto(), endpoint)).or_insert(0);
        *tally = if added { *tally + 1 } else { tally.saturating_sub(1) };
        if *tally == 0 {
            self.nat_servers.remove(&(of.service.proto(), endpoint));
        }
    }

    pub(super) fn delete_dest(&mut self, key: ServiceKey, endpoint: Endpoint, now: Instant) -> Result<(), Refused> {
        let id = *self.by_key.get(&key).ok_or(Refused::ServiceNotDefined)?;
        let dest = self.by_endpoint.remove(&(id, endpoint)).ok_or(Refused::NoSuchDest)?;
        self.count_nat(dest, false);
        self.addresses.remove(endpoint.addr, Use::Server);
        let Some(service) = self.services[id.index()].as_mut() else { return Err(Refused::NoSuchDest) };
        let position = service.dests.iter().position(|other| *other == dest).ok_or(Refused::NoSuchDest)?;
        service.dests.remove(position);
        self.retire(dest, now);
        self.notify(id, Change::Removed { id: dest, position });
        Ok(())
    }
}

/// The checks of the kernel: a unicast address, of the service's family unless it is tunnelled to; FULL-NAT, which the
/// kernel does not have, translates between families.
pub(super) fn check_dest(key: ServiceKey, endpoint: Endpoint, options: &DestOptions) -> Result<(), Refused> {
    let unicast = match endpoint.addr {
        IpAddr::V4(addr) => !addr.is_multicast() && !addr.is_broadcast() && !addr.is_unspecified(),
        IpAddr::V6(addr) => !addr.is_multicast() && !addr.is_unspecified() && !addr.is_unicast_link_local(),
    };
    if !unicast || (Family::of(endpoint.addr) != key.family() && !options.method.takes_any_family()) {
        return Err(Refused::Invalid);
    }
    if options.lower > options.upper {
        return Err(Refused::Range);
    }
    Ok(())
}

/// Whether a service's options go together with the methods of its dests: a conn for one packet is not kept, and by nothing
/// else does a FULL-NAT reply find its client; and numbers of a handshake made here are moved in replies.
pub(super) fn check_methods(
    options: &ServiceOptions,
    mut methods: impl Iterator<Item = Method>,
) -> Result<(), Refused> {
    let is_proxied = options.syn_proxy != SynProxy::Off;
    methods.try_for_each(|method| match method {
        Method::FullNat if options.one_packet => Err(Refused::OnePacket),
        method if is_proxied && !method.rewrites_replies() => Err(Refused::SynProxy),
        _ => Ok(()),
    })
}
