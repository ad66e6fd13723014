//! What a command line of `ipvsadm` means: options checked against the command, values read, defaults filled in.
//!
//! In ipvsadm's order of checks, with its messages. Never asks the director anything.

use std::net::IpAddr;

use super::allowed::{ALL_CHECKED, options_of};
use super::options::{Given, Opt, Verb, Word, Words};
use super::{CliError, address};
use crate::base::{Endpoint, Family, Proto};
use crate::sched::{self, Flags};
use crate::service::command::{
    Command, DestOptions, Method, Persistence, ServiceKey, ServiceOptions, SyncOptions, SyncRole, Tunnel,
    TunnelChecksum,
};

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Invocation {
    /// A change of the configuration.
    Change(Command),
    /// `-L`, of one service or all.
    List(Listing),
    /// `-G`: local addresses of one service or all.
    ListLocals(Option<ServiceKey>),
    /// `-S`, with the options given.
    Save(Vec<Opt>),
    /// `-R`: rules from standard input.
    Restore,
    /// `-h`
    Help,
    /// `-v`
    Version,
}

/// What a listing shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    /// Only this service.
    pub service: Option<ServiceKey>,
    /// The options given, in ipvsadm's order.
    pub options: Vec<Opt>,
}

/// Seconds of `-p` without a value.
const DEFAULT_PERSISTENCE: u32 = 360;
const LONGEST_PERSISTENCE: u64 = 31 * 24 * 3600;

/// What was said so far.
#[derive(Default)]
struct Said {
    seen: Vec<Opt>,
    family: Option<Family>,
    proto: Option<Proto>,
    vip: Option<Endpoint>,
    mark: Option<u32>,
    scheduler: Option<String>,
    flags: Option<String>,
    persistence: Option<u32>,
    netmask: Option<u32>,
    engine: Option<String>,
    real: Option<(IpAddr, Option<u16>)>,
    local: Option<IpAddr>,
    method: Option<Word>,
    tunnel: Option<String>,
    tunnel_port: u16,
    weight: Option<u32>,
    upper: u32,
    lower: u32,
    role: Option<SyncRole>,
    sync: SyncOptions,
}

/// Reads a command line (without the program's name).
pub fn parse(args: &[String]) -> Result<Invocation, CliError> {
    if args.is_empty() {
        return Ok(Invocation::List(Listing::default()));
    }
    let mut words = Words::new(args);
    let (verb, role) = match words.next().transpose()? {
        Some(Given { word: Word::Verb(verb), value, .. }) => (verb, value.unwrap_or_default()),
        Some(_) | None => return Err(CliError::hint()),
    };
    let mut said = Said::default();
    match verb {
        Verb::Help => return Ok(Invocation::Help),
        Verb::Version => return Ok(Invocation::Version),
        Verb::StartDaemon | Verb::StopDaemon => said.role = Some(sync_role(verb, &role)?),
        _ => {}
    }
    for given in words.by_ref() {
        said.take(given?, verb)?;
    }
    let timeouts = if verb == Verb::Set { Some(set_timeouts(&mut words.rest)?) } else { None };
    if let Some(extra) = words.rest.first() {
        return Err(CliError::usage(format!("unexpected argument {extra}")));
    }
    said.check(verb)?;
    match timeouts {
        Some(timeouts) => Ok(Invocation::Change(timeouts)),
        None => said.finish(verb),
    }
}

/// Takes the three values of `--set` from what is no option.
fn set_timeouts(rest: &mut Vec<String>) -> Result<Command, CliError> {
    let [tcp, tcp_fin, udp, ..] = rest.as_slice() else {
        return Err(CliError::usage("--set option requires 3 timeout values"));
    };
    let seconds = |text: &String| timeout(text, 0);
    let command = Command::SetTimeouts { tcp: seconds(tcp)?, tcp_fin: seconds(tcp_fin)?, udp: seconds(udp)? };
    rest.drain(..3);
    Ok(command)
}

fn timeout(text: &str, least: u64) -> Result<u32, CliError> {
    let bad = || CliError::usage(format!("invalid timeout value `{text}' specified"));
    number(text, least, LONGEST_PERSISTENCE).ok_or_else(bad)
}

/// A decimal number as `strtol` reads it, within bounds.
fn number(text: &str, least: u64, most: u64) -> Option<u32> {
    let value: u64 = address::number(text)?.parse().ok()?;
    (least..=most).contains(&value).then_some(value as u32)
}

