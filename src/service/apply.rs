//! Carrying out commands: each as a whole or not at all, with the kernel's refusals.
//!
//! Never touches conns: they keep their dest's slot, and find it unavailable.

use std::net::IpAddr;

use super::addresses::Use;
use super::command::{Command, DestOptions, Method, Refused, ServiceKey, ServiceOptions};
use super::trash::Place;
use super::{Dest, FTP_PORT, Judgement, Meter, Service, Services, Stats};
use crate::base::{DestId, Endpoint, Family, Instant, ServiceId};
use crate::sched::{self, Change, Server, Servers};

/// The one persistence engine.
const ENGINE: &str = "sip";

impl Services {
    /// Carries out one command; timeouts and synchronisation are the director's and do nothing here.
    pub fn apply(&mut self, command: &Command, now: Instant) -> Result<(), Refused> {
        self.changes += 1;
        match command {
            Command::AddService(key, options) => self.add_service(*key, options),
            Command::EditService(key, options) => self.edit_service(*key, options),
            Command::DeleteService(key) => self.delete_service(*key, now),
            Command::Clear => {
                let keys: Vec<ServiceKey> = self.by_key.keys().copied().collect();
                keys.into_iter().try_for_each(|key| self.delete_service(key, now))
            }
            Command::AddDest(key, endpoint, options) => self.add_dest(*key, *endpoint, options),
            Command::EditDest(key, endpoint, options) => self.edit_dest(*key, *endpoint, options),
            Command::DeleteDest(key, endpoint) => self.delete_dest(*key, *endpoint, now),
            Command::Zero(key) => self.zero(*key),
            Command::SetTimeouts { .. } | Command::StartDaemon(..) | Command::StopDaemon(_) => Ok(()),
            Command::AddLocalAddress(key, addr) => self.add_local(*key, *addr),
            Command::DeleteLocalAddress(key, addr) => self.delete_local(*key, *addr),
        }
    }

    fn add_service(&mut self, key: ServiceKey, options: &ServiceOptions) -> Result<(), Refused> {
        if self.by_key.contains_key(&key) {
            return Err(Refused::ServiceExists);
        }
        let none = Servers::new(&[], &self.servers);
        let scheduler = sched::create(&options.scheduler, options.flags, &none, &self.settings);
        let scheduler = scheduler.ok_or(Refused::NoScheduler)?;
        check_service(key, options)?;
        let service = Service {
            key,
            options: options.clone(),
            dests: Vec::new(),
            locals: Vec::new(),
            stats: Stats::default(),
            meter: Meter::default(),
            moved: false,
            scheduler,
            sorry: None,
            lost: false,
        };
        let id = self.free_service_slot();
        self.services[id.index()] = Some(service);
        self.meters.reserve(self.services.len() + self.dests.len());
        self.by_key.insert(key, id);
        self.count_key(key, true);
        Ok(())
    }

    fn free_service_slot(&mut self) -> ServiceId {
        let free = self.free_services.pop().map_or(self.services.len() as u32, |slot| slot.0);
        if free as usize == self.services.len() {
            self.services.push(None);
        }
        ServiceId(free)
    }

    /// Keeps the tallies by which packets are sorted quickly.
    fn count_key(&mut self, key: ServiceKey, added: bool) {
        let step = |tally: &mut u32| *tally = if added { *tally + 1 } else { *tally - 1 };
        match key {
            ServiceKey::Mark(family, _) => step(&mut self.families[family as usize]),
            ServiceKey::Address(_, vip) => {
                step(&mut self.families[Family::of(vip.addr) as usize]);
                match added {
                    true => self.addresses.add(vip.addr, Use::Virtual),
                    false => self.addresses.remove(vip.addr, Use::Virtual),
                }
                match vip.port {
                    0 => step(&mut self.any_port),
                    FTP_PORT => step(&mut self.ftp),
                    1..=20 | 22..=u16::MAX => {}
                }
            }
        }
    }

    /// The same scheduler keeps its state, another one starts from the present list.
    fn edit_service(&mut self, key: ServiceKey, options: &ServiceOptions) -> Result<(), Refused> {
        let id = *self.by_key.get(&key).ok_or(Refused::NoSuchService)?;
        let Some(service) = self.services[id.index()].as_mut() else { return Err(Refused::NoSuchService) };
        let servers = Servers::new(&service.dests, &self.servers);
        let fresh = sched::create(&options.scheduler, options.flags, &servers, &self.settings);
        let fresh = fresh.ok_or(Refused::NoScheduler)?;
        check_service(key, options)?;
        let methods = service.dests.iter().map(|dest| self.dests[dest.index()].method);
        check_one_packet(options.one_packet, methods)?;
        if service.options.scheduler != options.scheduler {
            service.scheduler = fresh;
        } else {
            service.scheduler.set_flags(options.flags);
        }
        service.options = options.clone();
        Ok(())
    }

    fn delete_service(&mut self, key: ServiceKey, now: Instant) -> Result<(), Refused> {
        let id = self.by_key.remove(&key).ok_or(Refused::NoSuchService)?;
        let Some(service) = self.services[id.index()].take() else { return Err(Refused::NoSuchService) };
        for dest in service.dests {
            let endpoint = self.servers[dest.index()].endpoint;
            self.by_endpoint.remove(&(id, endpoint));
            self.count_nat(dest, false);
            self.addresses.remove(endpoint.addr, Use::Server);
            self.retire(dest, now);
        }
        if let Some(sorry) = service.sorry {
            self.retire(sorry, now);
        }
        // Conns are remembered for a service of the same name; what was counted goes.
        for dest in self.removed_of(key) {
            let dest = &mut self.dests[dest.index()];
            Services::forget(&mut dest.stats, &mut dest.meter);
        }
        service.locals.iter().for_each(|local| self.addresses.remove(*local, Use::Local));
        self.free_services.push(std::cmp::Reverse(id.0));
        self.count_key(key, false);
        Ok(())
    }

