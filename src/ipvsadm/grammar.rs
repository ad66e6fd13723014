//! A command line of `ipvsadm`: options checked against the command, values read; `meaning` makes commands of them.
//!
//! In ipvsadm's order of checks, with its messages. Never asks the director anything.

use std::net::IpAddr;

use super::allowed::{ALL_CHECKED, options_of};
use super::options::{Opt, Verb, Word};
use super::words::{Given, Words};
use super::{CliError, address};
use crate::base::{Endpoint, Family, Proto};
use crate::service::command::{ClientAddress, Command, ServiceKey, SynProxy, SyncOptions, SyncRole};
use crate::service::limits;
use crate::service::quota::Quota;
use crate::service::words::METHODS;

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

/// What was said so far.
#[derive(Default)]
pub(super) struct ParsedArgs {
    pub(super) seen: Vec<Opt>,
    pub(super) family: Option<Family>,
    pub(super) proto: Option<Proto>,
    pub(super) vip: Option<Endpoint>,
    pub(super) mark: Option<u32>,
    pub(super) scheduler: Option<String>,
    pub(super) flags: Option<String>,
    pub(super) persistence: Option<u32>,
    pub(super) netmask: Option<u32>,
    pub(super) engine: Option<String>,
    pub(super) real: Option<(IpAddr, Option<u16>)>,
    pub(super) local: Option<IpAddr>,
    pub(super) method: Option<Word>,
    pub(super) tunnel: Option<String>,
    pub(super) tunnel_port: u16,
    pub(super) weight: Option<u32>,
    pub(super) upper: u32,
    pub(super) lower: u32,
    pub(super) client_address: ClientAddress,
    pub(super) quota: Quota,
    pub(super) syn_proxy: SynProxy,
    pub(super) role: Option<SyncRole>,
    pub(super) sync: SyncOptions,
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
    let mut said = ParsedArgs::default();
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
    number(text, least, u64::from(limits::LONGEST)).ok_or_else(bad)
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

impl ParsedArgs {
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
        let count = |what: &str| number(value, 0, u64::from(*limits::COUNT.end())).ok_or_else(|| illegal(what));
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
            Opt::ClientAddress => {
                let bad = |cure| CliError::usage(format!("illegal client address `{value}' specified; {cure}"));
                self.client_address = ClientAddress::named(value).map_err(bad)?;
            }
            Opt::Limit => {
                let bad = |what| CliError::usage(format!("illegal limit specified: {what}"));
                self.quota = Quota::parse(value).map_err(bad)?;
            }
            Opt::SynProxy => {
                let bad = |what| CliError::usage(format!("illegal SYN proxy specified: {what}"));
                self.syn_proxy = SynProxy::named(value).map_err(bad)?;
            }
            Opt::TunnelType if !METHODS.iter().any(|words| words.tunnel == Some(value)) => {
                return Err(illegal("tunnel type"));
            }
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
}

fn sync_role(verb: Verb, role: &str) -> Result<SyncRole, CliError> {
    let what = if verb == Verb::StartDaemon { "start-daemon parameter" } else { "start_daemon" };
    let known = [SyncRole::Master, SyncRole::Backup].into_iter().find(|known| known.name() == role);
    known.ok_or_else(|| CliError::usage(format!("illegal {what} specified")))
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
