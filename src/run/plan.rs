//! What a run will be: links, routes, services, settings, checked together.
//!
//! Every refusal says what was given, what is wrong and what to do. Never opens a device.

use std::net::IpAddr;

use super::BEFORE;
use super::args::RunArgs;
use super::spec::{self, ServerSpec, ServiceSpec};
use crate::base::{Endpoint, Family, Mac, Prefix, Proto};
use crate::director::{Director, Settings};
use crate::io::LinkConfig;
use crate::neigh;
use crate::sched;
use crate::service::MarkRule;
use crate::service::command::{Command, DestOptions, Method, Persistence, Refused, ServiceKey, ServiceOptions, Tunnel};

/// One link of the plan.
#[derive(Clone, Debug)]
pub struct PlannedLink {
    /// The device.
    pub device: LinkConfig,
    /// Own addresses.
    pub addresses: Vec<Prefix>,
}

/// Everything a director is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Links, in order.
    pub links: Vec<PlannedLink>,
    /// Default gateway.
    pub gateway: Option<IpAddr>,
    /// Mark rules, in order.
    pub marks: Vec<MarkRule>,
    /// Services and dests, each with where it was said.
    pub commands: Vec<(String, Command)>,
    /// Settings.
    pub settings: Settings,
}

impl Plan {
    /// Puts the flags together.
    pub fn from_args(args: RunArgs) -> Result<Plan, String> {
        let first = *args.address.first().ok_or("no --address; the director needs one of its own, like 10.0.0.2/24")?;
        args.address.iter().try_for_each(|prefix| check_own_address(*prefix))?;
        if let Some(mac) = args.mac.filter(|mac| mac.is_multicast() || *mac == Mac::ZERO) {
            return Err(format!("--mac {mac}: not the address of one station; its first byte must be even, like 02"));
        }
        if args.max_flows == 0 || args.max_flows > 1 << 30 {
            return Err(format!("--max-flows {}: not a size a flow table can have (1 to 2^30)", args.max_flows));
        }
        let device = LinkConfig {
            tap: args.tap.clone(),
            bridge: Some(args.bridge.clone()),
            mtu: args.mtu,
            offload: !args.no_offload,
            mac: args.mac.unwrap_or_else(|| mac_for(first.addr)),
        };
        let mut settings = Settings { max_flows: args.max_flows, ..Settings::default() };
        for setting in &args.sysctl {
            let (name, value) =
                setting.split_once('=').ok_or_else(|| format!("--sysctl {setting}: write NAME=VALUE"))?;
            settings.set(name, value).map_err(|what| format!("--sysctl {setting}: {what}"))?;
        }
        let plan = Plan {
            links: vec![PlannedLink { device, addresses: args.address.clone() }],
            gateway: args.gateway,
            marks: args.mark.iter().map(|spec| spec.0.clone()).collect(),
            commands: commands(&args)?,
            settings,
        };
        plan.check_gateway()?;
        Ok(plan)
    }

    fn check_gateway(&self) -> Result<(), String> {
        let Some(gateway) = self.gateway else { return Ok(()) };
        let near = self.links.iter().flat_map(|link| &link.addresses).any(|prefix| prefix.contains(gateway));
        if near {
            return Ok(());
        }
        Err(format!("--gateway {gateway}: not in the net of any --address; name a neighbour"))
    }

    /// Gives a director its links; `opened` tells name and MTU of each.
    pub fn add_links(&self, director: &mut Director, mut opened: impl FnMut(&LinkConfig) -> (String, u16)) {
        for planned in &self.links {
            let (name, mtu) = opened(&planned.device);
            let link = neigh::Link { name, mac: planned.device.mac, mtu, addresses: planned.addresses.clone() };
            let link = director.router.add_link(link);
            if let Some(gateway) = self.gateway.filter(|gateway| planned.addresses.iter().any(|p| p.contains(*gateway)))
            {
                director.router.routes.add(everything(gateway), Some(gateway), link);
            }
        }
    }

