//! The flags of `tapvs run`, as typed.
//!
//! Never checks more than that a word can be read and that flags fit together; what the words mean is the plan's.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::hop::Hop;
use super::spec::{self, ServerSpec, ServiceSpec};
use crate::base::{Mac, Prefix};
use crate::outbound::Forward;
use crate::service::MarkRule;
use crate::service::command::SynProxy;
use crate::service::quota::Quota;

/// run a director, configured by a file (--config) or by flags, until SIGTERM or SIGINT; SIGHUP reads the
/// configuration again, SIGUSR1 prints the packet ledger
#[derive(ArgsInfo, FromArgs, Clone, Debug)]
#[argh(subcommand, name = "run")]
// These comments are what `--help` prints: brackets in them are no links.
#[allow(rustdoc::broken_intra_doc_links)]
pub struct RunArgs {
    /// the configuration file, like /etc/tapvs.toml, instead of the flags that say what it says
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// the bridge that carries clients and real servers; the TAP becomes a port of it
    #[argh(option)]
    pub bridge: Option<String>,

    /// the director's own address with prefix length, like 10.0.0.2/24; the first one is the source of what it
    /// says itself; may be repeated
    #[argh(option)]
    pub address: Vec<Prefix>,

    /// name of the TAP: one that exists is adopted and left in place, else it is made and removed (default: the
    /// kernel chooses)
    #[argh(option)]
    pub tap: Option<String>,

    /// name of a TUN, instead of --bridge and --tap, for hosts without a bridge: the host routes services' and the
    /// director's addresses to it (tapvs adds these routes), and, for nat, what comes from real servers; no direct
    #[argh(option)]
    pub tun: Option<String>,

    /// default gateway of the director; one a family
    #[argh(option)]
    pub gateway: Vec<Hop>,

    /// the director's MAC on the bridge (default: made from its first address)
    #[argh(option)]
    pub mac: Option<Mac>,

    /// largest IP packet (default: the bridge's)
    #[argh(option)]
    pub mtu: Option<u16>,

    /// conns that the flow table holds (default: a quarter of the memory)
    #[argh(option)]
    pub max_flows: Option<u64>,

    /// the processor to run on, counted from 0, for a host with one to spare (default: where the scheduler puts it);
    /// beside --config it takes the place of what the file says
    #[argh(option)]
    pub cpu: Option<usize>,

    /// serve metrics for Prometheus there, like 127.0.0.1:9464, at /metrics (default: nowhere)
    #[argh(option)]
    pub metrics: Option<SocketAddr>,

    /// do not start where the processes cannot give up their rights (default: say what they keep, and go on)
    #[argh(switch)]
    pub sandbox: bool,

    /// the processes keep all rights, whatever the file says, for debuggers and tracers
    #[argh(switch)]
    pub no_sandbox: bool,

    /// the user, by name or as UID[:GID], who handles packets, without any rights (default: tapvs if there is one, else
    /// nobody; where tapvs was not started by root, who has started it); beside --config it takes the place of what the
    /// file says
    #[argh(option)]
    pub user: Option<String>,

    /// do not take superframes and unfinished checksums from the kernel
    #[argh(switch)]
    pub no_offload: bool,

    /// which packets of no service are forwarded: all, from-servers or none (default: all)
    #[argh(option, from_str_fn(spec::forward))]
    pub forward: Option<Forward>,

    /// packets of flows that real servers open leave from the director's address
    #[argh(switch)]
    pub masquerade: bool,

    /// the virtual service, like tcp/10.0.0.100:80 or udp/[2001:db8::1]:53
    #[argh(option)]
    pub service: Option<ServiceSpec>,

    /// scheduler of --service (default: wlc)
    #[argh(option)]
    pub scheduler: Option<String>,

    /// scheduler flags of --service, like sh-fallback,sh-port
    #[argh(option)]
    pub sched_flags: Option<String>,

    /// persistence of --service: seconds for which a client stays with its server; needed for port 0
    #[argh(option)]
    pub persistent: Option<u32>,

    /// one-packet scheduling of a UDP --service: every packet is scheduled anew
    #[argh(switch)]
    pub ops: bool,

