//! `tapvs upgrade`.
//!
//! Only names the program: the director's keeper looks at it, starts it, and says what became of it.

use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};

use crate::control::protocol::{Reply, Request, Wish};
use crate::control::{Client, strange};
use crate::io::print_out;

/// have a running director go on as another program, without losing a conn
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "upgrade")]
pub struct UpgradeArgs {
    /// the program (default: this one)
    #[argh(positional)]
    pub binary: Option<PathBuf>,

    /// how long the new one may take until it handles packets, in seconds (default: 5)
    #[argh(option, default = "5")]
    pub ready: u64,

    /// how long it has to work until the old one is given up, in seconds (default: 5)
    #[argh(option, default = "5")]
    pub proof: u64,

    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,
}

/// Longer than this a client does not wait.
const LONGEST: u64 = 3600;

impl UpgradeArgs {
    /// Asks for it and prints what became of it; an error is a sentence.
    pub fn run(&self) -> Result<(), String> {
        let UpgradeArgs { ready: ready_s, proof: proof_s, .. } = *self;
        if ready_s == 0 || ready_s > LONGEST || proof_s > LONGEST {
            return Err(format!("--ready {ready_s} --proof {proof_s}: 1 to {LONGEST}, and 0 to {LONGEST} seconds"));
        }
        let program = absolute(self.binary.as_deref())?;
        let mut client = Client::find(self.socket.as_deref())?;
        let Reply::Done = client.ask(&Request::Upgrade)? else { return Err(strange()) };
        match client.wish(&Wish { program, ready_s, proof_s })? {
            Reply::Upgraded { before, now } => print_out(&format!("upgraded from tapvs {before} to tapvs {now}\n")),
            _ => Err(strange()),
        }
    }
}

fn absolute(named: Option<&Path>) -> Result<PathBuf, String> {
    match named {
        Some(path) => std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display())),
        None => std::env::current_exe().map_err(|error| format!("cannot find this program; name it: {error}")),
    }
}
