//! Kinds of IP tunnels towards real servers.
//!
//! Names only: the bytes are `wire`'s.

use serde::{Deserialize, Serialize};

/// How a tunnel's packets are encapsulated: `--tun-type` with its options.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tunnel {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP Encapsulation to this port.
    Gue {
        /// UDP destination port, not 0.
        port: u16,
        /// Checksum kind.
        checksum: TunnelChecksum,
    },
    /// GRE; `Remote` is not possible.
    Gre {
        /// Checksum kind.
        checksum: TunnelChecksum,
    },
}

/// `--tun-nocsum`, `--tun-csum`, `--tun-remcsum`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TunnelChecksum {
    /// No checksum.
    None,
    /// UDP or GRE checksum.
    Full,
    /// Remote checksum offload (GUE).
    Remote,
}
