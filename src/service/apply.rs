//! Carrying out commands: each as a whole or not at all, with the kernel's refusals.
//!
//! Never touches conns: they keep their dest's slot, and find it unavailable.

use std::net::IpAddr;

use super::command::{Command, DestOptions, Method, Refused, ServiceKey, ServiceOptions};
use super::trash::Place;
use super::{Dest, FTP_PORT, Meter, Service, Services, Stats};
use crate::base::{DestId, Endpoint, Family, Instant, ServiceId};
use crate::sched::{self, Change, Server, Servers};

/// The one persistence engine.
const ENGINE: &str = "sip";

impl Services {
    /// Carries out one command; timeouts and synchronisation are the director's and do nothing here.
    pub fn apply(&mut self, command: &Command, now: Instant) -> Result<(), Refused> {
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
            scheduler,
            next_local: 0,
        };
        let id = self.free_service_slot();
        self.services[id.index()] = Some(service);
        self.by_key.insert(key, id);
        self.count_key(key, true);
        Ok(())
    }

    fn free_service_slot(&mut self) -> ServiceId {
        let free = self.services.iter().position(Option::is_none).unwrap_or_else(|| {
            self.services.push(None);
            self.services.len() - 1
        });
        ServiceId(free as u32)
    }

    /// Keeps the tallies by which packets are sorted quickly.
    fn count_key(&mut self, key: ServiceKey, added: bool) {
        let step = |tally: &mut u32| *tally = if added { *tally + 1 } else { *tally - 1 };
        match key {
            ServiceKey::Mark(family, _) => step(&mut self.families[family as usize]),
            ServiceKey::Address(_, vip) => {
                step(&mut self.families[Family::of(vip.addr) as usize]);
                step(self.vips.entry(vip.addr).or_insert(0));
                self.vips.retain(|_, users| *users > 0);
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
            self.retire(dest, now);
        }
        // Conns are remembered for a service of the same name; what was counted goes.
        for dest in self.dests.iter_mut().filter(|dest| dest.service == key) {
            (dest.stats, dest.meter) = (Stats::default(), Meter::default());
        }
        self.count_key(key, false);
        Ok(())
    }

    fn add_dest(&mut self, key: ServiceKey, endpoint: Endpoint, options: &DestOptions) -> Result<(), Refused> {
        let id = *self.by_key.get(&key).ok_or(Refused::ServiceNotDefined)?;
        check_dest(key, endpoint, options)?;
        self.note_crossing(key, endpoint, options);
        if self.position(id, endpoint).is_some() {
            return Err(Refused::DestExists);
        }
        let dest = self.revive(key, endpoint, options).unwrap_or_else(|| self.new_dest(key, endpoint, options));
        self.dests[dest.index()].slot = id;
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
    fn revive(&mut self, key: ServiceKey, endpoint: Endpoint, options: &DestOptions) -> Option<DestId> {
        let index = self.remembered(key, endpoint)?;
        self.dests[index].place = Place::Serving;
        self.dests[index].method = options.method;
        self.servers[index].revive(options.weight, options.upper, options.lower);
        Some(DestId(index as u32))
    }

    /// A dest in a slot that no conn refers to any more, or in a new one.
    fn new_dest(&mut self, service: ServiceKey, endpoint: Endpoint, options: &DestOptions) -> DestId {
        let dest = Dest {
            service,
            slot: ServiceId(0),
            method: options.method,
            refs: 0,
            persistent: 0,
            stats: Stats::default(),
            meter: Meter::default(),
            tunnel_mtu: 0,
            place: Place::Serving,
        };
        let mut server = Server::new(endpoint, options.weight);
        server.set_thresholds(options.upper, options.lower);
        let index = self.dests.iter().position(|dest| dest.place == Place::Free);
        let index = index.unwrap_or(self.dests.len());
        if index == self.dests.len() {
            self.dests.push(dest);
            self.servers.push(server);
        } else {
            self.dests[index] = dest;
            self.servers[index] = server;
        }
        DestId(index as u32)
    }

    fn edit_dest(&mut self, key: ServiceKey, endpoint: Endpoint, options: &DestOptions) -> Result<(), Refused> {
        let id = *self.by_key.get(&key).ok_or(Refused::ServiceNotDefined)?;
        check_dest(key, endpoint, options)?;
        self.note_crossing(key, endpoint, options);
        let (_, dest) = self.position(id, endpoint).ok_or(Refused::NoSuchDest)?;
        self.dests[dest.index()].method = options.method;
        let server = &mut self.servers[dest.index()];
        server.set_weight(options.weight);
        server.set_thresholds(options.upper, options.lower);
        self.notify(id, Change::Edited(dest));
        Ok(())
    }

    fn delete_dest(&mut self, key: ServiceKey, endpoint: Endpoint, now: Instant) -> Result<(), Refused> {
        let id = *self.by_key.get(&key).ok_or(Refused::ServiceNotDefined)?;
        let (position, dest) = self.position(id, endpoint).ok_or(Refused::NoSuchDest)?;
        if let Some(service) = self.services[id.index()].as_mut() {
            service.dests.remove(position);
        }
        self.retire(dest, now);
        self.notify(id, Change::Removed { id: dest, position });
        Ok(())
    }

    fn position(&self, id: ServiceId, endpoint: Endpoint) -> Option<(usize, DestId)> {
        let dests = &self.get(id)?.dests;
        let position = dests.iter().position(|dest| self.servers[dest.index()].endpoint == endpoint)?;
        Some((position, dests[position]))
    }

    fn notify(&mut self, id: ServiceId, change: Change) {
        if let Some(service) = self.services[id.index()].as_mut() {
            let servers = Servers::new(&service.dests, &self.servers);
            service.scheduler.changed(&servers, change, &self.settings);
        }
    }

    fn zero(&mut self, key: Option<ServiceKey>) -> Result<(), Refused> {
        if key.is_some_and(|key| !self.by_key.contains_key(&key)) {
            return Err(Refused::NoSuchService);
        }
        for service in self.services.iter_mut().flatten().filter(|s| key.is_none_or(|key| s.key == key)) {
            (service.stats, service.meter) = (Stats::default(), Meter::default());
            for dest in &service.dests {
                let dest = &mut self.dests[dest.index()];
                (dest.stats, dest.meter) = (Stats::default(), Meter::default());
            }
        }
        if key.is_none() {
            (self.total, self.total_meter) = (Stats::default(), Meter::default());
        }
        Ok(())
    }

    fn add_local(&mut self, key: ServiceKey, addr: IpAddr) -> Result<(), Refused> {
        let locals = self.locals_of(key)?;
        if locals.contains(&addr) {
            return Err(Refused::DestExists);
        }
        locals.push(addr);
        Ok(())
    }

    fn delete_local(&mut self, key: ServiceKey, addr: IpAddr) -> Result<(), Refused> {
        let locals = self.locals_of(key)?;
        let position = locals.iter().position(|local| *local == addr).ok_or(Refused::NoSuchDest)?;
        locals.remove(position);
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
fn check_dest(key: ServiceKey, endpoint: Endpoint, options: &DestOptions) -> Result<(), Refused> {
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
