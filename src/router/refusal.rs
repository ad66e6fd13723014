//! Why a packet goes no further, and what its sender is told of it.
//!
//! A value, returned by whoever refuses; the director counts it and sends the error, in one place.

use crate::base::DropReason;
use crate::wire::extension::Verdict;
use crate::wire::icmp::IcmpError;

/// ICMPv6 type of a parameter problem (RFC 4443 3.4).
const PARAMETER_PROBLEM: u8 = 4;

/// The error type of the packet's path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The name under which the packet is counted.
    pub reason: DropReason,
    /// What its sender is told.
    pub error: Option<IcmpError>,
}

impl Refusal {
    /// A refusal that the sender is told of.
    #[cold]
    pub fn with(reason: DropReason, error: IcmpError) -> Refusal {
        Refusal { reason, error: Some(error) }
    }
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Refusal {
        Refusal { reason, error: None }
    }
}

/// Does what an IPv6 extension header asks for.
#[inline]
pub fn apply_verdict(verdict: Verdict) -> Result<(), Refusal> {
    match verdict {
        Verdict::Good => Ok(()),
        Verdict::Drop => Err(DropReason::ExtensionHeader.into()),
        Verdict::Tell(code, at) => {
            Err(Refusal::with(DropReason::ExtensionHeader, IcmpError::Raw(PARAMETER_PROBLEM, code, at)))
        }
    }
}
