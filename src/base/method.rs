//! Forwarding methods, and the kernel's numbers for them.
//!
//! Names only: what each does to a packet is in `forward`.

use serde::{Deserialize, Serialize};

use super::Tunnel;

/// How packets are forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// `-m`, Masq: destination rewritten, replies come back through the director.
    Nat,
    /// `-g`, Route: only the MAC changes.
    Direct,
    /// `-i`, Tunnel: encapsulated towards the server.
    Tunnel(Tunnel),
    /// `--fullnat`, FullNat: both addresses rewritten, the source to a local address of the director.
    FullNat,
    /// No server: forwarded to where it is addressed (`cache_bypass`). Of conns alone, never of a dest.
    Bypass,
}

impl Method {
    /// Its number in the kernel's flags of a conn (`IP_VS_CONN_F_*`). The kernel has no FULL-NAT: the number is that of DPVS.
    pub const fn number(self) -> u16 {
        match self {
            Method::Nat => 0,
            Method::Tunnel(_) => 2,
            Method::Direct => 3,
            Method::Bypass => 4,
            Method::FullNat => 5,
        }
    }

    /// The method of a number; `tunnel` says how a tunnel is made, which the number does not tell.
    #[inline(always)]
    pub fn of_number(number: u16, tunnel: impl FnOnce() -> Tunnel) -> Option<Method> {
        Some(match number {
            0 => Method::Nat,
            2 => Method::Tunnel(tunnel()),
            3 => Method::Direct,
            4 => Method::Bypass,
            5 => Method::FullNat,
            _ => return None,
        })
    }

    /// True if replies come back through the director and are rewritten there.
    #[inline]
    pub fn rewrites_replies(self) -> bool {
        match self {
            Method::Nat | Method::FullNat => true,
            Method::Tunnel(_) | Method::Direct | Method::Bypass => false,
        }
    }

    /// True if a server may be of another family than its clients.
    pub fn takes_any_family(self) -> bool {
        match self {
            Method::Tunnel(_) | Method::FullNat => true,
            Method::Nat | Method::Direct | Method::Bypass => false,
        }
    }
}
