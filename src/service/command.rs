//! What an operator asks of the services: the commands of `ipvsadm` as values.
//!
//! Never parses text and never applies anything: the grammar makes these, `Services` carries them out.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::quota::Quota;
pub use super::refused::Refused;
use crate::base::{Endpoint, Family, Packed, Proto};
pub use crate::base::{Method, Tunnel, TunnelChecksum};
use crate::sched::Flags;

/// What names a virtual service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKey {
    /// Packets of this protocol to this address and port; port 0 is every port.
    Address(Proto, Endpoint),
    /// Packets of this family that carry this mark.
    Mark(Family, u32),
}

/// Two numbers instead of each part by itself: every new conn looks for its service.
impl Hash for ServiceKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ([upper, lower], rest) = match *self {
            ServiceKey::Address(proto, Endpoint { addr, port }) => {
                (Packed::from(addr).halves(), u64::from(proto.0) << 16 | u64::from(port))
            }
            ServiceKey::Mark(family, mark) => ([family as u64, u64::from(mark)], 1 << 32),
        };
        state.write_u64(upper ^ rest << 24);
        state.write_u64(lower);
    }
}

impl ServiceKey {
    /// The family of its packets.
    pub fn family(self) -> Family {
        match self {
            ServiceKey::Address(_, vip) => Family::of(vip.addr),
            ServiceKey::Mark(family, _) => family,
        }
    }

    /// The protocol of its packets; a mark's are of any (`IP`).
    pub fn proto(self) -> Proto {
        match self {
            ServiceKey::Address(proto, _) => proto,
            ServiceKey::Mark(..) => Proto::IP,
        }
    }

    /// True for packets of a mark. The kernel has a table of their own for these services, and lists it last.
    pub fn is_mark(self) -> bool {
        matches!(self, ServiceKey::Mark(..))
    }
}

impl fmt::Display for ServiceKey {
    /// As `tapvs run --service` takes it: `tcp/10.0.0.100:80`, `fwmark/7`, `fwmark6/7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceKey::Address(proto, vip) => write!(f, "{}/{vip}", proto.to_string().to_lowercase()),
            ServiceKey::Mark(Family::V4, mark) => write!(f, "fwmark/{mark}"),
            ServiceKey::Mark(Family::V6, mark) => write!(f, "fwmark6/{mark}"),
        }
    }
}

/// Persistence of a service: `-p SECONDS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Persistence {
    /// Seconds a template lives after the last new conn.
    pub timeout: u32,
}

/// Everything of a service besides its key and its servers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct ServiceOptions {
    /// Scheduler name.
    pub scheduler: String,
    /// Scheduler flags.
    pub flags: Flags,
    /// `-p`.
    pub persistence: Option<Persistence>,
    /// `--pe`: persistence engine (`sip`); kept without `-p` too, where it does nothing.
    pub engine: Option<String>,
    /// `-M`: IPv4 mask as bits (any, even with holes), IPv6 prefix length; kept without `-p` too.
    pub netmask: u32,
    /// `-o`: one-packet scheduling.
    pub one_packet: bool,
    /// `--limit`
    #[serde(default)]
    pub quota: Quota,
    /// `--syn-proxy`
    #[serde(default)]
    pub syn_proxy: SynProxy,
}

impl ServiceOptions {
    /// What `ipvsadm -A` gives without options: wlc, no persistence.
    pub fn defaults(family: Family) -> ServiceOptions {
        let netmask = match family {
            Family::V4 => u32::MAX,
            Family::V6 => 128,
        };
        ServiceOptions {
            scheduler: "wlc".into(),
            flags: Flags(0),
            persistence: None,
            engine: None,
            netmask,
            one_packet: false,
            quota: Quota::default(),
            syn_proxy: SynProxy::Off,
        }
    }
}

/// Whether the director makes the handshake with a client before it opens a conn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SynProxy {
    /// It does not.
    #[default]
    Off,
    /// It does.
    On,
    /// It does while too many SYNs are not answered (setting `syn_proxy_rate`).
    Auto,
}

