//! What a program asks for, from a message's attributes, with the kernel's checks in the kernel's order.
//!
//! Never asks a director: what depends on services that exist is left to the server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;

use super::numbers::{cmd, daemon, dest, family, flag, method, svc, svc_flag, top, tunnel};
use crate::base::{Endpoint, Family, Proto, Tunnel, TunnelChecksum};
use crate::sched::Flags;
use crate::service::command::{
    Command, DestOptions, Method, Persistence, ServiceKey, ServiceOptions, SyncOptions, SyncRole,
};
use crate::wire::netlink::{Attributes, Message};

/// Longest name of a scheduler, an engine or an interface, without the zero behind it.
const LONGEST_NAME: usize = 15;
/// The flags that a program can change.
const OWN_FLAGS: u32 = svc_flag::PERSISTENT | svc_flag::ONE_PACKET | 7 << svc_flag::SCHEDULER_SHIFT;

/// What a message asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// A change.
    Change(Command),
    /// An edited service of which only some flags are given: the others stay as they are.
    EditSome(ServiceKey, ServiceSpec),
    /// A malformed destination: an error, but not before the one of a missing service.
    BadDest(ServiceKey, Errno),
    /// One service.
    Service(ServiceKey),
    /// All services.
    Services,
    /// The destinations of a service; of one that cannot be there are none.
    Dests(Option<ServiceKey>),
    /// Synchronisation daemons.
    Daemons,
    /// Timeouts of conns.
    Timeouts,
    /// Version and table size.
    Info,
}

impl Question {
    /// Reads a message of the family.
    pub fn read(message: &Message) -> Result<Question, Errno> {
        let command = message.command().ok_or(Errno::EINVAL)?;
        let all = message.attributes();
        if message.has(flag::DUMP) {
            return list(command, &all);
        }
        match command {
            cmd::FLUSH => Ok(Question::Change(Command::Clear)),
            cmd::ZERO if all.get(top::SERVICE).is_none() => Ok(Question::Change(Command::Zero(None))),
            cmd::SET_CONFIG => timeouts(&all),
            cmd::GET_CONFIG => Ok(Question::Timeouts),
            cmd::GET_INFO => Ok(Question::Info),
            cmd::NEW_DAEMON | cmd::DEL_DAEMON => Ok(Question::Change(sync_daemon(command, &all)?)),
            cmd::NEW_SERVICE..=cmd::GET_SERVICE | cmd::ZERO => about_service(command, &all),
            cmd::NEW_DEST..=cmd::DEL_DEST => about_dest(command, &all),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }
}

fn list(command: u8, all: &Attributes) -> Result<Question, Errno> {
    match command {
        cmd::GET_SERVICE => Ok(Question::Services),
        cmd::GET_DEST => Ok(Question::Dests(service_of(all).and_then(|service| service_key(&service)).ok())),
        cmd::GET_DAEMON => Ok(Question::Daemons),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

fn timeouts(all: &Attributes) -> Result<Question, Errno> {
    let seconds = |kind| Ok(all.word(kind)?.unwrap_or(0));
    let (tcp, tcp_fin, udp) = (seconds(top::TIMEOUT_TCP)?, seconds(top::TIMEOUT_TCP_FIN)?, seconds(top::TIMEOUT_UDP)?);
    Ok(Question::Change(Command::SetTimeouts { tcp, tcp_fin, udp }))
}

// ---- services ------------------------------------------------------------------------------------------------------

fn about_service(command: u8, all: &Attributes) -> Result<Question, Errno> {
    let service = service_of(all)?;
    let key = service_key(&service)?;
    Ok(match command {
        cmd::NEW_SERVICE => Question::Change(Command::AddService(key, service_spec(key, &service)?.options(0))),
        cmd::SET_SERVICE => {
            let spec = service_spec(key, &service)?;
            match spec.mask & OWN_FLAGS {
                OWN_FLAGS => Question::Change(Command::EditService(key, spec.options(0))),
                _ => Question::EditSome(key, spec),
            }
        }
        cmd::DEL_SERVICE => Question::Change(Command::DeleteService(key)),
        cmd::ZERO => Question::Change(Command::Zero(Some(key))),
        _ => Question::Service(key),
    })
}

fn service_of<'a>(all: &Attributes<'a>) -> Result<Attributes<'a>, Errno> {
    all.nested(top::SERVICE).ok_or(Errno::EINVAL)
}

/// Whatever is wrong inside a service or a destination is EINVAL; a top-level attribute that is too short is ERANGE.
fn inside<T>(read: Result<Option<T>, Errno>) -> Result<Option<T>, Errno> {
    read.map_err(|_| Errno::EINVAL)
}

fn required<T>(read: Result<Option<T>, Errno>) -> Result<T, Errno> {
    inside(read)?.ok_or(Errno::EINVAL)
}

pub(super) fn service_key(service: &Attributes) -> Result<ServiceKey, Errno> {
    let number = required(service.half(svc::FAMILY))?;
    let mark = inside(service.word(svc::FWMARK))?;
    let address = (inside(service.half(svc::PROTOCOL))?, inside(service.padded(svc::ADDR))?);
    let port = inside(service.port(svc::PORT))?;
    match (mark, address, port) {
        (Some(mark), _, _) => Ok(ServiceKey::Mark(family_of(number)?, mark)),
        (None, (Some(proto), Some(addr)), Some(port)) => {
            let end = Endpoint::new(address_of(family_of(number)?, addr), port);
            let proto = u8::try_from(proto).map_err(|_| Errno::EINVAL)?;
            Ok(ServiceKey::Address(Proto(proto), end))
        }
        _ => Err(Errno::EINVAL),
    }
}

fn family_of(number: u16) -> Result<Family, Errno> {
    match number {
        family::V4 => Ok(Family::V4),
        family::V6 => Ok(Family::V6),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

fn address_of(family: Family, bytes: [u8; 16]) -> IpAddr {
    let [a, b, c, d, ..] = bytes;
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(bytes)),
    }
}

/// A service as it is added or edited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceSpec {
    scheduler: String,
    engine: Option<String>,
    timeout: u32,
    netmask: u32,
    flags: u32,
    mask: u32,
}

