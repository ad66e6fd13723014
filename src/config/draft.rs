//! What an operator said, by flags or in a file, before it is checked: every word with the place where it stands.
//!
//! Both ways of configuring end here, so each check is made once. Never checks more than that a word can be read.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::hop::Hop;
use super::place::{At, Place};
use crate::base::{Endpoint, Mac, Prefix};
use crate::health::{Check, Policy};
use crate::outbound::{Forward, Masquerade};
use crate::service::MarkRule;
use crate::service::command::{Command, DestOptions, Method, ServiceKey, SharedKey, SynProxy, SyncOptions, SyncRole};
use crate::service::quota::Quota;
use crate::vrrp::Track;
use crate::wire::vrrp::{Covers, Version};

/// A part of a service or server that has a place of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// The service's scheduler.
    Scheduler,
    /// How long the service is persistent.
    Persistence,
    /// The service's netmask.
    Netmask,
    /// The service's persistence engine.
    Engine,
    /// One-packet scheduling.
    OnePacket,
    /// The SYN proxy.
    SynProxy,
    /// The server's forwarding method.
    Method,
    /// The server's lower threshold.
    Lower,
    /// How the server learns who its clients are.
    ClientAddress,
}

/// A command, where it was said, and where its parts were.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What to do.
    pub command: Command,
    /// Where the whole was said.
    pub place: Place,
    /// Parts with places of their own.
    pub fields: Vec<(Field, Place)>,
}

impl Planned {
    /// Where to point for a problem with a part, or with the whole.
    pub fn place_of(&self, field: Option<Field>) -> &Place {
        let found = self.fields.iter().find(|(name, _)| Some(*name) == field);
        found.map_or(&self.place, |(_, place)| place)
    }
}

/// A link.
#[derive(Clone, Debug)]
pub struct LinkDraft {
    /// Where it begins.
    pub place: Place,
    /// The bridge.
    pub bridge: Option<At<String>>,
    /// The TAP's name.
    pub tap: Option<At<String>>,
    /// The TUN's name, for a link without Ethernet.
    pub tun: Option<At<String>>,
    /// Own addresses.
    pub addresses: Vec<At<Prefix>>,
    /// Own MAC.
    pub mac: Option<At<Mac>>,
    /// Largest IP packet.
    pub mtu: Option<At<u16>>,
    /// Superframes and unfinished checksums.
    pub offload: bool,
    /// Which packets of no service pass.
    pub forward: Forward,
    /// Whose packets of no service are masqueraded.
    pub masquerade: Masquerade,
}

/// A static route.
#[derive(Clone, Debug)]
pub struct RouteDraft {
    /// Destinations.
    pub to: At<Prefix>,
    /// The neighbour to go by.
    pub via: At<Hop>,
}

/// A service with its servers.
#[derive(Clone, Debug)]
pub struct ServiceDraft {
    /// Where it begins.
    pub place: Place,
    /// What it takes.
    pub key: ServiceKey,
    /// Scheduler name.
    pub scheduler: Option<At<String>>,
    /// Scheduler flags, with commas between.
    pub flags: Option<At<String>>,
    /// Seconds of persistence.
    pub persistent: Option<At<u32>>,
    /// Netmask as bits or prefix length.
    pub netmask: Option<At<u32>>,
    /// Persistence engine.
    pub engine: Option<At<String>>,
    /// One-packet scheduling.
    pub one_packet: Option<At<bool>>,
    /// Limits of its conns.
    pub quota: Quota,
    /// Whether handshakes are made here.
    pub syn_proxy: Option<At<SynProxy>>,
    /// Local addresses for FULL-NAT.
    pub locals: Vec<At<IpAddr>>,
    /// Real servers.
    pub servers: Vec<ServerDraft>,
    /// Checks of its servers.
    pub checks: Vec<Check>,
    /// What follows from them, where something is said of it.
    pub policy: Option<Policy>,
    /// The sorry server.
    pub sorry: Option<SorryDraft>,
}

/// A sorry server.
#[derive(Clone, Debug)]
pub struct SorryDraft {
    /// Where it was said.
    pub place: Place,
    /// Address.
    pub addr: IpAddr,
    /// Port; the service's without one.
    pub port: Option<u16>,
    /// Forwarding method.
    pub method: Method,
}

