//! `tapvs health`, `check-now`, `drain`, `undrain` and `force`: what checks say, and what an administrator says of it.
//!
//! Only asks the director.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::show::{Show, json};
use crate::base::Endpoint;
use crate::config::spec;
use crate::control::protocol::{HealthEntry, ProbeEntry, Reply, Request, ServerHealth, Steering};
use crate::control::{Client, strange};
use crate::health::{Forced, OnDown};
use crate::io::print_out;
use crate::service::command::ServiceKey;

/// show what the checks of a running director say of each server, and why
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "health")]
pub struct HealthArgs {
    /// as JSON, with the last 20 changes of each probe
    #[argh(switch)]
    pub json: bool,

    /// again each second, until it is interrupted
    #[argh(switch)]
    pub watch: bool,

    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,
}

/// start all probes of a running director now
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "check-now")]
pub struct CheckNowArgs {
    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,
}

/// give a server no new conns; those that it has go on
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "drain")]
pub struct DrainArgs {
    /// end the conns that are left after this time, like 10m (default: never)
    #[argh(option, long = "for")]
    pub deadline: Option<String>,

    /// how conns end at the deadline: drop (in silence; the default), reset (both ends are told), keep (not at all)
    #[argh(option)]
    pub then: Option<String>,

    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,

    /// the service, like tcp/10.0.0.100:80
    #[argh(positional)]
    pub service: String,

    /// the server, like 10.0.0.21:8080
    #[argh(positional)]
    pub server: String,
}

/// let a drained server serve again
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "undrain")]
pub struct UndrainArgs {
    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,

    /// the service, like tcp/10.0.0.100:80
    #[argh(positional)]
    pub service: String,

    /// the server, like 10.0.0.21:8080
    #[argh(positional)]
    pub server: String,
}

/// hold a server for up or down, whatever its checks say, or let them decide again
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "force")]
pub struct ForceArgs {
    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,

    /// the service, like tcp/10.0.0.100:80
    #[argh(positional)]
    pub service: String,

    /// the server, like 10.0.0.21:8080
    #[argh(positional)]
    pub server: String,

    /// up, down or auto
    #[argh(positional)]
    pub verdict: String,
}

impl HealthArgs {
    /// Prints it; an error is a sentence.
    pub fn run(&self) -> Result<(), String> {
        let mut client = Client::find(self.socket.as_deref())?;
        Show { watch: self.watch, json: self.json }.print(|| {
            let services = client.health()?;
            match self.json {
                true => json(&services),
                false => Ok(health_text(&services)),
            }
        })
    }
}

impl CheckNowArgs {
    /// Asks for it; an error is a sentence.
    pub fn run(&self) -> Result<(), String> {
        match Client::find(self.socket.as_deref())?.ask(&Request::CheckNow)? {
            Reply::Due(count) => print_out(&format!("{count} probes started\n")),
            _ => Err(strange()),
        }
    }
}

impl DrainArgs {
    /// Asks for it; an error is a sentence.
    pub fn run(&self) -> Result<(), String> {
        let time = |text: &String| {
            let time = spec::duration(text).map(|time| time.as_secs());
            time.ok_or_else(|| format!("--for {text}: not a time, like \"30s\" or \"10m\""))
        };
        let seconds = self.deadline.as_ref().map(time).transpose()?;
        let then = match self.then.as_deref() {
            None | Some("drop") => OnDown::Drop,
            Some("reset") => OnDown::Reset,
            Some("keep") => OnDown::Keep,
            Some(other) => return Err(format!("--then {other}: use drop, reset or keep")),
        };
        if self.then.is_some() && seconds.is_none() {
            return Err("--then without --for; say after which time conns end".into());
        }
        steer(self.socket.as_ref(), (&self.service, &self.server), Steering::Drain { seconds, then })
    }
}

impl UndrainArgs {
    /// Asks for it; an error is a sentence.
    pub fn run(&self) -> Result<(), String> {
        steer(self.socket.as_ref(), (&self.service, &self.server), Steering::Undrain)
    }
}

impl ForceArgs {
    /// Asks for it; an error is a sentence.
    pub fn run(&self) -> Result<(), String> {
        let forced = match self.verdict.as_str() {
            "up" => Forced::Up,
            "down" => Forced::Down,
            "auto" => Forced::Auto,
            other => return Err(format!("'{other}' is no verdict; use up, down or auto")),
        };
        steer(self.socket.as_ref(), (&self.service, &self.server), Steering::Force(forced))
    }
}

fn steer(socket: Option<&PathBuf>, (service, server): (&str, &str), how: Steering) -> Result<(), String> {
    let key = spec::service_key(service)?;
    let (addr, port) = spec::address(server).ok_or_else(|| format!("'{server}' is no server; write ADDRESS[:PORT]"))?;
    let usual = match key {
        ServiceKey::Address(_, vip) => vip.port,
        ServiceKey::Mark(..) => 0,
    };
    let server = Endpoint::new(addr, port.unwrap_or(usual));
    match Client::find(socket.map(PathBuf::as_path))?.ask(&Request::Steer(key, server, how))? {
        Reply::Done => Ok(()),
        _ => Err(strange()),
    }
}

fn health_text(services: &[HealthEntry]) -> String {
    let mut text = String::new();
    for service in services {
        let quorum = if service.quorum { "" } else { " quorum lost" };
        text += &format!("{}{quorum}\n", service.service);
        for server in &service.servers {
            text += &server_text(server);
            server.probes.iter().for_each(|probe| text += &probe_text(probe));
        }
    }
    if services.is_empty() {
        text += "no service has checks\n";
    }
    text
}

fn server_text(server: &ServerHealth) -> String {
    let ServerHealth { weight, present_weight, conns, .. } = server;
    let verdict = server.verdict.name();
    let forced = if server.forced == Forced::Auto { "" } else { " (forced)" };
    let drained = server.drained_in_ms.map_or(String::new(), |left| format!(" for {} more", time_text(left)));
    let reason = server.reason.as_ref().map_or(String::new(), |reason| format!(", {reason}"));
    let (name, state, since) = (&server.server, &server.state, time_text(server.for_ms));
    format!(
        "  {name} {verdict}{forced} for {since}, {state}{drained}, weight {present_weight} of {weight}, {conns} conns{reason}\n"
    )
}

fn probe_text(probe: &ProbeEntry) -> String {
    let verdict = probe.verdict.name();
    let failure = probe
        .last_failure
        .as_ref()
        .map_or(String::new(), |(reason, ago)| format!(", failed {} ago: {reason}", time_text(*ago)));
    let (since, next) = (time_text(probe.for_ms), time_text(probe.next_ms));
    format!("    {} {verdict} for {since}, took {} ms, next in {next}{failure}\n", probe.check, probe.took_ms)
}

/// `350 ms`, `12 s`, `5 min`, `3 h`.
fn time_text(millis: u64) -> String {
    match millis {
        0..1000 => format!("{millis} ms"),
        1000..120_000 => format!("{} s", millis / 1000),
        120_000..7_200_000 => format!("{} min", millis / 60_000),
        _ => format!("{} h", millis / 3_600_000),
    }
}