    /// limits of --service's conns: new, burst (a second), conns (at once), and client-new, client-burst, client-conns for
    /// each client, as in new=1000,client-conns=50
    #[argh(option, from_str_fn(Quota::parse))]
    pub limit: Option<Quota>,

    /// whether tapvs makes the handshake with clients of --service before it opens a connection: off, on, or auto while too
    /// many SYNs are not answered
    #[argh(option, from_str_fn(spec::syn_proxy))]
    pub syn_proxy: Option<SynProxy>,

    /// a real server of --service: ADDRESS[:PORT],METHOD[,weight=N][,upper=N][,lower=N] with METHOD one of nat,
    /// direct, tunnel (IP in IP), gre[,csum], gue[,tun-port=N][,csum|remcsum], fullnat[,proxy=v1|v2|,toa]; repeated
    #[argh(option)]
    pub server: Vec<ServerSpec>,

    /// how the servers of --service are checked: KIND[:ARGUMENT][,KEY=VALUE...] with KIND one of tcp, http, https, dns,
    /// udp, smtp, agent, exec, icmp, neigh, path, like http:/healthz or path,interval=5s; tapvs.toml(5) has the keys;
    /// repeated: all must agree
    #[argh(option)]
    pub check: Vec<String>,

    /// a virtual router that shares the addresses of all services with other directors: id=N[,priority=N][,KEY=VALUE...],
    /// like id=51,priority=150; tapvs.toml(5) has the keys; repeated
    #[argh(option)]
    pub vrrp: Vec<String>,

    /// a local address for FULL-NAT (default: the director's own); repeated
    #[argh(option)]
    pub local_address: Vec<IpAddr>,

    /// packets that carry mark N, for services by mark in --rules: N=PROTOCOL/ADDRESS[/LENGTH][:PORT[-PORT]][,src=NET]
    /// with PROTOCOL one of tcp, udp, sctp, any; the first that fits decides; repeated
    #[argh(option)]
    pub mark: Vec<MarkRule>,

    /// established flows are forwarded by a program in the kernel: auto (where it takes the program), on (it must) or off (the
    /// default)
    #[argh(option)]
    pub fast: Option<String>,

    /// a setting by its kernel name (net.ipv4.vs.NAME), like expire_nodest_conn=1; repeated
    #[argh(option)]
    pub sysctl: Vec<String>,

    /// the instance's name, for its control socket /run/tapvs/NAME.sock (default: the first TAP's name)
    #[argh(option)]
    pub name: Option<String>,

    /// path of the control socket, instead of --name (default: $TAPVS_SOCKET)
    #[argh(option)]
    pub socket: Option<PathBuf>,

    /// start without the conns and rules that an earlier run has left
    #[argh(switch)]
    pub fresh: bool,

    /// leave no conns and rules for a later run at the end
    #[argh(switch)]
    pub forget: bool,

    /// services and servers from a file, in the format that `ipvsadm -S -n` prints
    #[argh(option)]
    pub rules: Option<PathBuf>,
}

impl RunArgs {
    /// True if there is a file that could say something else the next time.
    pub fn can_be_read_again(&self) -> bool {
        self.config.is_some() || self.rules.is_some()
    }

    /// The files that are read at the start and by a reload.
    pub fn files(&self) -> Vec<PathBuf> {
        self.config.iter().chain(&self.rules).cloned().collect()
    }

