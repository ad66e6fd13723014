//! What the options of an `ipvsadm` command line mean together: commands, with defaults filled in.
//!
//! In ipvsadm's order of checks, with its messages. Never asks the director anything.

use super::CliError;
use super::grammar::{Invocation, Listing, ParsedArgs};
use super::options::{Opt, Verb, Word};
use crate::base::{self, Endpoint, Family};
use crate::sched::{self, Flags};
use crate::service::command::{
    Command, DestOptions, Method, Persistence, ServiceKey, ServiceOptions, Tunnel, TunnelChecksum,
};
use crate::service::limits;

impl ParsedArgs {
    pub(super) fn key(&self) -> Option<ServiceKey> {
        match (self.mark, self.proto, self.vip) {
            (Some(mark), _, _) => Some(ServiceKey::Mark(self.family.unwrap_or(Family::V4), mark)),
            (None, Some(proto), Some(vip)) => Some(ServiceKey::Address(proto, vip)),
            (None, _, _) => None,
        }
    }

    pub(super) fn finish(self, verb: Verb) -> Result<Invocation, CliError> {
        // `check` has seen to it that what a command needs is there.
        let missing = || CliError::usage(format!("incomplete '{}' command", verb.name()));
        let key = || self.key().ok_or_else(missing);
        Ok(Invocation::Change(match verb {
            Verb::AddService => Command::AddService(key()?, self.service_options()?),
            Verb::EditService => Command::EditService(key()?, self.service_options()?),
            Verb::DeleteService => Command::DeleteService(key()?),
            Verb::Flush => Command::Clear,
            Verb::AddServer => {
                let (real, options) = self.dest()?;
                Command::AddDest(key()?, real, options)
            }
            Verb::EditServer => {
                let (real, options) = self.dest()?;
                Command::EditDest(key()?, real, options)
            }
            Verb::DeleteServer => Command::DeleteDest(key()?, self.real_endpoint().ok_or_else(missing)?),
            Verb::Zero => Command::Zero(self.key()),
            Verb::AddLocal => Command::AddLocalAddress(key()?, self.local.ok_or_else(missing)?),
            Verb::DeleteLocal => Command::DeleteLocalAddress(key()?, self.local.ok_or_else(missing)?),
            Verb::List => return self.listing().map(Invocation::List),
            Verb::ListLocals => return Ok(Invocation::ListLocals(self.key())),
            Verb::Save => return Ok(Invocation::Save(self.seen)),
            Verb::Restore => return Ok(Invocation::Restore),
            Verb::StartDaemon => Command::StartDaemon(self.role.ok_or_else(missing)?, self.sync),
            Verb::StopDaemon => Command::StopDaemon(self.role.ok_or_else(missing)?),
            // `parse` has answered these.
            Verb::Help | Verb::Version | Verb::Set => return Err(missing()),
        }))
    }

    /// The flags of the scheduler that was named, or of the default one.
    pub(super) fn flags(&self) -> Result<Flags, CliError> {
        let scheduler = self.scheduler.as_deref().unwrap_or("wlc");
        flags_of(scheduler, self.flags.as_deref().unwrap_or_default())
    }

    fn service_options(&self) -> Result<ServiceOptions, CliError> {
        let family = self.family.unwrap_or(Family::V4);
        let defaults = ServiceOptions::defaults(family);
        let scheduler = self.scheduler.clone().unwrap_or(defaults.scheduler);
        let one_packet = self.seen.contains(&Opt::OnePacket);
        let flags = self.flags()?;
        let persistence = self.persistence.map(|timeout| Persistence { timeout });
        let netmask = self.netmask.unwrap_or(defaults.netmask);
        let options = ServiceOptions {
            scheduler,
            flags,
            persistence,
            engine: self.engine.clone(),
            netmask,
            one_packet,
            quota: self.quota,
            syn_proxy: self.syn_proxy,
        };
        match self.key().map(|key| limits::check_use(key, &options)) {
            Some(Err(refused)) => Err(CliError::usage(refused.to_string())),
            Some(Ok(())) | None => Ok(options),
        }
    }

    /// Without a port a dest has the service's; direct routing and tunnels cannot have another.
    fn real_endpoint(&self) -> Option<Endpoint> {
        let (addr, port) = self.real?;
        let service = self.vip.map_or(0, |vip| vip.port);
        Some(Endpoint::new(addr, port.unwrap_or(service)))
    }