    fn add_dest(&mut self, key: ServiceKey, endpoint: Endpoint, options: &DestOptions) -> Result<(), Refused> {
        let id = *self.by_key.get(&key).ok_or(Refused::ServiceNotDefined)?;
        check_dest(key, endpoint, options)?;
        let one_packet = self.get(id).is_some_and(|service| service.options.one_packet);
        check_one_packet(one_packet, std::iter::once(options.method))?;
        self.note_crossing(key, endpoint, options);
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

    fn edit_dest(&mut self, key: ServiceKey, endpoint: Endpoint, options: &DestOptions) -> Result<(), Refused> {
        let id = *self.by_key.get(&key).ok_or(Refused::ServiceNotDefined)?;
        check_dest(key, endpoint, options)?;
        let one_packet = self.get(id).is_some_and(|service| service.options.one_packet);
        check_one_packet(one_packet, std::iter::once(options.method))?;
        self.note_crossing(key, endpoint, options);
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
    fn count_nat(&mut self, dest: DestId, added: bool) {
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

    fn delete_dest(&mut self, key: ServiceKey, endpoint: Endpoint, now: Instant) -> Result<(), Refused> {
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

    pub(super) fn notify(&mut self, id: ServiceId, change: Change) {
        if let Some(service) = self.services[id.index()].as_mut() {
            let servers = Servers::new(&service.dests, &self.servers);
            service.scheduler.changed(&servers, change, &self.settings);
        }
    }

    fn zero(&mut self, key: Option<ServiceKey>) -> Result<(), Refused> {
        match key {
            Some(key) => {
                let id = *self.by_key.get(&key).ok_or(Refused::NoSuchService)?;
                self.zero_slot(id.index());
            }
            None => {
                (0..self.services.len()).for_each(|slot| self.zero_slot(slot));
                self.zero_total();
            }
        }
        Ok(())
    }

    /// The counters of all services together begin at zero again.
    pub fn zero_total(&mut self) {
        Services::forget(&mut self.total, &mut self.total_meter);
    }

    fn zero_slot(&mut self, slot: usize) {
        let Some(service) = self.services[slot].as_mut() else { return };
        Services::forget(&mut service.stats, &mut service.meter);
        for dest in &service.dests {
            let dest = &mut self.dests[dest.index()];
            Services::forget(&mut dest.stats, &mut dest.meter);
        }
    }

    fn add_local(&mut self, key: ServiceKey, addr: IpAddr) -> Result<(), Refused> {
        let locals = self.locals_of(key)?;
        if locals.contains(&addr) {
            return Err(Refused::DestExists);
        }
        locals.push(addr);
        self.addresses.add(addr, Use::Local);
        Ok(())
    }

    fn delete_local(&mut self, key: ServiceKey, addr: IpAddr) -> Result<(), Refused> {
        let locals = self.locals_of(key)?;
        let position = locals.iter().position(|local| *local == addr).ok_or(Refused::NoSuchDest)?;
        locals.remove(position);
        self.addresses.remove(addr, Use::Local);
        Ok(())
    }

    fn locals_of(&mut self, key: ServiceKey) -> Result<&mut Vec<IpAddr>, Refused> {
        let id = *self.by_key.get(&key).ok_or(Refused::ServiceNotDefined)?;
        let service = self.services[id.index()].as_mut().ok_or(Refused::ServiceNotDefined)?;
        Ok(&mut service.locals)
    }
}

/// What the kernel looks at once it has the scheduler.
fn check_service(key: ServiceKey, options: &ServiceOptions) -> Result<(), Refused> {
    if options.engine.as_ref().is_some_and(|engine| engine != ENGINE) {
        return Err(Refused::NoScheduler);
    }
    let prefix_len_is_right = (1..=128).contains(&options.netmask);
    if key.family() == Family::V6 && !prefix_len_is_right {
        return Err(Refused::Invalid);
    }
    Ok(())
}

/// The checks of the kernel: a unicast address, of the service's family unless it is tunnelled to; FULL-NAT, which the
/// kernel does not have, translates between families.
pub(super) fn check_dest(key: ServiceKey, endpoint: Endpoint, options: &DestOptions) -> Result<(), Refused> {
    let unicast = match endpoint.addr {
        IpAddr::V4(addr) => !addr.is_multicast() && !addr.is_broadcast() && !addr.is_unspecified(),
        IpAddr::V6(addr) => !addr.is_multicast() && !addr.is_unspecified() && !addr.is_unicast_link_local(),
    };
    let any_family = matches!(options.method, Method::Tunnel(_) | Method::FullNat);
    if !unicast || (Family::of(endpoint.addr) != key.family() && !any_family) {
        return Err(Refused::Invalid);
    }
    if options.lower > options.upper {
        return Err(Refused::Range);
    }
    Ok(())
}

/// A conn for one packet is not kept, and by nothing else does a FULL-NAT reply find its client.
fn check_one_packet(one_packet: bool, mut methods: impl Iterator<Item = Method>) -> Result<(), Refused> {
    match one_packet && methods.any(|method| method == Method::FullNat) {
        true => Err(Refused::OnePacket),
        false => Ok(()),
    }
}
