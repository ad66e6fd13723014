//! Why a command was refused, in ipvsadm's words.
//!
//! Values only.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a command was refused; the words are ipvsadm's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// The service is there already.
    ServiceExists,
    /// `-E`, `-D`, `-Z` of a service that is not there.
    NoSuchService,
    /// A dest command for a service that is not there.
    ServiceNotDefined,
    /// The dest is there already.
    DestExists,
    /// No such dest.
    NoSuchDest,
    /// Unknown scheduler or persistence engine.
    NoScheduler,
    /// Lower threshold above the upper one.
    Range,
    /// A value that cannot be: address not unicast, wrong family, bad prefix length.
    Invalid,
    /// A weight or threshold that does not fit.
    NotACount,
    /// A persistence or timeout that does not fit.
    NotATime,
    /// Port 0, which is every port, of a service that is not persistent.
    ZeroPort,
    /// One-packet scheduling of a service that is not UDP's.
    OnePacketNotUdp,
    /// No link of this name, or none with an address of the family.
    NoDevice,
    /// Direct routing over a link without Ethernet.
    NoEthernet,
    /// One-packet scheduling together with FULL-NAT.
    OnePacket,
    /// The client is to be told where that cannot be: not through FULL-NAT, or by no way that its protocol has.
    ClientAddress,
    /// A SYN proxy elsewhere than in TCP whose replies pass here.
    SynProxy,
    /// A local address that no host, or another host, has.
    NotLocal,
    /// The daemon runs already.
    DaemonRuns,
    /// The daemon does not run.
    NoDaemon,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::ServiceExists => "Service already exists",
            Refused::NoSuchService => "No such service",
            Refused::ServiceNotDefined => "Service not defined",
            Refused::DestExists => "Destination already exists",
            Refused::NoSuchDest => "No such destination",
            Refused::NoScheduler => "Scheduler or persistence engine not found",
            Refused::Range => "Numerical result out of range",
            Refused::Invalid => "Invalid operation.  Possibly wrong module version, address not unicast, ...",
            Refused::NotACount => "Weights and thresholds are numbers from 0 to 2147483647",
            Refused::NotATime => "Times are 1 to 2678400 seconds (31 days)",
            Refused::ZeroPort => "Zero port specified for non-persistent service",
            Refused::OnePacketNotUdp => "One-Packet Scheduling is only for UDP virtual services",
            Refused::NoDevice => "No such device",
            Refused::NoEthernet => {
                "direct routing changes a packet's MAC address alone, and a TUN carries none; use nat, fullnat or tunnel"
            }
            Refused::OnePacket => {
                "one-packet scheduling keeps no conn by which a FULL-NAT reply could find its client; leave out one-packet scheduling, or use nat, direct or tunnel"
            }
            Refused::ClientAddress => {
                "clients' addresses are told to servers of TCP behind FULL-NAT, by proxy-v2 to those of UDP too; leave it out, or use fullnat"
            }
            Refused::SynProxy => {
                "a SYN proxy needs TCP whose replies pass here, and those of direct routing and tunnels do not; leave it out, or use nat or fullnat"
            }
            Refused::NotLocal => {
                "not an address that the director can have: a group's, a broadcast, loopback or a real server's own; use a free one of its net"
            }
            Refused::DaemonRuns => "Daemon has already run",
            Refused::NoDaemon => "No daemon is running",
        })
    }
}