/// A real server.
#[derive(Clone, Debug)]
pub struct ServerDraft {
    /// Where it was said.
    pub place: Place,
    /// Address.
    pub addr: IpAddr,
    /// Port; the service's without one.
    pub port: Option<u16>,
    /// Method, weight, thresholds.
    pub options: DestOptions,
    /// Parts with places of their own.
    pub fields: Vec<(Field, Place)>,
    /// Checks of its own, instead of the service's.
    pub checks: Vec<Check>,
}

/// What becomes, at a start, of rules that were made by hand in the run before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ByHand {
    /// They are kept.
    #[default]
    Kept,
    /// The configuration has all rules (`rules = "file-only"`).
    Dropped,
}

/// What was said of a virtual router, of one family or both.
#[derive(Clone, Debug)]
pub struct VrrpDraft {
    /// Where it stands.
    pub place: Place,
    /// The TAP that it is on; the first one.
    pub link: Option<At<String>>,
    /// Its number.
    pub id: u8,
    /// 1 to 255.
    pub priority: u8,
    /// Its addresses; those of all services without any.
    pub addresses: Vec<At<IpAddr>>,
    /// The message's version, and its password.
    pub version: Version,
    /// Between two advertisements.
    pub interval: Duration,
    /// Takes over from a lower priority.
    pub preempt: bool,
    /// Other routers, told one by one.
    pub peers: Vec<At<IpAddr>>,
    /// Other routers that alone are heeded; all without any.
    pub from: Vec<At<IpAddr>>,
    /// The addresses take packets that are for no service.
    pub accept: bool,
    /// The addresses have the MAC of RFC 9568.
    pub virtual_mac: bool,
    /// What the checksum covers.
    pub covers: Covers,
    /// For how long it hears of a lower priority before it preempts.
    pub preempt_delay: Duration,
    /// What it depends on.
    pub tracks: Vec<Track>,
    /// Those of a group change together.
    pub group: Option<String>,
    /// A program that is told of changes.
    pub notify: Vec<String>,
    /// Who it and scripts run as, where that was said.
    pub user: Option<String>,
    /// Its directors tell each other of conns.
    pub sync: Option<At<bool>>,
    /// Directors that its daemon tells, and hears; none: the group.
    pub sync_peers: Vec<IpAddr>,
    /// The key that they share.
    pub sync_key: Option<SharedKey>,
}

/// Everything that was said.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Links, in order.
    pub links: Vec<LinkDraft>,
    /// Default gateways.
    pub gateways: Vec<At<Hop>>,
    /// Static routes.
    pub routes: Vec<RouteDraft>,
    /// Mark rules, in order.
    pub marks: Vec<MarkRule>,
    /// Services, in order.
    pub services: Vec<ServiceDraft>,
    /// Synchronisation daemons.
    pub syncs: Vec<At<(SyncRole, SyncOptions)>>,
    /// Virtual routers.
    pub vrrps: Vec<VrrpDraft>,
    /// A file of rules, with the local addresses that its services get.
    pub rules: Option<(PathBuf, Vec<IpAddr>)>,
    /// Settings by name.
    pub settings: Vec<At<(String, String)>>,
    /// Seconds of ESTABLISHED, FIN_WAIT and UDP.
    pub timeouts: [Option<u32>; 3],
    /// Conns that the flow table holds.
    pub max_flows: Option<At<u64>>,
    /// The processor to run on.
    pub cpu: Option<At<usize>>,
    /// Who handles packets.
    pub user: Option<At<String>>,
    /// Whether the processes give up their rights, where that was said.
    pub sandbox: Option<bool>,
    /// Where the metrics are served.
    pub metrics: Option<At<Endpoint>>,
    /// What becomes of rules that were made by hand.
    pub by_hand: ByHand,
}

/// Which rights processes keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rights {
    /// All that they were started with: `--no-sandbox`.
    All,
    /// As few as the system lets them be left with; what it does not let go is said.
    FewIfPossible,
    /// Few, or there is no start: `--sandbox`, or a user was named.
    Few,
}

impl Rights {
    /// By what was said, and whether a user was named.
    pub fn of(sandbox: Option<bool>, names_user: bool) -> Rights {
        match (sandbox, names_user) {
            (Some(false), _) => Rights::All,
            (Some(true), _) | (None, true) => Rights::Few,
            (None, false) => Rights::FewIfPossible,
        }
    }
}
