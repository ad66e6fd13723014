//! `tapvs sync`: what a running director tells other directors of conns, and what it hears.
//!
//! Only asks the director.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::show::{Show, json};
use crate::control::protocol::{Reply, Request};
use crate::control::{Client, strange};
use crate::service::command::{SyncOptions, SyncRole};
use crate::sync::SyncReport;

/// show what a running director tells other directors of conns, and what it hears of theirs
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "sync")]
pub struct SyncArgs {
    /// as JSON, for programs
    #[argh(switch)]
    pub json: bool,

    /// show it again each second
    #[argh(switch)]
    pub watch: bool,

    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,
}

#[derive(Serialize)]
struct All<'a> {
    daemons: Vec<(&'a str, &'a SyncOptions)>,
    #[serde(flatten)]
    report: &'a SyncReport,
}

impl SyncArgs {
    /// Prints it; an error is a sentence.
    pub fn run(&self) -> Result<(), String> {
        let mut client = Client::find(self.socket.as_deref())?;
        Show { watch: self.watch, json: self.json }.print(|| {
            let Reply::Sync(daemons, report) = client.ask(&Request::Sync)? else { return Err(strange()) };
            if !self.json {
                return Ok(text(&daemons, &report));
            }
            let daemons = daemons.iter().map(|(role, options)| (role.name(), options)).collect();
            let all = All { daemons, report: &report };
            json(&all)
        })
    }
}

fn text(daemons: &[(SyncRole, SyncOptions)], report: &SyncReport) -> String {
    let mut text = String::new();
    for (role, SyncOptions { interface, syncid, group, port, peers, key, .. }) in daemons {
        let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
        let with = if peers.is_empty() { group.to_string() } else { format!("peers {}", peers.join(" ")) };
        let key = if key.is_some() { ", with a key" } else { "" };
        text += &format!("{} on {interface}, syncid {syncid}, {with} port {port}{key}\n", role.name());
    }
    text +=
        &format!("told {} records in {} messages, lag {} ms", report.sent_records, report.sent_messages, report.lag_ms);
    if let Some(records) = report.telling {
        text += &format!(", telling the whole table ({records} so far)");
    }
    text += &format!("\nheard {} records in {} messages", report.heard_records, report.heard_messages);
    if let Some((from, ms)) = report.last {
        text += &format!(", the last from {from} {ms} ms ago");
    }
    if report.asking {
        text += ", asking for the whole table";
    }
    for (why, count) in &report.refused {
        text += &format!(", not taken for {why} {count}");
    }
    text + "\n"
}
