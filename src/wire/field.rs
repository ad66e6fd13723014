//! Where the fields of headers stand, each counted from the start of its own header, and how numbers are read and
//! written there.
//!
//! Never looks at what a field means. Like slicing, the readers and writers panic beyond the end: their callers have
//! compared lengths before.

/// Bytes of an Ethernet header without tag; the IP header starts there.
pub const ETH_LEN: usize = 14;

/// IEEE 802.3.
pub(crate) mod ethernet {
    pub const DST: usize = 0;
    pub const SRC: usize = 6;
    pub const ETHERTYPE: usize = 12;
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const IPV6: u16 = 0x86dd;

    /// The ethertype of an IP packet that begins with this byte.
    #[inline(always)]
    pub const fn of_ip(first: u8) -> u16 {
        if first >> 4 == 6 { IPV6 } else { IPV4 }
    }
}

/// RFC 791 3.1.
pub(crate) mod ipv4 {
    /// Without options.
    pub const LEN: usize = 20;
    pub const TOS: usize = 1;
    pub const TOTAL_LEN: usize = 2;
    pub const ID: usize = 4;
    /// Flags and fragment offset.
    pub const FRAGMENT: usize = 6;
    pub const TTL: usize = 8;
    pub const PROTOCOL: usize = 9;
    pub const CHECKSUM: usize = 10;
    pub const SRC: usize = 12;
    pub const DST: usize = 16;
    pub const DONT_FRAGMENT: u16 = 0x4000;
    pub const MORE_FRAGMENTS: u16 = 0x2000;
    pub const OFFSET_MASK: u16 = 0x1fff;
}

/// RFC 8200 3 and, for the fragment header, 4.5.
pub(crate) mod ipv6 {
    pub const LEN: usize = 40;
    pub const PAYLOAD_LEN: usize = 4;
    pub const NEXT_HEADER: usize = 6;
    pub const HOP_LIMIT: usize = 7;
    pub const SRC: usize = 8;
    pub const DST: usize = 24;
    /// A packet of this size takes every path (RFC 8200 5).
    pub const MIN_MTU: usize = 1280;
    pub const FRAGMENT_LEN: usize = 8;
    pub const FRAGMENT_OFFSET: usize = 2;
    pub const FRAGMENT_ID: usize = 4;
}

/// Source and destination port stand at the same places of TCP, UDP and SCTP.
pub(crate) mod ports {
    pub const SRC: usize = 0;
    pub const DST: usize = 2;
}

/// RFC 9293 3.1.
pub(crate) mod tcp {
    /// Without options.
    pub const LEN: usize = 20;
    pub const SEQUENCE: usize = 4;
    pub const ACKNOWLEDGMENT: usize = 8;
    pub const DATA_OFFSET: usize = 12;
    pub const FLAGS: usize = 13;
    pub const WINDOW: usize = 14;
    pub const CHECKSUM: usize = 16;
}

/// RFC 768.
pub(crate) mod udp {
    pub const LEN: usize = 8;
    pub const LENGTH: usize = 4;
    pub const CHECKSUM: usize = 6;
}

/// RFC 9260 3.1: the common header, and a chunk's.
pub(crate) mod sctp {
    pub const LEN: usize = 12;
    pub const CHECKSUM: usize = 8;
    pub const CHUNK_LEN: usize = 4;
}

/// RFC 792 and RFC 4443 2.1.
pub(crate) mod icmp {
    pub const LEN: usize = 8;
    pub const TYPE: usize = 0;
    pub const CODE: usize = 1;
    pub const CHECKSUM: usize = 2;
    /// An MTU, a pointer, or nothing.
    pub const SECOND_WORD: usize = 4;
}

/// RFC 2784 2.1.
pub(crate) mod gre {
    pub const LEN: usize = 4;
    pub const PROTOCOL: usize = 2;
    /// Flag: a checksum and 16 reserved bits follow.
    pub const HAS_CHECKSUM: u16 = 0x8000;
    pub const CHECKSUM: usize = 4;
    pub const CHECKSUM_LEN: usize = 4;
}

/// draft-ietf-intarea-gue, version 0.
pub(crate) mod gue {
    pub const LEN: usize = 4;
    pub const PROTOCOL: usize = 1;
    pub const FLAGS: usize = 2;
    /// Flag: a word of private flags follows.
    pub const PRIVATE: u16 = 0x0001;
    pub const PRIVATE_FLAGS: usize = 4;
    /// Private flag: where a checksum starts and where it goes follow.
    pub const REMOTE_CHECKSUM: u32 = 0x8000_0000;
    pub const REMOTE_START: usize = 8;
    pub const REMOTE_PLACE: usize = 10;
    pub const REMOTE_CHECKSUM_LEN: usize = 8;
}

/// The `N` bytes at `at`.
#[inline(always)]
pub(crate) fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// The 16-bit number at `at`, in network order.
#[inline(always)]
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(take(bytes, at))
}

/// The 32-bit number at `at`, in network order.
#[inline(always)]
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(take(bytes, at))
}

/// Writes a 16-bit number in network order.
#[inline(always)]
pub(crate) fn put16(bytes: &mut [u8], at: usize, number: u16) {
    put(bytes, at, &number.to_be_bytes());
}

/// Writes a 32-bit number in network order.
#[inline(always)]
pub(crate) fn put32(bytes: &mut [u8], at: usize, number: u32) {
    put(bytes, at, &number.to_be_bytes());
}

/// Writes bytes.
#[inline(always)]
pub(crate) fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes[at..at + new.len()].copy_from_slice(new);
}
