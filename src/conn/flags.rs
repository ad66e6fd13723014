//! The bits of a record's flags; where IPVS has the same flag, its value is the kernel's (`IP_VS_CONN_F_*`).
//!
//! Constants only.

/// The forwarding method's value.
pub(super) const METHOD: u16 = 0x0007;
/// The real server's address is the director's own.
pub(super) const LOCAL: u16 = 0x0008;
/// An application helper reads its packets.
pub(super) const HELPED: u16 = 0x0010;
/// Another director told of it.
pub(super) const SYNCED: u16 = 0x0020;
/// It controls others.
pub(super) const CONTROLS: u16 = 0x0040;
/// The client's port is not known yet.
pub(super) const NO_CPORT: u16 = 0x0800;
/// Replies are not seen (NOOUTPUT).
pub(super) const ONE_WAY: u16 = 0x0080;
/// It was announced, maybe before the server's port was known: FULL-NAT's local port is free towards all of them.
pub(super) const ANY_DPORT: u16 = 0x0200;
/// Counted as inactive.
pub(super) const INACTIVE: u16 = 0x0100;
/// The kernel forwards its packets.
pub(super) const FAST: u16 = 0x0400;
/// A persistence template.
pub(super) const TEMPLATE: u16 = 0x1000;
/// Not in the index any more: it only waits for its end.
pub(super) const HIDDEN: u16 = 0x2000;
/// Another conn has the same reply key and is newer.
pub(super) const SHADOWED: u16 = 0x4000;
/// The slot is in use.
pub(super) const LIVE: u16 = 0x8000;

/// No two of them share a bit.
const _: () = {
    let all = [
        METHOD, LOCAL, HELPED, SYNCED, CONTROLS, NO_CPORT, ONE_WAY, ANY_DPORT, INACTIVE, FAST, TEMPLATE, HIDDEN,
        SHADOWED, LIVE,
    ];
    let (mut sum, mut index) = (0_u32, 0);
    while index < all.len() {
        assert!(sum & all[index] as u32 == 0);
        sum |= all[index] as u32;
        index += 1;
    }
};