fn service_spec(key: ServiceKey, service: &Attributes) -> Result<ServiceSpec, Errno> {
    let scheduler = required(service.text(svc::SCHEDULER, LONGEST_NAME))?;
    let [flags, mask] = flags_and_mask(required(service.padded(svc::FLAGS))?);
    let netmask: [u8; 4] = required(service.array(svc::NETMASK))?;
    let netmask = match key.family() {
        Family::V4 => u32::from_be_bytes(netmask),
        Family::V6 => u32::from_ne_bytes(netmask),
    };
    let engine = inside(service.text(svc::ENGINE, LONGEST_NAME))?.filter(|name| !name.is_empty());
    let timeout = required(service.word(svc::TIMEOUT))?;
    Ok(ServiceSpec { scheduler, engine, timeout, netmask, flags, mask })
}

fn flags_and_mask(bytes: [u8; 8]) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = bytes;
    [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes)
}

impl ServiceSpec {
    /// The options that follow if the service's flags are these so far.
    pub fn options(self, present: u32) -> ServiceOptions {
        let flags = present & !self.mask | self.flags & self.mask;
        ServiceOptions {
            scheduler: self.scheduler,
            flags: Flags((flags >> svc_flag::SCHEDULER_SHIFT & 7) as u8),
            persistence: (flags & svc_flag::PERSISTENT != 0).then_some(Persistence { timeout: self.timeout }),
            engine: self.engine,
            netmask: self.netmask,
            one_packet: flags & svc_flag::ONE_PACKET != 0,
            quota: Default::default(),
            syn_proxy: Default::default(),
        }
    }
}

/// A service's flags as the kernel has them.
pub fn flags_of(options: &ServiceOptions) -> u32 {
    let bit = |on: bool, bit: u32| if on { bit } else { 0 };
    svc_flag::HASHED
        | bit(options.persistence.is_some(), svc_flag::PERSISTENT)
        | bit(options.one_packet, svc_flag::ONE_PACKET)
        | u32::from(options.flags.0) << svc_flag::SCHEDULER_SHIFT
}

// ---- destinations --------------------------------------------------------------------------------------------------

fn about_dest(command: u8, all: &Attributes) -> Result<Question, Errno> {
    let key = service_key(&service_of(all)?)?;
    let dest = all.nested(top::DEST).ok_or(Errno::EINVAL);
    Ok(match dest.and_then(|dest| dest_command(command, key, &dest)) {
        Ok(command) => Question::Change(command),
        Err(errno) => Question::BadDest(key, errno),
    })
}

