//! Which options each command of ipvsadm needs, and which it takes besides.
//!
//! Tables only.

use super::options::{Opt, Verb};

/// Every kind of option, in the order in which they are checked.
pub(super) const ALL_CHECKED: &[Opt] = &[
    Opt::Numeric,
    Opt::Connection,
    Opt::ServiceAddress,
    Opt::Scheduler,
    Opt::Persistent,
    Opt::Netmask,
    Opt::RealServer,
    Opt::Forwarding,
    Opt::Weight,
    Opt::UpperThreshold,
    Opt::LowerThreshold,
    Opt::McastInterface,
    Opt::Timeout,
    Opt::Daemon,
    Opt::Stats,
    Opt::Rate,
    Opt::Thresholds,
    Opt::PersistentConn,
    Opt::NoSort,
    Opt::SyncId,
    Opt::Exact,
    Opt::OnePacket,
    Opt::Engine,
    Opt::SchedFlags,
    Opt::TunnelInfo,
    Opt::TunnelType,
    Opt::TunnelPort,
    Opt::TunnelNoChecksum,
    Opt::TunnelChecksum,
    Opt::TunnelRemoteChecksum,
    Opt::SyncMaxlen,
    Opt::McastGroup,
    Opt::McastPort,
    Opt::McastTtl,
    Opt::LocalAddress,
    Opt::ClientAddress,
    Opt::Limit,
    Opt::SynProxy,
];

/// Options that a command needs, and those that it takes besides.
pub(super) fn options_of(verb: Verb) -> (&'static [Opt], &'static [Opt]) {
    use Opt::*;
    match verb {
        Verb::AddService | Verb::EditService => {
            (&[ServiceAddress], &[Scheduler, Persistent, Netmask, OnePacket, Engine, SchedFlags, Limit, SynProxy])
        }
        Verb::DeleteService => (&[ServiceAddress], &[]),
        Verb::AddServer | Verb::EditServer => (
            &[ServiceAddress, RealServer],
            &[
                Forwarding,
                Weight,
                UpperThreshold,
                LowerThreshold,
                TunnelType,
                TunnelPort,
                TunnelNoChecksum,
                TunnelChecksum,
                TunnelRemoteChecksum,
                ClientAddress,
            ],
        ),
        Verb::DeleteServer => (&[ServiceAddress, RealServer], &[]),
        Verb::List => (
            &[],
            &[
                Numeric,
                Connection,
                ServiceAddress,
                Timeout,
                Daemon,
                Stats,
                Rate,
                Thresholds,
                PersistentConn,
                NoSort,
                SyncId,
                Exact,
                TunnelInfo,
            ],
        ),
        Verb::Save => (&[], &[Numeric]),
        Verb::Zero => (&[], &[ServiceAddress]),
        Verb::StartDaemon => (&[], &[McastInterface, SyncId, SyncMaxlen, McastGroup, McastPort, McastTtl]),
        Verb::StopDaemon => (&[], &[SyncId]),
        Verb::AddLocal | Verb::DeleteLocal => (&[ServiceAddress, LocalAddress], &[]),
        Verb::ListLocals => (&[], &[ServiceAddress, Numeric]),
        Verb::Flush | Verb::Restore | Verb::Set | Verb::Help | Verb::Version => (&[], &[]),
    }
}
