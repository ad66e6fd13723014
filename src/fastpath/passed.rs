//! Why the program leaves packets to the director, and how many it has left for each reason.
//!
//! The order is that of `enum passed` in `program.c`.

use super::bytes::In;

/// Bytes of the totals, which are the only value of their map: a number for each reason, and how many SYNs were answered.
pub const TOTALS_LEN: usize = 8 * (Passed::ALL.len() + 1);

/// Why a packet was left to user space: an index into the totals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passed {
    /// To another station or a group.
    Station,
    /// Not IPv4 or IPv6, or with a VLAN tag.
    EtherType,
    /// Neither TCP nor UDP, or behind extension headers.
    Protocol,
    /// With IPv4 options.
    Options,
    /// A fragment.
    Fragment,
    /// Its lengths or its header's checksum are wrong.
    Malformed,
    /// A segment with SYN, FIN, RST, or without ACK.
    Flags,
    /// There is no entry.
    NoEntry,
    /// There is one, of a conn between the client and somebody else.
    OtherEnd,
    /// Packets of this way are not taken.
    OneWay,
    /// Its TTL ends here.
    Ttl,
    /// Larger than the way.
    TooBig,
    /// The next hop's MAC is not known, or it is on a link of another medium.
    Neighbour,
    /// A superframe that is not as the kernel's own, or with too many segments.
    Superframe,
    /// A UDP datagram without a checksum, which NAT would have to make.
    Unsummed,
    /// Selective acknowledgements (FULL-NAT) at places that the program does not know.
    TcpOptions,
    /// The kernel could not do it.
    Refused,
}

impl Passed {
    /// All, in the order of the totals.
    pub const ALL: [Passed; 17] = [
        Passed::Station,
        Passed::EtherType,
        Passed::Protocol,
        Passed::Options,
        Passed::Fragment,
        Passed::Malformed,
        Passed::Flags,
        Passed::NoEntry,
        Passed::OtherEnd,
        Passed::OneWay,
        Passed::Ttl,
        Passed::TooBig,
        Passed::Neighbour,
        Passed::Superframe,
        Passed::Unsummed,
        Passed::TcpOptions,
        Passed::Refused,
    ];

    /// Its name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Passed::Station => "station",
            Passed::EtherType => "ethertype",
            Passed::Protocol => "protocol",
            Passed::Options => "options",
            Passed::Fragment => "fragment",
            Passed::Malformed => "malformed",
            Passed::Flags => "flags",
            Passed::NoEntry => "no-entry",
            Passed::OtherEnd => "other-end",
            Passed::OneWay => "one-way",
            Passed::Ttl => "ttl",
            Passed::TooBig => "too-big",
            Passed::Neighbour => "neighbour",
            Passed::Superframe => "superframe",
            Passed::Unsummed => "unsummed",
            Passed::TcpOptions => "tcp-options",
            Passed::Refused => "refused",
        }
    }
}

/// How many packets were left to user space for each reason.
pub type Totals = [u64; Passed::ALL.len()];

/// The totals of the kernel's bytes.
pub fn totals(bytes: &[u8; TOTALS_LEN]) -> Totals {
    let mut from = In(bytes);
    [(); Passed::ALL.len()].map(|()| u64::from_ne_bytes(from.take()))
}

/// How many SYNs the program has answered, of the kernel's bytes.
pub fn answered(bytes: &[u8; TOTALS_LEN]) -> u64 {
    u64::from_ne_bytes(In(&bytes[TOTALS_LEN - 8..]).take())
}