fn dest_command(command: u8, key: ServiceKey, dest: &Attributes) -> Result<Command, Errno> {
    let (addr, port) = (required(dest.padded(dest::ADDR))?, required(dest.port(dest::PORT))?);
    // Programs older than mixed families do not name one.
    let family = match inside(dest.half(dest::FAMILY))? {
        None | Some(0) => key.family(),
        Some(number) => family_of(number)?,
    };
    let real = Endpoint::new(address_of(family, addr), port);
    Ok(match command {
        cmd::NEW_DEST => Command::AddDest(key, real, dest_options(dest)?),
        cmd::SET_DEST => Command::EditDest(key, real, dest_options(dest)?),
        _ => Command::DeleteDest(key, real),
    })
}

fn dest_options(dest: &Attributes) -> Result<DestOptions, Errno> {
    let number = required(dest.word(dest::METHOD))?;
    let weight = required(dest.word(dest::WEIGHT))?;
    let (upper, lower) = (required(dest.word(dest::UPPER))?, required(dest.word(dest::LOWER))?);
    if weight > i32::MAX as u32 {
        return Err(Errno::ERANGE);
    }
    let method = match number & method::MASK {
        method::NAT => Method::Nat,
        method::DIRECT => Method::Direct,
        method::TUNNEL => Method::Tunnel(tunnel_of(dest)?),
        method::FULL_NAT => Method::FullNat,
        _ => return Err(Errno::EINVAL),
    };
    Ok(DestOptions { method, weight, upper, lower, ..DestOptions::default() })
}

fn tunnel_of(dest: &Attributes) -> Result<Tunnel, Errno> {
    let port = inside(dest.port(dest::TUNNEL_PORT))?.unwrap_or(0);
    let flags = inside(dest.half(dest::TUNNEL_FLAGS))?.unwrap_or(0);
    let checksum = match flags {
        _ if flags & tunnel::REMOTE_CHECKSUM != 0 => TunnelChecksum::Remote,
        _ if flags & tunnel::CHECKSUM != 0 => TunnelChecksum::Full,
        _ => TunnelChecksum::None,
    };
    match inside(dest.byte(dest::TUNNEL))?.unwrap_or(tunnel::IPIP) {
        tunnel::IPIP => Ok(Tunnel::Ipip),
        tunnel::GUE => Ok(Tunnel::Gue { port, checksum }),
        tunnel::GRE => Ok(Tunnel::Gre { checksum }),
        _ => Err(Errno::EINVAL),
    }
}

// ---- synchronisation -----------------------------------------------------------------------------------------------

fn sync_daemon(command: u8, all: &Attributes) -> Result<Command, Errno> {
    let daemon = all.nested(top::DAEMON).ok_or(Errno::EINVAL)?;
    let state = required(daemon.word(daemon::STATE))?;
    let role = match state {
        daemon::MASTER => Ok(SyncRole::Master),
        daemon::BACKUP => Ok(SyncRole::Backup),
        _ => Err(Errno::EINVAL),
    };
    if command == cmd::DEL_DAEMON {
        return Ok(Command::StopDaemon(role?));
    }
    let interface = required(daemon.text(daemon::INTERFACE, LONGEST_NAME))?;
    let syncid = required(daemon.word(daemon::SYNC_ID))?;
    let usual = SyncOptions::default();
    // 0 stands for the usual value, as it does in the kernel.
    let port = inside(daemon.half(daemon::PORT))?.filter(|port| *port != 0).unwrap_or(usual.port);
    let ttl = inside(daemon.byte(daemon::TTL))?.filter(|ttl| *ttl != 0).unwrap_or(usual.ttl);
    let options = SyncOptions {
        interface,
        syncid: u8::try_from(syncid).map_err(|_| Errno::EINVAL)?,
        maxlen: inside(daemon.half(daemon::MAX_LENGTH))?.unwrap_or(usual.maxlen),
        group: group_of(&daemon)?.unwrap_or(usual.group),
        port,
        ttl,
        ..usual
    };
    Ok(Command::StartDaemon(role?, options))
}

fn group_of(daemon: &Attributes) -> Result<Option<IpAddr>, Errno> {
    let v4: Option<[u8; 4]> = inside(daemon.array(daemon::GROUP))?;
    let v6: Option<[u8; 16]> = inside(daemon.array(daemon::GROUP6))?;
    let group = v4.filter(|group| *group != [0; 4]).map(IpAddr::from).or(v6.map(IpAddr::from));
    match group {
        Some(group) if !group.is_multicast() => Err(Errno::EINVAL),
        group => Ok(group),
    }
}
