//! The words of an `ipvsadm` command line: commands, options, and which of them take a value.
//!
//! Tables only.

/// What to do: the first option of every command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// `-A`
    AddService,
    /// `-E`
    EditService,
    /// `-D`
    DeleteService,
    /// `-C`
    Flush,
    /// `-L`, `-l`
    List,
    /// `-a`
    AddServer,
    /// `-d`
    DeleteServer,
    /// `-e`
    EditServer,
    /// `--set`
    Set,
    /// `--start-daemon`
    StartDaemon,
    /// `--stop-daemon`
    StopDaemon,
    /// `-R`
    Restore,
    /// `-S`
    Save,
    /// `-Z`
    Zero,
    /// `-P`: a local address for FULL-NAT, as in its patch for LVS.
    AddLocal,
    /// `-Q`
    DeleteLocal,
    /// `-G`
    ListLocals,
    /// `-h`
    Help,
    /// `-v`
    Version,
}

impl Verb {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Verb::AddService => "add-service",
            Verb::EditService => "edit-service",
            Verb::DeleteService => "delete-service",
            Verb::Flush => "flush",
            Verb::List => "list",
            Verb::AddServer => "add-server",
            Verb::DeleteServer => "delete-server",
            Verb::EditServer => "edit-server",
            Verb::Set => "set",
            Verb::StartDaemon => "start-daemon",
            Verb::StopDaemon => "stop-daemon",
            Verb::Restore => "restore",
            Verb::Save => "save",
            Verb::Zero => "zero",
            Verb::AddLocal => "add-laddr",
            Verb::DeleteLocal => "del-laddr",
            Verb::ListLocals => "get-laddr",
            Verb::Help => "help",
            Verb::Version => "version",
        }
    }
}

/// A kind of option, in the order in which ipvsadm checks them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
pub enum Opt {
    Numeric,
    Connection,
    ServiceAddress,
    Scheduler,
    Persistent,
    Netmask,
    RealServer,
    Forwarding,
    Weight,
    UpperThreshold,
    LowerThreshold,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    SyncId,
    Exact,
    OnePacket,
    Engine,
    SchedFlags,
    TunnelInfo,
    TunnelType,
    TunnelPort,
    TunnelNoChecksum,
    TunnelChecksum,
    TunnelRemoteChecksum,
    SyncMaxlen,
    McastGroup,
    McastPort,
    McastTtl,
    LocalAddress,
    ClientAddress,
    Limit,
    SynProxy,
}

impl Opt {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Opt::Numeric => "numeric",
            Opt::Connection => "connection",
            Opt::ServiceAddress => "service-address",
            Opt::Scheduler => "scheduler",
            Opt::Persistent => "persistent",
            Opt::Netmask => "netmask",
            Opt::RealServer => "real-server",
            Opt::Forwarding => "forwarding-method",
            Opt::Weight => "weight",
            Opt::UpperThreshold => "u-threshold",
            Opt::LowerThreshold => "l-threshold",
            Opt::McastInterface => "mcast-interface",
            Opt::Timeout => "timeout",
            Opt::Daemon => "daemon",
            Opt::Stats => "stats",
            Opt::Rate => "rate",
            Opt::Thresholds => "thresholds",
            Opt::PersistentConn => "persistent-conn",
            Opt::NoSort => "nosort",
            Opt::SyncId => "syncid",
            Opt::Exact => "exact",
            Opt::OnePacket => "ops",
            Opt::Engine => "pe",
            Opt::SchedFlags => "sched-flags",
            Opt::TunnelInfo => "tun-info",
            Opt::TunnelType => "tun-type",
            Opt::TunnelPort => "tun-port",
            Opt::TunnelNoChecksum => "tun-nocsum",
            Opt::TunnelChecksum => "tun-csum",
            Opt::TunnelRemoteChecksum => "tun-remcsum",
            Opt::SyncMaxlen => "sync-maxlen",
            Opt::McastGroup => "mcast-group",
            Opt::McastPort => "mcast-port",
            Opt::McastTtl => "mcast-ttl",
            Opt::LocalAddress => "local-address",
            Opt::ClientAddress => "client-address",
            Opt::Limit => "limit",
            Opt::SynProxy => "syn-proxy",
        }
    }
}

/// What one option on the command line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// A command.
    Verb(Verb),
    /// An option that stands for itself.
    Opt(Opt),
    /// `-t`, `-u`, `--sctp-service`: a service by address, of this protocol.
    Service(crate::base::Proto),
    /// `-f`
    Mark,
    /// `-6`
    Ipv6,
    /// `-g`
    Direct,
    /// `-i`
    Tunnel,
    /// `-m`
    Nat,
    /// `--fullnat`
    FullNat,
    /// `-b`: scheduler flags, or FULL-NAT with `-a` and `-e`.
    FlagsOrFullNat,
    /// `--sort`: how it is anyway.
    Sort,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    None,
    Needed,
    Optional,
}

