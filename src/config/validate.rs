//! The checks of commands that flags, rules and a configuration file have in common, each made once, in sentences that
//! teach.
//!
//! Never changes anything.

use super::draft::Field;
use super::spec;
use crate::base::{Endpoint, Family};
use crate::director::Director;
use crate::sched;
use crate::service::command::{Command, DestOptions, Refused, ServiceKey, ServiceOptions};
use crate::service::limits;

/// A problem, with the part of the service or server that it is about.
type Problem = (Option<Field>, String);

/// The service that a command is about, if it is about one.
pub fn service_of(command: &Command) -> Option<ServiceKey> {
    match command {
        Command::AddService(key, _)
        | Command::EditService(key, _)
        | Command::DeleteService(key)
        | Command::AddDest(key, ..)
        | Command::EditDest(key, ..)
        | Command::DeleteDest(key, _)
        | Command::AddLocalAddress(key, _)
        | Command::DeleteLocalAddress(key, _) => Some(*key),
        Command::Zero(key) => *key,
        Command::Clear | Command::SetTimeouts { .. } | Command::StartDaemon(..) | Command::StopDaemon(_) => None,
    }
}

/// What the grammar can say and the director cannot do is refused, never ignored.
pub fn command(director: &Director, command: &Command) -> Result<(), Problem> {
    match command {
        Command::AddService(key, options) | Command::EditService(key, options) => service(*key, options),
        Command::AddDest(_, real, _) => reachable(director, *real),
        Command::EditDest(..)
        | Command::DeleteService(_)
        | Command::Clear
        | Command::DeleteDest(..)
        | Command::Zero(_)
        | Command::SetTimeouts { .. }
        | Command::StartDaemon(..)
        | Command::StopDaemon(_)
        | Command::AddLocalAddress(..)
        | Command::DeleteLocalAddress(..) => Ok(()),
    }
}

fn service(key: ServiceKey, options: &ServiceOptions) -> Result<(), Problem> {
    limits::check_use(key, options).map_err(|refused| explain(refused, &Command::AddService(key, options.clone())))?;
    match key {
        ServiceKey::Address(_, vip) if !limits::is_host(vip.addr) => {
            Err((None, format!("{} is not an address that a service can have; use a unicast address", vip.addr)))
        }
        ServiceKey::Address(..) | ServiceKey::Mark(..) => Ok(()),
    }
}

fn reachable(director: &Director, real: Endpoint) -> Result<(), Problem> {
    if real.addr.is_loopback() {
        // As with ipvsadm: taken, and the director warns of it.
        return Ok(());
    }
    if director.router.owns(real.addr) {
        return Err((None, format!("{} is the director's own address; a real server needs another one", real.addr)));
    }
    match director.router.route(real.addr) {
        Ok(_) => Ok(()),
        Err(_) => Err((
            None,
            format!("real server {} is outside every route; add a gateway, or an address in its net", real.addr),
        )),
    }
}

/// A refusal of the director, for somebody who configures.
pub fn explain(refused: Refused, command: &Command) -> Problem {
    match (refused, command) {
        (Refused::NoScheduler, Command::AddService(_, options) | Command::EditService(_, options)) => {
            let what = format!("unknown scheduler '{}'; known are {}", options.scheduler, sched::NAMES.join(" "));
            (Some(Field::Scheduler), what)
        }
        (Refused::ServiceExists, Command::AddService(key, _)) => {
            (None, format!("service {} is given twice; name it once", spec::key_text(*key)))
        }
        (Refused::ZeroPort, _) => {
            let what = "port 0 (any port) needs a persistent service; add --persistent (-p in rules, persistent in a file), or name a port";
            (None, what.into())
        }
        (Refused::OnePacketNotUdp, _) => {
            (Some(Field::OnePacket), "one-packet scheduling is only for UDP services".into())
        }
        (Refused::NotATime, Command::AddService(..) | Command::EditService(..)) => {
            let longest = limits::LONGEST;
            (Some(Field::Persistence), format!("not a time that persistence can have (1 to {longest} seconds)"))
        }
        (Refused::NoDevice, Command::StartDaemon(_, options)) => {
            let what = format!("no link has the name '{}' and an address of the group's family", options.interface);
            (None, what + "; name the TAP of one")
        }
        (Refused::DaemonRuns, Command::StartDaemon(role, _)) => {
            (None, format!("a second {}; one is all there can be", role.name()))
        }
        (Refused::DestExists, Command::AddDest(_, real, _)) => {
            (None, format!("real server {real} is given twice; name it once"))
        }
        (Refused::DestExists, Command::AddLocalAddress(_, local)) => {
            (None, format!("local address {local} is given twice; name it once"))
        }
        (Refused::Range, Command::AddDest(_, _, options) | Command::EditDest(_, _, options)) => {
            let DestOptions { upper, lower, .. } = options;
            (Some(Field::Lower), format!("the lower threshold ({lower}) is above the upper one ({upper}); lower it"))
        }
        (Refused::SynProxy, Command::AddService(..) | Command::EditService(..)) => {
            (Some(Field::SynProxy), refused.to_string())
        }
        (Refused::ClientAddress, _) => (Some(Field::ClientAddress), refused.to_string()),
        (Refused::Invalid, Command::AddService(..) | Command::EditService(..)) => {
            (Some(Field::Netmask), "not a prefix length that an IPv6 service can have; use 1 to 128".into())
        }
        (Refused::Invalid, Command::AddDest(key, real, _) | Command::EditDest(key, real, _)) => {
            let (family, service) = (Family::of(real.addr), key.family());
            let what = match family == service {
                true => format!("{} is not the address of one host; use a unicast address", real.addr),
                false => {
                    format!("{} is not of the service's family; only a tunnel or fullnat can lead there", real.addr)
                }
            };
            (None, what)
        }
        _ => (None, refused.to_string()),
    }
}
