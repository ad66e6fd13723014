//! What queriers ask of those who listen to groups, and why they report: alike in both families (RFC 3376, RFC 3810).

use std::net::IpAddr;
use std::time::Duration;

use crate::base::Family;

/// What a query for listeners asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query {
    /// The family of the groups that it asks for.
    pub family: Family,
    /// The group that it asks for; all if none.
    pub group: Option<IpAddr>,
    /// Within which time it is to be answered.
    pub within: Duration,
    /// It is of the version before (RFC 2236, RFC 2710), and so are the reports that its sender understands.
    pub old: bool,
}

/// The reason for a report: the record type of RFC 3376 4.2.12 and RFC 3810 5.2.12.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// Answers a query.
    Current = 2,
    /// The groups are new.
    Joined = 4,
}

/// The time in a query, in its own unit: a number of floating point if the first bit is set, with a mantissa of so many
/// bits behind an exponent of three (RFC 3376 4.1.1, RFC 3810 5.1.3).
pub(super) fn time(code: u64, mantissa: u32) -> u64 {
    if code >> (mantissa + 3) == 0 {
        return code;
    }
    (code & ((1 << mantissa) - 1) | 1 << mantissa) << ((code >> mantissa & 7) + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_times_are_numbers_of_floating_point() {
        assert_eq!([0, 100, 127, 0x80, 0xff].map(|code| time(code, 4)), [0, 100, 127, 128, 31 << 10]);
        assert_eq!([0, 0x7fff, 0x8000, 0xffff].map(|code| time(code, 12)), [0, 0x7fff, 0x8000, 0x1fff << 10]);
    }
}
