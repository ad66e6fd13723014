//! What a synchronisation daemon works with: its options with the defaults filled in, and its link.
//!
//! Never sends or receives.

use super::seal::OVERHEAD;
use crate::base::LinkId;
use crate::router::Router;
use crate::service::command::{Refused, SyncOptions, SyncRole};

/// What a packet on any Ethernet takes.
const PACKET: u16 = 1500;
const UDP_HEADER: usize = 8;
const LARGEST: usize = 65_535;

/// A daemon as it was started.
pub(super) struct Daemon {
    pub(super) options: SyncOptions,
    pub(super) link: LinkId,
}

/// Link and size of messages.
pub(super) fn daemon(role: SyncRole, options: &SyncOptions, router: &Router) -> Result<Daemon, Refused> {
    let named = |name: &str| router.links().find(|(_, link)| link.name == name);
    let (link, mtu) = named(&options.interface).map(|(id, link)| (id, link.mtu)).ok_or(Refused::NoDevice)?;
    let headers = UDP_HEADER + if options.group.is_ipv4() { 20 } else { 40 };
    let (packet, least) = match role {
        SyncRole::Master => (PACKET, 1),
        SyncRole::Backup => (mtu.max(PACKET), 1024),
    };
    let maxlen = match usize::from(options.maxlen) {
        0 => usize::from(packet) - headers,
        asked => asked.clamp(least, LARGEST - headers),
    };
    let sealed = if options.key.is_some() { OVERHEAD } else { 0 };
    let maxlen = maxlen.saturating_sub(sealed).max(1);
    Ok(Daemon { options: SyncOptions { maxlen: maxlen as u16, ..options.clone() }, link })
}
