//! `tapvs vrrp`: the virtual routers of a running director, and a failover by hand.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::show::{Show, json};
use crate::control::protocol::{Reply, Request, VirtualRouterEntry};
use crate::control::{Client, strange};

/// show the virtual routers of a running director, or have another director take their addresses over (failover)
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "vrrp")]
pub struct VrrpArgs {
    /// failover: give the addresses up now; whoever stands by takes them over
    #[argh(positional)]
    pub what: Option<String>,

    /// as JSON, for programs
    #[argh(switch)]
    pub json: bool,

    /// show them again each second
    #[argh(switch)]
    pub watch: bool,

    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,
}

impl VrrpArgs {
    /// Asks for it; an error is a sentence.
    pub fn run(&self) -> Result<(), String> {
        match self.what.as_deref() {
            None => {}
            Some("failover") => return self.fail_over(),
            Some(other) => return Err(format!("vrrp '{other}': failover, or nothing to show the virtual routers")),
        }
        let mut client = Client::find(self.socket.as_deref())?;
        Show { watch: self.watch, json: self.json }.print(|| {
            let Reply::Vrrp(routers) = client.ask(&Request::Vrrp)? else { return Err(strange()) };
            match self.json {
                true => json(&routers),
                false => Ok(routers.iter().map(text).collect()),
            }
        })
    }

    fn fail_over(&self) -> Result<(), String> {
        match Client::find(self.socket.as_deref())?.ask(&Request::FailOver)? {
            Reply::Done => Ok(()),
            Reply::Error(sentence) => Err(sentence),
            _ => Err(strange()),
        }
    }
}

fn text(entry: &VirtualRouterEntry) -> String {
    let VirtualRouterEntry { link, for_s, report } = entry;
    let addresses: Vec<String> = report.addresses.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "{link} {} {}: {} for {for_s} s ({}), priority {}, address {}\n  sent {}, heeded {}",
        report.id,
        report.family,
        report.state,
        report.reason,
        report.priority,
        addresses.join(" "),
        report.sent,
        report.received
    );
    if let Some((from, priority)) = report.heard {
        text += &format!(", the last of {from} with priority {priority}");
    }
    for (why, count) in &report.refused {
        text += &format!(", not heeded for {why} {count}");
    }
    text + "\n"
}
