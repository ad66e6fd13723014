//! The words of `tapvs realserver` on the command line.
//!
//! Never acts: it only turns words into an `UpConfig`.

use std::net::IpAddr;

use argh::{ArgsInfo, FromArgs};

use super::{Error, Kind, Method, UpConfig, down, up};

/// prepare this host to be a real server (direct routing or tunnel), or undo that
#[derive(ArgsInfo, FromArgs, PartialEq, Debug)]
#[argh(subcommand, name = "realserver")]
pub struct RealserverArgs {
    /// what to do
    #[argh(subcommand)]
    pub command: RealserverCommand,
}

/// What to do with this host.
#[derive(ArgsInfo, FromArgs, PartialEq, Debug)]
#[argh(subcommand)]
pub enum RealserverCommand {
    /// Prepare it.
    Up(UpArgs),
    /// Undo that.
    Down(DownArgs),
}

/// take VIPs without answering ARP or neighbour solicitations for them; may be run again to add VIPs
#[derive(ArgsInfo, FromArgs, PartialEq, Debug)]
#[argh(subcommand, name = "up")]
pub struct UpArgs {
    /// address of a virtual service; give it once per address
    #[argh(option)]
    pub vip: Vec<IpAddr>,

    /// also unpack tunnel packets from the director (ipvsadm -i); what the kernel has no device for, tapvs unpacks
    /// itself and stays in the foreground
    #[argh(switch)]
    pub tunnel: bool,

    /// with --tunnel: only this kind of ipip, gre, gue; give it once per kind (default: all)
    #[argh(option)]
    pub kind: Vec<Kind>,

    /// with --tunnel: the UDP port that GUE packets come to (default: 6080)
    #[argh(option, default = "6080")]
    pub gue_port: u16,

    /// keep quiet about the VIPs on this interface only; give it once per interface (default: on all)
    #[argh(option)]
    pub interface: Vec<String>,
}

/// put back everything that `up` changed
#[derive(ArgsInfo, FromArgs, PartialEq, Debug)]
#[argh(subcommand, name = "down")]
pub struct DownArgs {}

impl UpArgs {
    fn config(self) -> UpConfig {
        let kinds = if self.kind.is_empty() { Kind::ALL.to_vec() } else { self.kind };
        let method = if self.tunnel { Method::Tunnel { kinds, gue_port: self.gue_port } } else { Method::Direct };
        UpConfig { vips: self.vip, method, interfaces: self.interface }
    }
}

impl RealserverArgs {
    /// Does it; returns when it is done, which for `up --tunnel` may be at SIGTERM.
    pub fn run(self) -> Result<(), Error> {
        match self.command {
            RealserverCommand::Up(args) => up(&args.config()),
            RealserverCommand::Down(DownArgs {}) => down(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_may_be_given_several_times() {
        let words = ["up", "--vip", "198.51.100.1", "--vip", "198.51.100.2", "--tunnel", "--interface", "eth0"];
        let args = RealserverArgs::from_args(&["realserver"], &words).unwrap();
        let RealserverCommand::Up(up) = args.command else { panic!("{args:?}") };
        let config = up.config();
        assert_eq!(config.vips, ["198.51.100.1", "198.51.100.2"].map(|vip| vip.parse::<IpAddr>().unwrap()));
        let method = Method::Tunnel { kinds: Kind::ALL.to_vec(), gue_port: 6080 };
        assert_eq!((config.method, config.interfaces), (method, vec!["eth0".to_owned()]));
    }
}