    /// Gives a director its services; the first refusal ends it.
    pub fn apply(&self, director: &mut Director) -> Result<(), String> {
        self.marks.iter().for_each(|rule| director.services.marks.add(rule.clone()));
        for (place, command) in &self.commands {
            check_supported(command).map_err(|what| format!("{place}: {what}"))?;
            if let Command::AddDest(_, real, _) = command {
                check_reachable(director, *real).map_err(|what| format!("{place}: {what}"))?;
            }
            director.apply(command, BEFORE).map_err(|refused| format!("{place}: {}", explain(refused, command)))?;
        }
        Ok(())
    }
}

fn commands(args: &RunArgs) -> Result<Vec<(String, Command)>, String> {
    let mut commands = Vec::new();
    if let Some(path) = &args.rules {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("--rules {name}: cannot be read: {error}"))?;
        let rules = crate::ctl::parse_rules(&text).map_err(|error| format!("--rules {name}: {error}"))?;
        for (line, command) in rules {
            let place = format!("{name}:{line}");
            let added = if let Command::AddService(key, _) = &command { Some(*key) } else { None };
            commands.push((place.clone(), command));
            commands.extend(added.into_iter().flat_map(|key| local_addresses(args, key, &place)));
        }
    }
    match &args.service {
        Some(service) => commands.extend(service_commands(args, *service)?),
        None if !args.server.is_empty() => {
            return Err("--server without --service; name the service it belongs to".into());
        }
        None if args.rules.is_none() => {
            return Err("no service; give --service with --server, or --rules FILE".into());
        }
        None => {}
    }
    Ok(commands)
}

fn service_commands(args: &RunArgs, service: ServiceSpec) -> Result<Vec<(String, Command)>, String> {
    let key = ServiceKey::Address(service.proto, service.vip);
    let place = spec::key_text(key);
    let scheduler = args.scheduler.clone().unwrap_or_else(|| "wlc".into());
    let flags = sched::parse_flags(&scheduler, args.sched_flags.as_deref().unwrap_or_default())
        .map_err(|word| format!("--sched-flags: '{word}' is not a flag of {scheduler}"))?;
    let persistence = args.persistent.map(|timeout| Persistence { timeout, engine: None });
    let defaults = ServiceOptions::defaults(Family::of(service.vip.addr));
    let options = ServiceOptions { scheduler, flags, persistence, one_packet: args.ops, ..defaults };
    let mut commands = vec![(place.clone(), Command::AddService(key, options))];
    commands.extend(local_addresses(args, key, &place));
    for server in &args.server {
        let (endpoint, options) = dest(service.vip, server)?;
        commands.push((format!("--server {endpoint}"), Command::AddDest(key, endpoint, options)));
    }
    Ok(commands)
}

/// Every service may use every local address of its family.
fn local_addresses<'a>(
    args: &'a RunArgs,
    key: ServiceKey,
    place: &'a str,
) -> impl Iterator<Item = (String, Command)> + use<'a> {
    let family = match key {
        ServiceKey::Address(_, vip) => Family::of(vip.addr),
        ServiceKey::Mark(family, _) => family,
    };
    let locals = args.local_address.iter().filter(move |local| Family::of(**local) == family);
    locals.map(move |local| (place.to_owned(), Command::AddLocalAddress(key, *local)))
}

/// Direct routing and tunnels leave the packet as it is, so the port cannot change.
fn dest(vip: Endpoint, server: &ServerSpec) -> Result<(Endpoint, DestOptions), String> {
    let endpoint = Endpoint::new(server.addr, server.port.unwrap_or(vip.port));
    let keeps_port = matches!(server.options.method, Method::Direct | Method::Tunnel(_));
    if keeps_port && endpoint.port != vip.port {
        let method = spec::method_text(server.options.method);
        return Err(format!(
            "--server {endpoint}: {method} cannot change the port (the service's is {}); leave it out, or use nat",
            vip.port
        ));
    }
    Ok((endpoint, server.options))
}

