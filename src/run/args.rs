//! The flags of `tapvs run`, as typed.
//!
//! Never checks more than that a word can be read; what the words mean together is the plan's.

use std::net::IpAddr;
use std::path::PathBuf;

use argh::FromArgs;

use super::spec::{MarkSpec, ServerSpec, ServiceSpec};
use crate::base::{Mac, Prefix};

/// run a director for one service (by flags) or many (by --rules), until SIGTERM or SIGINT; SIGUSR1 prints the
/// packet ledger
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "run")]
// These comments are what `--help` prints: brackets in them are no links.
#[allow(rustdoc::broken_intra_doc_links)]
pub struct RunArgs {
    /// the bridge that carries clients and real servers; the TAP becomes a port of it
    #[argh(option)]
    pub bridge: String,

    /// the director's own address with prefix length, like 10.0.0.2/24; the first one is the source of what it
    /// says itself; may be repeated
    #[argh(option)]
    pub address: Vec<Prefix>,

    /// name of the TAP: one that exists is adopted and left in place, else it is made and removed (default: the
    /// kernel chooses)
    #[argh(option)]
    pub tap: Option<String>,

    /// default gateway of the director
    #[argh(option)]
    pub gateway: Option<IpAddr>,

    /// the director's MAC on the bridge (default: made from its first address)
    #[argh(option)]
    pub mac: Option<Mac>,

    /// largest IP packet (default: the bridge's)
    #[argh(option)]
    pub mtu: Option<u16>,

    /// conns that the flow table holds (default 65536)
    #[argh(option, default = "65_536")]
    pub max_flows: usize,

    /// do not take superframes and unfinished checksums from the kernel
    #[argh(switch)]
    pub no_offload: bool,

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

    /// a real server of --service: ADDRESS[:PORT],METHOD[,weight=N][,upper=N][,lower=N] with METHOD one of nat,
    /// direct, tunnel, fullnat; repeated
    #[argh(option)]
    pub server: Vec<ServerSpec>,

    /// a local address for FULL-NAT (default: the director's own); repeated
    #[argh(option)]
    pub local_address: Vec<IpAddr>,

    /// packets that carry mark N, for services by mark in --rules: N=PROTOCOL/ADDRESS[/LENGTH][:PORT[-PORT]][,src=NET]
    /// with PROTOCOL one of tcp, udp, sctp, any; the first that fits decides; repeated
    #[argh(option)]
    pub mark: Vec<MarkSpec>,

    /// a setting by its kernel name (net.ipv4.vs.NAME), like expire_nodest_conn=1; repeated
    #[argh(option)]
    pub sysctl: Vec<String>,

    /// services and servers from a file, in the format that `ipvsadm -S -n` prints
    #[argh(option)]
    pub rules: Option<PathBuf>,
}