/// The number that a text begins with, as `atoi` reads it; 0 if there is none.
fn leading_number(text: &str) -> u32 {
    let text = text.trim_start();
    let digits = text.strip_prefix('+').unwrap_or(text);
    let end = digits.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

impl Said {
    fn note(&mut self, opt: Opt) -> Result<(), CliError> {
        if self.seen.contains(&opt) {
            return Err(CliError::usage(format!("multiple '{}' options specified", opt.name())));
        }
        self.seen.push(opt);
        Ok(())
    }

    fn take(&mut self, given: Given, verb: Verb) -> Result<(), CliError> {
        let has_value = given.value.is_some();
        let value = given.value.as_deref().unwrap_or_default();
        match given.word {
            Word::Verb(_) => Err(CliError::usage(format!("invalid option `{}'", given.arg))),
            Word::Sort => Ok(()),
            Word::Service(proto) => self.take_service(proto, value),
            Word::Mark => {
                self.note(Opt::ServiceAddress)?;
                let bad = || CliError::usage(format!("invalid fwmark value `{value}' specified"));
                self.mark = Some(number(value, 1, u64::from(u32::MAX)).ok_or_else(bad)?);
                Ok(())
            }
            Word::Ipv6 if self.mark.is_none() => Err(CliError::usage("-6 used before -f\n")),
            Word::Ipv6 => {
                (self.family, self.netmask) = (Some(Family::V6), None);
                Ok(())
            }
            Word::Direct | Word::Tunnel | Word::Nat | Word::FullNat => self.take_method(given.word),
            Word::FlagsOrFullNat if matches!(verb, Verb::AddServer | Verb::EditServer) => {
                self.take_method(Word::FullNat)
            }
            Word::FlagsOrFullNat => {
                self.note(Opt::SchedFlags)?;
                self.flags = Some(value.to_owned());
                Ok(())
            }
            Word::Opt(opt) => {
                self.note(opt)?;
                self.take_value(opt, value, has_value)
            }
        }
    }

    fn take_method(&mut self, word: Word) -> Result<(), CliError> {
        self.note(Opt::Forwarding)?;
        self.method = Some(word);
        Ok(())
    }

    fn take_service(&mut self, proto: Proto, value: &str) -> Result<(), CliError> {
        self.note(Opt::ServiceAddress)?;
        let bad = || CliError::usage("illegal virtual server address[:port] specified");
        let (addr, port) = address::parse(value, Some(proto)).ok_or_else(bad)?;
        (self.proto, self.family) = (Some(proto), Some(Family::of(addr)));
        self.vip = Some(Endpoint::new(addr, port.unwrap_or(0)));
        if self.family == Some(Family::V6) {
            // A mask that was given before the family was known is forgotten, as ipvsadm does.
            self.netmask = None;
        }
        Ok(())
    }

    fn take_value(&mut self, opt: Opt, value: &str, has_value: bool) -> Result<(), CliError> {
        let illegal = |what: &str| CliError::usage(format!("illegal {what} specified"));
        let count = |what: &str| number(value, 0, i32::MAX as u64).ok_or_else(|| illegal(what));
        match opt {
            // An empty name is none.
            Opt::Scheduler => self.scheduler = Some(value.to_owned()).filter(|name| !name.is_empty()),
            Opt::Persistent if has_value => self.persistence = Some(timeout(value, 1)?),
            Opt::Persistent => self.persistence = Some(DEFAULT_PERSISTENCE),
            Opt::Netmask => self.netmask = Some(self.netmask_of(value)?),
            Opt::Engine => self.engine = Some(value.to_owned()).filter(|name| !name.is_empty()),
            Opt::RealServer => {
                let bad = || illegal("real server address[:port]");
                self.real = Some(address::parse(value, self.proto.or(Some(Proto::TCP))).ok_or_else(bad)?);
            }
            Opt::LocalAddress => self.local = Some(value.parse().map_err(|_| illegal("local address"))?),
            Opt::Weight => self.weight = Some(count("weight")?),
            Opt::UpperThreshold => self.upper = count("u_threshold")?,
            Opt::LowerThreshold => self.lower = count("l_threshold")?,
            Opt::TunnelType if !["ipip", "gue", "gre"].contains(&value) => return Err(illegal("tunnel type")),
            Opt::TunnelType => self.tunnel = Some(value.to_owned()),
            Opt::TunnelPort => {
                let port = number(value, 1, 65_535).ok_or_else(|| illegal("tunnel port"))?;
                self.tunnel_port = port as u16;
            }
            Opt::McastInterface => self.sync.interface = value.to_owned(),
            Opt::McastGroup => {
                let family = if value.contains(':') { "IPv6" } else { "IPv4" };
                let bad = || CliError::usage(format!("invalid {family} mcast-group `{value}'"));
                self.sync.group = value.parse().ok().filter(IpAddr::is_multicast).ok_or_else(bad)?;
            }
            Opt::SyncId | Opt::SyncMaxlen | Opt::McastPort | Opt::McastTtl => {
                let set = self.take_sync_value(opt, value);
                set.ok_or_else(|| illegal(if opt == Opt::SyncId { "syncid" } else { opt.name() }))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn take_sync_value(&mut self, opt: Opt, value: &str) -> Option<()> {
        match opt {
            Opt::SyncId => self.sync.syncid = number(value, 0, 255)? as u8,
            Opt::SyncMaxlen => self.sync.maxlen = number(value, 1, 65_507)? as u16,
            Opt::McastPort => self.sync.port = number(value, 1, 65_535)? as u16,
            _ => self.sync.ttl = number(value, 1, 255)? as u8,
        }
        Some(())
    }

    fn netmask_of(&self, value: &str) -> Result<u32, CliError> {
        if self.family == Some(Family::V6) {
            let length = leading_number(value);
            let bad = || CliError::usage("illegal ipv6 netmask specified");
            return (1..=128).contains(&length).then_some(length).ok_or_else(bad);
        }
        let bad = || CliError::usage("illegal virtual server persistent mask specified");
        address::ipv4(value).map(u32::from).ok_or_else(bad)
    }

    /// Every option is either needed, allowed or illegal with a command; told in ipvsadm's order.
    fn check(&self, verb: Verb) -> Result<(), CliError> {
        self.flags()?;
        let (needed, allowed) = options_of(verb);
        for opt in ALL_CHECKED {
            let has = self.seen.contains(opt);
            if !has && needed.contains(opt) {
                if matches!(verb, Verb::AddLocal | Verb::DeleteLocal) {
                    // Without what they are for, these are no options, as in an ipvsadm that does not know them.
                    return Err(CliError::hint());
                }
                let text = format!("You need to supply the '{}' option for the '{}' command", opt.name(), verb.name());
                return Err(CliError::usage(text));
            }
            if has && !needed.contains(opt) && !allowed.contains(opt) {
                let text = format!("Illegal '{}' option with the '{}' command", opt.name(), verb.name());
                return Err(CliError::usage(text));
            }
        }
        Ok(())
    }

    fn key(&self) -> Option<ServiceKey> {
        match (self.mark, self.proto, self.vip) {
            (Some(mark), _, _) => Some(ServiceKey::Mark(self.family.unwrap_or(Family::V4), mark)),
            (None, Some(proto), Some(vip)) => Some(ServiceKey::Address(proto, vip)),
            (None, _, _) => None,
        }
    }

    fn finish(self, verb: Verb) -> Result<Invocation, CliError> {
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
    fn flags(&self) -> Result<Flags, CliError> {
        let scheduler = self.scheduler.as_deref().unwrap_or("wlc");
        flags_of(scheduler, self.flags.as_deref().unwrap_or_default())
    }

    fn service_options(&self) -> Result<ServiceOptions, CliError> {
        let family = self.family.unwrap_or(Family::V4);
        let defaults = ServiceOptions::defaults(family);
        let scheduler = self.scheduler.clone().unwrap_or(defaults.scheduler);
        let one_packet = self.seen.contains(&Opt::OnePacket);
        if self.vip.is_some_and(|vip| vip.port == 0) && self.persistence.is_none() {
            return Err(CliError::usage("Zero port specified for non-persistent service"));
        }
        if one_packet && self.mark.is_none() && self.proto != Some(Proto::UDP) {
            return Err(CliError::usage("One-Packet Scheduling is only for UDP virtual services"));
        }
        let flags = self.flags()?;
        let persistence = self.persistence.map(|timeout| Persistence { timeout });
        let netmask = self.netmask.unwrap_or(defaults.netmask);
        Ok(ServiceOptions { scheduler, flags, persistence, engine: self.engine.clone(), netmask, one_packet })
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
        Ok((real, DestOptions { method, weight: self.weight.unwrap_or(1), upper, lower }))
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
        self.seen.sort();
        Ok(Listing { service: self.key(), options: self.seen })
    }
}

const TUNNEL_OPTIONS: [Opt; 5] =
    [Opt::TunnelType, Opt::TunnelPort, Opt::TunnelNoChecksum, Opt::TunnelChecksum, Opt::TunnelRemoteChecksum];

fn sync_role(verb: Verb, role: &str) -> Result<SyncRole, CliError> {
    let what = if verb == Verb::StartDaemon { "start-daemon parameter" } else { "start_daemon" };
    let known = [SyncRole::Master, SyncRole::Backup].into_iter().find(|known| known.name() == role);
    known.ok_or_else(|| CliError::usage(format!("illegal {what} specified")))
}

fn flags_of(scheduler: &str, text: &str) -> Result<Flags, CliError> {
    sched::parse_flags(scheduler, text).map_err(|word| {
        let known = sched::ALL.iter().any(|known| known.flags.iter().any(|(name, _)| *name == word));
        let kind = if known { "incompatible" } else { "invalid" };
        CliError::usage(format!("{kind} scheduler flag `{word}'"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> (u8, String) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match parse(&words) {
            Ok(_) => (0, String::new()),
            Err(error) => (error.status, error.text),
        }
    }

    /// As ipvsadm 1.31 answered.
    #[test]
    fn what_is_wrong_is_said_as_ipvsadm_says_it() {
        for (line, status, text) in [
            ("-x", 255, ""),
            ("--list=5", 255, ""),
            ("-t 1.1.1.1:80 -A", 255, ""),
            ("-Q", 255, ""),
            ("-v -x", 0, ""),
            ("-L -v", 2, "invalid option `-v'"),
            ("-LnZ", 2, "invalid option `-LnZ'"),
            ("-L --clear", 2, "invalid option `--clear'"),
            ("-A --start-daemon=master", 2, "invalid option `--start-daemon=master'"),
            ("-Ln5", 255, "-Ln5: unknown option"),
            ("-Lx", 255, "-Lx: missing argument"),
            ("-L --numeric=5", 255, "--numeric=5: option does not take an argument"),
            ("-A -t 1.1.1.1:80 -s sh -b", 255, "-b: missing argument"),
            ("-A -M abc --nonsense", 2, "illegal virtual server persistent mask specified"),
            ("-A -t 1.1.1.1:80 -p -M 64", 0, ""),
            ("-A -M 64 -t [fd00::1]:80 -p", 0, ""),
            ("-A -t [fd00::1]:80 -p -M 80x", 0, ""),
            ("-A -t [fd00::1]:80 -p -M 129", 2, "illegal ipv6 netmask specified"),
            ("-A -t 1.1.1.1:80 -p +1", 0, ""),
            ("-A -b sh-port", 2, "incompatible scheduler flag `sh-port'"),
            ("-D -t 1.1.1.1:80 -b sh-port", 2, "incompatible scheduler flag `sh-port'"),
            ("-A -t 1.1.1.1:80 -b sh-port extra", 2, "unexpected argument extra"),
            ("--set 5 6", 2, "--set option requires 3 timeout values"),
            ("--set 5 6 7 8", 2, "unexpected argument 8"),
            ("--set -n 5 6 7", 2, "Illegal 'numeric' option with the 'set' command"),
            ("-a -t 1.1.1.1:80 -r 2.2.2.2 -m --tun-port 5", 2, "Tunnel options conflict with forward method"),
            ("-a -t 1.1.1.1:80 -r 2.2.2.2 --tun-type gue", 2, "Tunnel options conflict with forward method"),
            (
                "-a -f 8 -6 -r 2.2.2.2:80 -g --tun-port 5",
                2,
                "Different address family is allowed only for tunneling servers",
            ),
            ("-L -c --stats", 2, "options conflicts in the list command"),
            ("-L --timeout --persistent-conn", 2, "options conflicts in the list command"),
            ("-L -c --persistent-conn", 0, ""),
            ("-L --syncid 1", 0, ""),
            ("--start-daemon master --mcast-group 1.1.1.1", 2, "invalid IPv4 mcast-group `1.1.1.1'"),
            ("--start-daemon master --mcast-group fe80::1", 2, "invalid IPv6 mcast-group `fe80::1'"),
        ] {
            assert_eq!(said(line), (status, text.to_owned()), "{line}");
        }
    }

    #[test]
    fn a_mask_given_before_the_family_is_known_is_forgotten() {
        let words = ["-A", "-M", "255.255.0.0", "-p", "-t", "[fd00::1]:80"].map(str::to_owned);
        let Ok(Invocation::Change(Command::AddService(_, options))) = parse(&words) else { panic!("refused") };
        assert_eq!(options.netmask, 128);
    }
}