    /// What must be given and is not: wrong usage, before anything is looked at.
    pub fn missing(&self) -> Option<&'static str> {
        let nowhere = self.config.is_none() && self.bridge.is_none() && self.tun.is_none();
        nowhere.then_some(
            "no --bridge; name the bridge that the director is to sit on, or give --tun NAME or --config FILE",
        )
    }

    /// The flags that a configuration file leaves no room for, as they were given.
    pub(super) fn besides_config(&self) -> Vec<&'static str> {
        let given = [
            ("--bridge", self.bridge.is_some()),
            ("--address", !self.address.is_empty()),
            ("--tap", self.tap.is_some()),
            ("--tun", self.tun.is_some()),
            ("--gateway", !self.gateway.is_empty()),
            ("--mac", self.mac.is_some()),
            ("--mtu", self.mtu.is_some()),
            ("--max-flows", self.max_flows.is_some()),
            ("--no-offload", self.no_offload),
            ("--forward", self.forward.is_some()),
            ("--masquerade", self.masquerade),
            ("--service", self.service.is_some()),
            ("--scheduler", self.scheduler.is_some()),
            ("--sched-flags", self.sched_flags.is_some()),
            ("--persistent", self.persistent.is_some()),
            ("--ops", self.ops),
            ("--limit", self.limit.is_some()),
            ("--syn-proxy", self.syn_proxy.is_some()),
            ("--server", !self.server.is_empty()),
            ("--check", !self.check.is_empty()),
            ("--vrrp", !self.vrrp.is_empty()),
            ("--metrics", self.metrics.is_some()),
            ("--local-address", !self.local_address.is_empty()),
            ("--mark", !self.mark.is_empty()),
            ("--fast", self.fast.is_some()),
            ("--sysctl", !self.sysctl.is_empty()),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Plan;

    fn refused(words: &str) -> String {
        let words: Vec<&str> = words.split(' ').collect();
        let args = RunArgs::from_args(&["run"], &words).unwrap();
        Plan::from_args(&args).err().map_or(String::new(), |problems| problems.to_string())
    }

    #[test]
    fn flags_are_refused_by_the_checks_of_the_file() {
        let flags = "--bridge br0 --address 10.0.0.2/24 --service tcp/10.0.0.100:80";
        for (more, wanted) in [
            ("--server 10.0.0.21:80,nat", ""),
            (
                "--server 10.0.0.21:8080,direct",
                "--server 10.0.0.21:8080: direct cannot change the port (the service's is 80); leave it out, or use nat",
            ),
            (
                "--gateway 10.1.0.1",
                "--gateway 10.1.0.1: not in the net of any address of the director; name a neighbour",
            ),
            ("--gateway fe80::1", "--gateway fe80::1: not in the net of any address of the director; name a neighbour"),
            ("--address 2001:db8::2/64 --gateway fe80::1", ""),
            ("--ops", "--ops: one-packet scheduling is only for UDP services"),
            ("--fast auto", ""),
            ("--fast maybe", "--fast maybe: fast: 'maybe' is not one of auto, on, off"),
            (
                "--sysctl drop_entry=4",
                "--sysctl drop_entry=4: drop_entry: 4 does not fit; it takes 0 (never), 1 (under pressure) or 3 (always)",
            ),
        ] {
            assert_eq!(refused(&format!("{flags} {more}")), wanted);
        }
    }

    #[test]
    fn a_tun_takes_what_needs_no_mac() {
        let flags = "--tun tun0 --address 203.0.113.2/32 --address 2001:db8::2/128 --service tcp/198.51.100.1:80";
        for (server, wanted) in [
            ("10.0.0.21:8080,nat", ""),
            ("10.0.0.21,tunnel", ""),
            ("[2001:db8::21]:8080,fullnat", ""),
            (
                "10.0.0.21,direct",
                "--server 10.0.0.21: direct routing changes a packet's MAC address alone, and a TUN carries none; use nat, fullnat or tunnel",
            ),
        ] {
            assert_eq!(refused(&format!("{flags} --server {server}")), wanted);
        }
        assert_eq!(
            refused(&format!("{flags} --gateway 203.0.113.1")),
            "--gateway 203.0.113.1: not in the net of any address of the director; name a neighbour"
        );
    }

    #[test]
    fn a_flag_beside_a_file_is_refused() {
        let said = refused("--config docs/tapvs.toml --bridge br0");
        assert_eq!(said, "--bridge: not with --config; say it in docs/tapvs.toml");
        assert_eq!(refused("--config docs/tapvs.toml"), "");
        assert_eq!(refused("--config docs/tapvs.toml --cpu 0"), "");
        assert_eq!(refused("--config /nowhere"), "/nowhere: cannot be read: No such file or directory");
    }
}
