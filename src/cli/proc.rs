//! `tapvs proc`: the files of a kernel's IPVS below /proc/net.
//!
//! Only asks the director.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use crate::control::protocol::{Reply, Request};
use crate::control::{Client, strange};
use crate::io::print_out;
use crate::ipvsadm::{proc, sort};

/// print ip_vs, ip_vs_stats or ip_vs_conn as a kernel has them below /proc/net, for scripts that read these files
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "proc")]
pub struct ProcArgs {
    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,

    /// ip_vs, ip_vs_stats or ip_vs_conn
    #[argh(positional)]
    pub file: String,
}

impl ProcArgs {
    /// Prints it; an error is a sentence.
    pub fn run(&self) -> Result<(), String> {
        if !["ip_vs", "ip_vs_stats", "ip_vs_conn"].contains(&self.file.as_str()) {
            return Err(format!("'{}' is no file of IPVS; use ip_vs, ip_vs_stats or ip_vs_conn", self.file));
        }
        let mut client = Client::find(self.socket.as_deref())?;
        match self.file.as_str() {
            "ip_vs" => {
                let mut services = client.services()?;
                sort(&mut services);
                print_out(&proc::services(&services))
            }
            "ip_vs_stats" => {
                let Reply::Status(status) = client.ask(&Request::Status)? else { return Err(strange()) };
                print_out(&proc::stats(&status.total, &status.rates))
            }
            _ => {
                let mut printed = print_out(proc::CONN_TITLES);
                client.each_conn(|conns| {
                    if printed.is_ok() {
                        printed = print_out(&conns.iter().map(proc::conn).collect::<String>());
                    }
                })?;
                printed
            }
        }
    }
}
