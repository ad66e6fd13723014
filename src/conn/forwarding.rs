//! The forwarding methods, by the numbers of the kernel's flags.
//!
//! Names only: what each does is in `forward`.

/// How the packets of a conn are forwarded; fixed at its birth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Forwarding {
    /// Masquerading.
    Nat = 0,
    /// IP tunnel.
    Tunnel = 2,
    /// Direct routing.
    Direct = 3,
    /// FULL-NAT.
    FullNat = 5,
}

impl Forwarding {
    /// True if replies come back through the director and are rewritten there.
    pub fn rewrites_replies(self) -> bool {
        match self {
            Forwarding::Nat | Forwarding::FullNat => true,
            Forwarding::Tunnel | Forwarding::Direct => false,
        }
    }
}