/// How a server behind FULL-NAT learns who its client is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAddress {
    /// It does not.
    #[default]
    None,
    /// By a line of text in front of the stream (PROXY protocol 1), TCP only.
    ProxyV1,
    /// By a binary header in front of the stream (PROXY protocol 2), TCP only.
    ProxyV2,
    /// By a TCP option on the first segments (TOA).
    Toa,
}

/// Everything of a dest besides its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct DestOptions {
    /// Forwarding method.
    pub method: Method,
    /// Weight; 0 quiesces.
    pub weight: u32,
    /// `-x`; 0: none.
    pub upper: u32,
    /// `-y`; 0: automatic.
    pub lower: u32,
    /// `--client-address`
    #[serde(default)]
    pub client_address: ClientAddress,
}

impl Default for DestOptions {
    /// What `ipvsadm -a` gives without options: Route, weight 1, no thresholds.
    fn default() -> DestOptions {
        DestOptions { method: Method::Direct, weight: 1, upper: 0, lower: 0, client_address: ClientAddress::None }
    }
}

/// What a synchronisation daemon does with conns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncRole {
    /// Tells others of them.
    Master,
    /// Takes them over from a master.
    Backup,
}

impl SyncRole {
    /// As the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            SyncRole::Master => "master",
            SyncRole::Backup => "backup",
        }
    }
}

/// How a synchronisation daemon speaks: `--start-daemon` with its options.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct SyncOptions {
    /// `--mcast-interface`: name of a link.
    pub interface: String,
    /// `--syncid`; a backup with 0 listens to all.
    pub syncid: u8,
    /// `--sync-maxlen`: largest message; 0: what fits into a packet of 1500 bytes.
    pub maxlen: u16,
    /// `--mcast-group`
    pub group: IpAddr,
    /// `--mcast-port`
    pub port: u16,
    /// `--mcast-ttl`
    pub ttl: u8,
    /// Other directors: a master tells each of them, not the group, and a backup listens to these only. To all if there are
    /// none.
    #[serde(default)]
    pub peers: Vec<IpAddr>,
    /// Directors prove with it that they are no strangers.
    #[serde(default)]
    pub key: Option<SharedKey>,
}

/// A key that directors share, which is shown to nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedKey(pub String);

impl SharedKey {
    /// Says that there is one.
    pub fn hidden() -> SharedKey {
        SharedKey("(hidden)".into())
    }
}

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Default for SyncOptions {
    fn default() -> SyncOptions {
        let group = IpAddr::from([224, 0, 0, 81]);
        SyncOptions {
            interface: String::new(),
            syncid: 0,
            maxlen: 0,
            group,
            port: 8848,
            ttl: 1,
            peers: Vec::new(),
            key: None,
        }
    }
}

/// One change, all or nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// `-A`
    AddService(ServiceKey, ServiceOptions),
    /// `-E`: replaces all options.
    EditService(ServiceKey, ServiceOptions),
    /// `-D`
    DeleteService(ServiceKey),
    /// `-C`
    Clear,
    /// `-a`
    AddDest(ServiceKey, Endpoint, DestOptions),
    /// `-e`: replaces all options.
    EditDest(ServiceKey, Endpoint, DestOptions),
    /// `-d`
    DeleteDest(ServiceKey, Endpoint),
    /// `-Z`, of one service or all.
    Zero(Option<ServiceKey>),
    /// `--set`: seconds; 0 leaves a value as it is.
    SetTimeouts {
        /// ESTABLISHED.
        tcp: u32,
        /// FIN_WAIT.
        tcp_fin: u32,
        /// UDP.
        udp: u32,
    },
    /// `--start-daemon`
    StartDaemon(SyncRole, SyncOptions),
    /// `--stop-daemon`
    StopDaemon(SyncRole),
    /// `-P`: a local address for FULL-NAT.
    AddLocalAddress(ServiceKey, IpAddr),
    /// `-Q`
    DeleteLocalAddress(ServiceKey, IpAddr),
}
