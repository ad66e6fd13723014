//! `tapvs status` and `tapvs reload`.
//!
//! Only shows what the director says.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::show::json;
use crate::control::protocol::{
    FastEntry, PortsEntry, Reply, Request, ServiceEntry, Status, VirtualRouterEntry, WorkerEntry,
};
use crate::control::{Client, Unreachable, strange};
use crate::io::print_out;
use crate::ipvsadm::{Names, Opt, services_text, sort};
use crate::vrrp::Report;

/// show what a running director does: services, links, neighbours, and what became of every frame
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "status")]
pub struct StatusArgs {
    /// as JSON, with all counters
    #[argh(switch)]
    pub json: bool,

    /// print nothing; exit with 8 if it works, 0 if it stands by, 7 if it does not run, 1 if it does not answer
    #[argh(switch)]
    pub ocf: bool,

    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,
}

/// have a running director read its configuration again, and show what changes
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "reload")]
pub struct ReloadArgs {
    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,
}

/// have a running director stand by while another one works (on), or work itself (off)
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "standby")]
pub struct StandbyArgs {
    /// on or off
    #[argh(positional)]
    pub state: String,

    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,
}

impl StandbyArgs {
    /// Asks for it; an error is a sentence.
    pub fn run(&self) -> Result<(), String> {
        let on = match self.state.as_str() {
            "on" => true,
            "off" => false,
            other => return Err(format!("standby '{other}': on or off")),
        };
        match Client::find(self.socket.as_deref())?.ask(&Request::Standby(on))? {
            Reply::Done => Ok(()),
            Reply::Error(sentence) => Err(sentence),
            _ => Err(strange()),
        }
    }
}

#[derive(Serialize)]
struct Everything {
    #[serde(flatten)]
    status: Status,
    service_list: Vec<ServiceEntry>,
}

/// What the monitor action of a resource agent exits with (OCF Resource Agent API 1.1).
mod ocf {
    pub const SUCCESS: u8 = 0;
    pub const GENERIC: u8 = 1;
    pub const NOT_RUNNING: u8 = 7;
    pub const PROMOTED: u8 = 8;
}

impl StatusArgs {
    /// What it does, as a resource agent's exit code: it works unless it stands by, or others have all of its addresses.
    pub fn ocf_code(&self) -> u8 {
        let mut client = match Client::find(self.socket.as_deref()) {
            Ok(client) => client,
            Err(Unreachable::Gone(_)) => return ocf::NOT_RUNNING,
            Err(Unreachable::Forbidden | Unreachable::Otherwise(_)) => return ocf::GENERIC,
        };
        let Ok(Reply::Status(status)) = client.ask(&Request::Status) else { return ocf::GENERIC };
        let is_active = status.vrrp.is_empty() || status.vrrp.iter().any(|entry| entry.report.state == "active");
        if status.standby.is_none() && is_active { ocf::PROMOTED } else { ocf::SUCCESS }
    }

    /// Prints the state; an error is a sentence.
    pub fn run(&self) -> Result<(), String> {
        let mut client = Client::find(self.socket.as_deref())?;
        let Reply::Status(status) = client.ask(&Request::Status)? else { return Err(strange()) };
        let mut services = client.services()?;
        sort(&mut services);
        if self.json {
            let all = Everything { status: *status, service_list: services };
            return print_out(&json(&all)?);
        }
        print_out(&status_text(&status, &services))
    }
}

fn status_text(status: &Status, services: &[ServiceEntry]) -> String {
    let Status { version, uptime, conns, max_flows, .. } = status;
    let mut text = format!("tapvs {version}, up {uptime} s, {conns} conns of {max_flows}\n");
    text += &worker_text(&status.worker);
    if let Some(how) = &status.standby {
        text += &format!("stands by: {how}\n");
    }
    for VirtualRouterEntry { link, for_s, report } in &status.vrrp {
        let Report { id, family, state, reason, priority, .. } = report;
        text += &format!("vrrp {id} {family} on {link}: {state} for {for_s} s ({reason}), priority {priority}\n");
    }
    for link in &status.links {
        text += &format!("link {} mac {} mtu {} {}\n", link.name, link.mac, link.mtu, link.addresses.join(" "));
    }
    for neighbour in &status.neighbours {
        let mac = neighbour.mac.as_deref().unwrap_or("not answering");
        text += &format!("neighbour {} on {}: {mac}\n", neighbour.addr, neighbour.link);
    }
    for (name, count) in status.evicted.iter().filter(|(_, count)| *count > 0) {
        text += &format!("conns evicted.{name} {count}\n");
    }
    if status.toa_missing > 0 {
        text += &format!("segments without room for TOA {}\n", status.toa_missing);
    }
    for PortsEntry { local, proto, server, left, last_s } in &status.local_ports {
        let last = last_s.map_or(String::new(), |seconds| format!(", {seconds} s at the present rate"));
        text += &format!("local ports of {local} towards {proto} {server}: {left} left{last}\n");
    }
    if let Some(FastEntry { by, conns, added, frames, answered, refused, passed }) = &status.fast {
        text += &format!("fast path by {by}: {conns} conns now, {added} so far, {frames} frames\n");
        if *answered > 0 {
            text += &format!("fast path: SYNs answered by cookies {answered}\n");
        }
        for (why, count) in refused {
            text += &format!("fast path: conns refused.{why} {count}\n");
        }
        for (why, count) in passed {
            text += &format!("fast path: packets left.{why} {count}\n");
        }
    }
    for (name, count) in &status.ledger {
        text += &format!("frames {name} {count}\n");
    }
    let names = Names::default();
    text += &services_text(services, &[], &names);
    text += &services_text(services, &[Opt::Stats], &names);
    text
}

/// Versions, and why the worker was replaced.
fn worker_text(worker: &WorkerEntry) -> String {
    let WorkerEntry { keeper, restarts, reason, upgrades, up } = worker;
    let why = reason.as_deref().map_or(String::new(), |reason| format!(" (the last one {reason})"));
    format!("keeper {keeper}, worker up {up} s, {restarts} restarts{why}, {upgrades} upgrades\n")
}

impl ReloadArgs {
    /// Prints what has changed; an error is a sentence a line.
    pub fn run(&self) -> Result<(), String> {
        let mut client = Client::find(self.socket.as_deref())?;
        match client.ask(&Request::Reload)? {
            Reply::Reloaded { lines, count } => {
                let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
                print_out(&format!("{lines}{count} changes\n"))
            }
            Reply::NotReloaded(mut problems) => {
                problems.push("nothing was changed".into());
                Err(problems.join("\n"))
            }
            _ => Err(strange()),
        }
    }
}
