//! What the flags of a record say.
//!
//! Never looks at its ends, its state or its timer.

use super::flags as flag;
use super::record::Conn;
use crate::base::{Counted, Method, Tunnel};

impl Conn {
    /// How it is forwarded, which is fixed at its birth, but for `tunnel`: how its dest's tunnel is made now.
    #[inline(always)]
    pub fn method(&self, tunnel: impl FnOnce() -> Tunnel) -> Method {
        Method::of_number(self.flags & flag::METHOD, tunnel).unwrap_or(Method::Nat)
    }

    /// True if it is forwarded by NAT.
    pub fn is_nat(&self) -> bool {
        self.flags & flag::METHOD == Method::Nat.number()
    }

    /// True if it is forwarded by FULL-NAT.
    pub fn is_full_nat(&self) -> bool {
        self.flags & flag::METHOD == Method::FullNat.number()
    }

    /// True if it is forwarded by NAT and bit 1 of a setting is set, or by FULL-NAT and bit 2 is.
    #[inline]
    pub fn is_of(&self, methods: u8) -> bool {
        (methods & 1 != 0 && self.is_nat()) || (methods & 2 != 0 && self.is_full_nat())
    }

    /// True if replies come back through the director and are rewritten there.
    pub fn rewrites_replies(&self) -> bool {
        self.is_nat() || self.is_full_nat()
    }

    /// The flags that other directors are told: those of the kernel that we have too.
    pub fn kernel_flags(&self) -> u32 {
        let common = flag::METHOD | flag::ONE_WAY | flag::INACTIVE | flag::NO_CPORT | flag::TEMPLATE | flag::SYNCED;
        u32::from(self.flags & common)
    }

    /// True if another director told of it, and no packet of it has come here since.
    pub fn is_synced(&self) -> bool {
        self.flags & flag::SYNCED != 0
    }

    /// Says whether it is known from another director alone.
    pub fn set_synced(&mut self, synced: bool) {
        self.set(flag::SYNCED, synced);
    }

    /// What it counts as at its dest.
    pub fn counted(&self) -> Counted {
        Counted::active_if(self.flags & flag::INACTIVE == 0)
    }

    /// Says what it counts as; the dest's counters are the caller's.
    pub fn set_counted(&mut self, counted: Counted) {
        self.set(flag::INACTIVE, counted == Counted::Inactive);
    }

    /// True if the kernel forwards its packets.
    pub fn is_fast(&self) -> bool {
        self.flags & flag::FAST != 0
    }

    /// True if another conn, which is newer, takes its replies.
    pub fn is_shadowed(&self) -> bool {
        self.flags & flag::SHADOWED != 0
    }

    /// A persistence template: it takes no packets, it binds a client to a dest.
    pub fn is_template(&self) -> bool {
        self.flags & flag::TEMPLATE != 0
    }

    /// True if a helper reads its packets.
    pub fn is_helped(&self) -> bool {
        self.flags & flag::HELPED != 0
    }

    /// Whether a helper reads its packets from now on.
    pub fn set_helped(&mut self, is_helped: bool) {
        self.set(flag::HELPED, is_helped);
    }

    /// True if its requests are looked at before they count: a helper reads them, or the client's port is not known.
    #[inline]
    pub fn is_looked_at(&self) -> bool {
        self.flags & (flag::HELPED | flag::NO_CPORT) != 0
    }

    /// True while the client's port is not known (a data conn that was announced).
    pub fn is_without_client_port(&self) -> bool {
        self.flags & flag::NO_CPORT != 0
    }

    /// True for a conn that was made before its first packet, because another one announced it.
    pub fn is_announced(&self) -> bool {
        self.flags & flag::ANY_DPORT != 0
    }

    /// True if the real server's address is the director's own.
    pub fn is_local(&self) -> bool {
        self.flags & flag::LOCAL != 0
    }

    /// True if replies of the real server have not been seen here.
    pub fn is_one_way(&self) -> bool {
        self.flags & flag::ONE_WAY != 0
    }

    /// A reply was seen after all: the two-way state table holds from now on.
    pub fn saw_reply(&mut self) {
        self.set(flag::ONE_WAY, false);
    }

    pub(super) fn set(&mut self, bit: u16, on: bool) {
        self.flags = if on { self.flags | bit } else { self.flags & !bit };
    }

    /// True if no packet finds it.
    pub fn is_hidden(&self) -> bool {
        self.flags & flag::HIDDEN != 0
    }

    /// True for a flow whose replies the real server sends by way of the director.
    pub(super) fn has_reply_key(&self) -> bool {
        self.rewrites_replies() && !self.is_template()
    }

    pub(super) fn is_live(&self) -> bool {
        self.flags & flag::LIVE != 0
    }

    /// True if it controls others.
    pub fn controls(&self) -> bool {
        self.flags & flag::CONTROLS != 0
    }
}
