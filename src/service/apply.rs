//! Carrying out commands: each as a whole or not at all, with the kernel's refusals.
//!
//! Never touches conns: they keep their dest's slot, and find it unavailable.

use std::net::IpAddr;

use super::addresses::Use;
use super::command::{Command, Refused, ServiceKey, ServiceOptions, SynProxy};
use super::dests::check_methods;
use super::find::FTP_PORT;
use super::{Meter, Service, Services, Stats, Syns};
use crate::base::{Family, Instant, Proto, ServiceId};
use crate::sched::{self, Change, Servers};

/// The one persistence engine.
const ENGINE: &str = "sip";

impl Services {
    /// Carries out one command; timeouts and synchronisation are the director's and do nothing here.
    pub fn apply(&mut self, command: &Command, now: Instant) -> Result<(), Refused> {
        self.changes += 1;
        self.note_proxied(command);
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
            syns: Syns::default(),
        };
        let id = self.free_service_slot();
        self.services[id.index()] = Some(service);
        self.meters.reserve(self.services.len() + self.dests.len());
        self.by_key.insert(key, id);
        self.near.put(&key, id);
        self.count_key(key, true);
        self.syn_proxies += u32::from(options.syn_proxy != SynProxy::Off);
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
        check_methods(options, methods)?;
        if service.options.scheduler != options.scheduler {
            service.scheduler = fresh;
        } else {
            service.scheduler.set_flags(options.flags);
        }
        let is_proxied = |options: &ServiceOptions| u32::from(options.syn_proxy != SynProxy::Off);
        self.syn_proxies = self.syn_proxies - is_proxied(&service.options) + is_proxied(options);
        service.options = options.clone();
        self.look_for_ports(key);
        Ok(())
    }

    /// Servers of a service whose local ports were used up may have some again.
    fn look_for_ports(&mut self, key: ServiceKey) {
        let dests = self.slot_of(&key).and_then(|id| self.get(id)).map_or(Vec::new(), |service| service.dests.clone());
        dests.iter().for_each(|dest| self.servers[dest.index()].has_ports());
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
        self.syn_proxies -= u32::from(service.options.syn_proxy != SynProxy::Off);
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
        let place = if addr.is_ipv4() { locals.partition_point(IpAddr::is_ipv4) } else { locals.len() };
        locals.insert(place, addr);
        self.addresses.add(addr, Use::Local);
        self.look_for_ports(key);
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
    if options.syn_proxy != SynProxy::Off && !matches!(key.proto(), Proto::TCP | Proto::IP) {
        return Err(Refused::SynProxy);
    }
    let prefix_len_is_right = (1..=128).contains(&options.netmask);
    if key.family() == Family::V6 && !prefix_len_is_right {
        return Err(Refused::Invalid);
    }
    Ok(())
}