pub(super) type Row = (&'static str, Option<char>, Value, Word);

const fn row(long: &'static str, short: char, value: Value, word: Word) -> Row {
    (long, Some(short), value, word)
}

const fn long(long: &'static str, value: Value, word: Word) -> Row {
    (long, None, value, word)
}

use crate::base::Proto;
use Value::{Needed, None as No, Optional};

pub(super) const TABLE: &[Row] = &[
    row("add-service", 'A', No, Word::Verb(Verb::AddService)),
    row("edit-service", 'E', No, Word::Verb(Verb::EditService)),
    row("delete-service", 'D', No, Word::Verb(Verb::DeleteService)),
    row("clear", 'C', No, Word::Verb(Verb::Flush)),
    row("list", 'L', No, Word::Verb(Verb::List)),
    row("list", 'l', No, Word::Verb(Verb::List)),
    row("zero", 'Z', No, Word::Verb(Verb::Zero)),
    row("add-server", 'a', No, Word::Verb(Verb::AddServer)),
    row("edit-server", 'e', No, Word::Verb(Verb::EditServer)),
    row("delete-server", 'd', No, Word::Verb(Verb::DeleteServer)),
    row("save", 'S', No, Word::Verb(Verb::Save)),
    row("restore", 'R', No, Word::Verb(Verb::Restore)),
    long("set", No, Word::Verb(Verb::Set)),
    long("start-daemon", Needed, Word::Verb(Verb::StartDaemon)),
    long("stop-daemon", Needed, Word::Verb(Verb::StopDaemon)),
    row("add-laddr", 'P', No, Word::Verb(Verb::AddLocal)),
    row("del-laddr", 'Q', No, Word::Verb(Verb::DeleteLocal)),
    row("get-laddr", 'G', No, Word::Verb(Verb::ListLocals)),
    row("help", 'h', No, Word::Verb(Verb::Help)),
    row("version", 'v', No, Word::Verb(Verb::Version)),
    row("tcp-service", 't', Needed, Word::Service(Proto::TCP)),
    row("udp-service", 'u', Needed, Word::Service(Proto::UDP)),
    long("sctp-service", Needed, Word::Service(Proto::SCTP)),
    row("fwmark-service", 'f', Needed, Word::Mark),
    row("ipv6", '6', No, Word::Ipv6),
    row("scheduler", 's', Needed, Word::Opt(Opt::Scheduler)),
    row("persistent", 'p', Optional, Word::Opt(Opt::Persistent)),
    row("netmask", 'M', Needed, Word::Opt(Opt::Netmask)),
    row("real-server", 'r', Needed, Word::Opt(Opt::RealServer)),
    row("masquerading", 'm', No, Word::Nat),
    row("ipip", 'i', No, Word::Tunnel),
    row("gatewaying", 'g', No, Word::Direct),
    long("fullnat", No, Word::FullNat),
    row("weight", 'w', Needed, Word::Opt(Opt::Weight)),
    row("u-threshold", 'x', Needed, Word::Opt(Opt::UpperThreshold)),
    row("l-threshold", 'y', Needed, Word::Opt(Opt::LowerThreshold)),
    row("numeric", 'n', No, Word::Opt(Opt::Numeric)),
    row("connection", 'c', No, Word::Opt(Opt::Connection)),
    long("mcast-interface", Needed, Word::Opt(Opt::McastInterface)),
    long("timeout", No, Word::Opt(Opt::Timeout)),
    long("daemon", No, Word::Opt(Opt::Daemon)),
    long("stats", No, Word::Opt(Opt::Stats)),
    long("rate", No, Word::Opt(Opt::Rate)),
    long("thresholds", No, Word::Opt(Opt::Thresholds)),
    long("persistent-conn", No, Word::Opt(Opt::PersistentConn)),
    long("nosort", No, Word::Opt(Opt::NoSort)),
    long("sort", No, Word::Sort),
    row("exact", 'X', No, Word::Opt(Opt::Exact)),
    long("syncid", Needed, Word::Opt(Opt::SyncId)),
    row("ops", 'o', No, Word::Opt(Opt::OnePacket)),
    long("pe", Needed, Word::Opt(Opt::Engine)),
    row("sched-flags", 'b', Needed, Word::FlagsOrFullNat),
    long("tun-info", No, Word::Opt(Opt::TunnelInfo)),
    long("tun-type", Needed, Word::Opt(Opt::TunnelType)),
    long("tun-port", Needed, Word::Opt(Opt::TunnelPort)),
    long("tun-nocsum", No, Word::Opt(Opt::TunnelNoChecksum)),
    long("tun-csum", No, Word::Opt(Opt::TunnelChecksum)),
    long("tun-remcsum", No, Word::Opt(Opt::TunnelRemoteChecksum)),
    long("sync-maxlen", Needed, Word::Opt(Opt::SyncMaxlen)),
    long("mcast-group", Needed, Word::Opt(Opt::McastGroup)),
    long("mcast-port", Needed, Word::Opt(Opt::McastPort)),
    long("mcast-ttl", Needed, Word::Opt(Opt::McastTtl)),
    row("local-address", 'z', Needed, Word::Opt(Opt::LocalAddress)),
    long("client-address", Needed, Word::Opt(Opt::ClientAddress)),
    long("limit", Needed, Word::Opt(Opt::Limit)),
    long("syn-proxy", Needed, Word::Opt(Opt::SynProxy)),
];

/// Every option: its long name, its letter, and whether a value may follow.
pub fn option_names() -> impl Iterator<Item = (&'static str, Option<char>, bool)> {
    TABLE.iter().map(|(long, short, value, _)| (*long, *short, *value == Needed))
}
