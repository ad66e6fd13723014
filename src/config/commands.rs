//! Services and servers as commands: from a draft or from a file of rules.
//!
//! Never asks whether the director can do them; that is tried on the whole plan.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::draft::{Field, Planned, ServerDraft, ServiceDraft, SorryDraft};
use super::place::{Place, Position, Problems};
use crate::base::{Endpoint, Family};
use crate::health;
use crate::sched;
use crate::service::command::{Command, Method, Persistence, ServiceKey, ServiceOptions};

/// The rules of a file, in the format that `ipvsadm -S -n` prints; its services get these local addresses.
pub fn from_rules(path: &Path, locals: &[IpAddr]) -> Result<Vec<Planned>, String> {
    let name = path.display();
    let text = crate::io::read_to_string(path).map_err(|error| format!("--rules {name}: cannot be read: {error}"))?;
    let rules = crate::ipvsadm::parse_rules(&text).map_err(|error| format!("--rules {name}: {error}"))?;
    let source: Arc<str> = name.to_string().into();
    let mut planned = Vec::new();
    // A local address is for services that have servers of its family.
    let served = rules.iter().filter_map(|(_, command)| match command {
        Command::AddDest(key, real, _) => Some((*key, Family::of(real.addr))),
        _ => None,
    });
    let served: HashSet<(ServiceKey, Family)> = served.collect();
    for (line, command) in &rules {
        let (line, command) = (*line as u32, command.clone());
        let place = Place::from(Position { source: source.clone(), line, column: None });
        planned.push(Planned { command: command.clone(), place: place.clone(), fields: Vec::new() });
        if let Command::AddService(key, _) = command {
            let own = locals.iter().filter(|local| served.contains(&(key, Family::of(**local))));
            planned.extend(own.map(|local| local_address(key, *local, place.clone())));
        }
    }
    Ok(planned)
}

fn local_address(key: ServiceKey, local: IpAddr, place: Place) -> Planned {
    Planned { command: Command::AddLocalAddress(key, local), place, fields: Vec::new() }
}

/// The commands that make a service and its servers.
pub fn commands(service: &ServiceDraft, problems: &mut Problems) -> Vec<Planned> {
    let key = service.key;
    let options = service_options(service, problems);
    let parts = [
        service.scheduler.as_ref().map(|at| (Field::Scheduler, at.place.clone())),
        service.persistent.as_ref().map(|at| (Field::Persistence, at.place.clone())),
        service.netmask.as_ref().map(|at| (Field::Netmask, at.place.clone())),
        service.engine.as_ref().map(|at| (Field::Engine, at.place.clone())),
        service.one_packet.as_ref().map(|at| (Field::OnePacket, at.place.clone())),
        service.syn_proxy.as_ref().map(|at| (Field::SynProxy, at.place.clone())),
    ];
    let fields = parts.into_iter().flatten().collect();
    let mut planned =
        vec![Planned { command: Command::AddService(key, options), place: service.place.clone(), fields }];
    planned.extend(service.locals.iter().map(|local| local_address(key, local.value, local.place.clone())));
    for server in &service.servers {
        match dest(key, server) {
            Ok(real) => {
                let command = Command::AddDest(key, real, server.options);
                planned.push(Planned { command, place: server.place.clone(), fields: server.fields.clone() });
            }
            Err(what) => problems.add(&server.place, what),
        }
    }
    planned
}

fn service_options(service: &ServiceDraft, problems: &mut Problems) -> ServiceOptions {
    let defaults = ServiceOptions::defaults(service.key.family());
    let scheduler = service.scheduler.as_ref().map_or(defaults.scheduler, |name| name.value.clone());
    let mut flags = defaults.flags;
    if let Some(said) = &service.flags {
        match sched::parse_flags(&scheduler, &said.value) {
            Ok(read) => flags = read,
            Err(word) => problems.add(&said.place, format!("'{word}' is not a flag of {scheduler}")),
        }
    }
    let engine = service.engine.as_ref().map(|name| name.value.clone());
    if let Some(engine) = service.engine.as_ref().filter(|_| service.persistent.is_none()) {
        problems.add(&engine.place, "needs a persistent service; say for how many seconds");
    }
    let persistence = service.persistent.as_ref().map(|seconds| Persistence { timeout: seconds.value });
    let netmask = service.netmask.as_ref().map_or(defaults.netmask, |mask| mask.value);
    let one_packet = service.one_packet.as_ref().is_some_and(|said| said.value);
    let syn_proxy = service.syn_proxy.as_ref().map_or(defaults.syn_proxy, |said| said.value);
    ServiceOptions { scheduler, flags, persistence, engine, netmask, one_packet, quota: service.quota, syn_proxy }
}

/// The checks of a service, if it has any.
pub fn health(service: &ServiceDraft, problems: &mut Problems) -> Option<health::Plan> {
    let ServiceDraft { key, checks, policy, sorry, servers, .. } = service;
    let own: Vec<_> = servers.iter().filter(|server| !server.checks.is_empty()).collect();
    if checks.is_empty() && own.is_empty() && policy.is_none() {
        return None;
    }
    // What is wrong with a server's endpoint was said where it is added.
    let own = own.into_iter().filter_map(|server| Some((dest(*key, server).ok()?, server.checks.clone()))).collect();
    let mut policy = policy.clone().unwrap_or_default();
    if let Some(SorryDraft { place, addr, port, method }) = sorry {
        match endpoint(*key, *addr, *port, *method) {
            Ok(real) => policy.sorry = Some((real, *method)),
            Err(what) => problems.add(place, what),
        }
    }
    Some(health::Plan { key: *key, policy, checks: checks.clone(), own })
}

/// Direct routing and tunnels leave the packet as it is, so the port cannot change.
fn dest(key: ServiceKey, server: &ServerDraft) -> Result<Endpoint, String> {
    endpoint(key, server.addr, server.port, server.options.method)
}

fn endpoint(key: ServiceKey, addr: IpAddr, said: Option<u16>, method: Method) -> Result<Endpoint, String> {
    let port = match key {
        ServiceKey::Address(_, vip) => vip.port,
        ServiceKey::Mark(..) => 0,
    };
    let real = Endpoint::new(addr, said.unwrap_or(port));
    let keeps_port = matches!(method, Method::Direct | Method::Tunnel(_));
    if !keeps_port || real.port == port {
        return Ok(real);
    }
    let method = method.words().name;
    let whose = match key {
        ServiceKey::Address(..) => format!("the service's is {port}"),
        ServiceKey::Mark(..) => "a mark service has every port".into(),
    };
    Err(format!("{method} cannot change the port ({whose}); leave it out, or use nat"))
}