    fn dest(&self) -> Result<(Endpoint, DestOptions), CliError> {
        let Some(mut real) = self.real_endpoint() else {
            return Err(CliError::usage("illegal real server address[:port] specified"));
        };
        let family = self.family.unwrap_or(Family::V4);
        if Family::of(real.addr) != family && !matches!(self.method, Some(Word::Tunnel | Word::FullNat)) {
            return Err(CliError::usage("Different address family is allowed only for tunneling servers"));
        }
        let method = self.method()?;
        if let (Some(vip), Method::Direct | Method::Tunnel(_)) = (self.vip, method) {
            real.port = vip.port;
        }
        let (upper, lower) = (self.upper, self.lower);
        let options =
            DestOptions { method, weight: self.weight.unwrap_or(1), upper, lower, client_address: self.client_address };
        Ok((real, options))
    }

    fn method(&self) -> Result<Method, CliError> {
        match self.method {
            Some(Word::Tunnel) => self.tunnel().map(Method::Tunnel),
            _ if self.seen.iter().any(|opt| TUNNEL_OPTIONS.contains(opt)) => {
                Err(CliError::usage("Tunnel options conflict with forward method"))
            }
            Some(Word::Nat) => Ok(Method::Nat),
            Some(Word::FullNat) => Ok(Method::FullNat),
            _ => Ok(Method::Direct),
        }
    }

    fn tunnel(&self) -> Result<Tunnel, CliError> {
        let kind = self.tunnel.as_deref().unwrap_or("ipip");
        let given = |opt: Opt| self.seen.contains(&opt);
        let illegal =
            |opt: Opt| CliError::usage(format!("Illegal '{}' option with the '{kind}' tunnel type", opt.name()));
        let checksums = [Opt::TunnelNoChecksum, Opt::TunnelChecksum, Opt::TunnelRemoteChecksum];
        let chosen: Vec<Opt> = checksums.into_iter().filter(|opt| given(*opt)).collect();
        match kind {
            "gue" if !given(Opt::TunnelPort) => {
                let text = format!("You need to supply the 'tun-port' option for the '{kind}' tunnel type");
                return Err(CliError::usage(text));
            }
            "gue" => {}
            _ if given(Opt::TunnelPort) => return Err(illegal(Opt::TunnelPort)),
            "gre" if given(Opt::TunnelRemoteChecksum) => return Err(illegal(Opt::TunnelRemoteChecksum)),
            "gre" => {}
            _ => chosen.first().map_or(Ok(()), |opt| Err(illegal(*opt)))?,
        }
        if let [first, second, ..] = chosen.as_slice() {
            let (first, second) = (first.name(), second.name());
            let text = format!("The option '{second}' conflicts with the '{first}' option in the '{kind}' tunnel type");
            return Err(CliError::usage(text));
        }
        let checksum = match chosen.first() {
            Some(Opt::TunnelChecksum) => TunnelChecksum::Full,
            Some(Opt::TunnelRemoteChecksum) => TunnelChecksum::Remote,
            _ => TunnelChecksum::None,
        };
        Ok(match kind {
            "gue" => Tunnel::Gue { port: self.tunnel_port, checksum },
            "gre" => Tunnel::Gre { checksum },
            _ => Tunnel::Ipip,
        })
    }

    fn listing(mut self) -> Result<Listing, CliError> {
        let alone = [Opt::Connection, Opt::ServiceAddress, Opt::Timeout, Opt::Daemon];
        let mut chosen = alone.into_iter().filter(|opt| self.seen.contains(opt));
        if let (Some(first), Some(second)) = (chosen.next(), chosen.next()) {
            let (first, second) = (first.name(), second.name());
            let text = format!("The option '{second}' conflicts with the '{first}' option in the 'list' command");
            return Err(CliError::usage(text));
        }
        let any = |opts: &[Opt]| opts.iter().any(|opt| self.seen.contains(opt));
        let figures = any(&[Opt::Stats, Opt::Rate, Opt::Thresholds]);
        let no_services = any(&[Opt::Timeout, Opt::Daemon]);
        if (figures && (no_services || any(&[Opt::Connection]))) || (no_services && any(&[Opt::PersistentConn])) {
            return Err(CliError::usage("options conflicts in the list command"));
        }
        base::sort(&mut self.seen);
        Ok(Listing { service: self.key(), options: self.seen })
    }
}

const TUNNEL_OPTIONS: [Opt; 5] =
    [Opt::TunnelType, Opt::TunnelPort, Opt::TunnelNoChecksum, Opt::TunnelChecksum, Opt::TunnelRemoteChecksum];

fn flags_of(scheduler: &str, text: &str) -> Result<Flags, CliError> {
    sched::parse_flags(scheduler, text).map_err(|word| {
        let known = sched::ALL.iter().any(|known| known.flags.iter().any(|(name, _)| *name == word));
        let kind = if known { "incompatible" } else { "invalid" };
        CliError::usage(format!("{kind} scheduler flag `{word}'"))
    })
}