fn check_own_address(prefix: Prefix) -> Result<(), String> {
    let addr = prefix.addr;
    if addr.is_multicast() || addr.is_unspecified() || addr.is_loopback() || prefix.broadcast() == Some(addr) {
        return Err(format!("--address {prefix}: not an address that a host can have; give one like 10.0.0.2/24"));
    }
    Ok(())
}

/// What the grammar can say and the director cannot do yet is refused, never ignored.
fn check_supported(command: &Command) -> Result<(), String> {
    match command {
        Command::AddService(key, options) | Command::EditService(key, options) => match key {
            ServiceKey::Mark(Family::V6, _) => Err("IPv6 services are not supported yet".into()),
            ServiceKey::Mark(Family::V4, _) => Ok(()),
            ServiceKey::Address(_, vip) if vip.port == 0 && options.persistence.is_none() => {
                Err("port 0 (any port) needs a persistent service; add --persistent (-p in rules), or name a port"
                    .into())
            }
            ServiceKey::Address(proto, _) if options.one_packet && *proto != Proto::UDP => {
                Err("one-packet scheduling is only for UDP services".into())
            }
            ServiceKey::Address(_, vip) => check_vip(vip.addr),
        },
        Command::AddDest(_, _, options) | Command::EditDest(_, _, options) => match options.method {
            Method::Tunnel(Tunnel::Gue { .. } | Tunnel::Gre { .. }) => {
                Err("GUE and GRE tunnels are not supported yet; use ipip".into())
            }
            Method::Nat | Method::Direct | Method::FullNat | Method::Tunnel(Tunnel::Ipip) => Ok(()),
        },
        Command::DeleteService(_)
        | Command::Clear
        | Command::DeleteDest(..)
        | Command::Zero(_)
        | Command::SetTimeouts { .. }
        | Command::AddLocalAddress(..)
        | Command::DeleteLocalAddress(..) => Ok(()),
    }
}

fn check_vip(vip: IpAddr) -> Result<(), String> {
    if Family::of(vip) == Family::V6 {
        return Err("IPv6 services are not supported yet".into());
    }
    if vip.is_multicast() || vip.is_unspecified() || vip.is_loopback() {
        return Err(format!("{vip} is not an address that a service can have; use a unicast address"));
    }
    Ok(())
}

fn check_reachable(director: &Director, real: Endpoint) -> Result<(), String> {
    if director.router.owns(real.addr) {
        return Err(format!("{} is the director's own --address; a real server needs another one", real.addr));
    }
    match director.router.route(real.addr) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "real server {} is outside every route; add a --gateway, or an --address in its net",
            real.addr
        )),
    }
}

fn explain(refused: Refused, command: &Command) -> String {
    match (refused, command) {
        (Refused::NoScheduler, Command::AddService(_, options) | Command::EditService(_, options)) => {
            format!("unknown scheduler '{}'; known are {}", options.scheduler, sched::NAMES.join(" "))
        }
        (Refused::DestExists, Command::AddDest(_, real, _)) => {
            format!("real server {real} is given twice; name it once")
        }
        _ => refused.to_string(),
    }
}

fn everything(like: IpAddr) -> Prefix {
    match like {
        IpAddr::V4(_) => Prefix { addr: IpAddr::from([0, 0, 0, 0]), len: 0 },
        IpAddr::V6(_) => Prefix { addr: IpAddr::from([0u16; 8]), len: 0 },
    }
}

/// A MAC that a restarted director has again, so that neighbours need not learn it anew: `02:74` and four bytes.
fn mac_for(addr: IpAddr) -> Mac {
    let tail = match addr {
        IpAddr::V4(addr) => addr.octets(),
        IpAddr::V6(addr) => {
            let bytes = addr.octets();
            [bytes[12], bytes[13], bytes[14], bytes[15]]
        }
    };
    Mac([0x02, 0x74, tail[0], tail[1], tail[2], tail[3]])
}
