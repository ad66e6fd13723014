//! The kernel's numbers for what a director refuses.

use nix::errno::Errno;

use crate::service::command::Refused;

/// The kernel's number for a refusal.
pub fn errno_of(refused: Refused) -> Errno {
    match refused {
        Refused::ServiceExists | Refused::DestExists | Refused::DaemonRuns => Errno::EEXIST,
        Refused::NoSuchService | Refused::ServiceNotDefined | Refused::NoDaemon => Errno::ESRCH,
        Refused::NoSuchDest | Refused::NoScheduler => Errno::ENOENT,
        Refused::Range => Errno::ERANGE,
        Refused::Invalid
        | Refused::NoEthernet
        | Refused::NotACount
        | Refused::NotATime
        | Refused::ZeroPort
        | Refused::OnePacketNotUdp
        | Refused::ClientAddress
        | Refused::SynProxy
        | Refused::NotLocal
        | Refused::OnePacket => Errno::EINVAL,
        Refused::NoDevice => Errno::ENODEV,
    }
}
