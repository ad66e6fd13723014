//! IPVS connection synchronisation: other directors are told of conns, and theirs are taken over.
//!
//! A listener of what happens to conns. Never changes a conn that it tells of.

mod backup;
mod master;
mod message;

use std::time::Duration;

use crate::base::{Instant, LinkId, Proto};
use crate::conn::{ConnTable, LifeEvent};
use crate::router::Router;
use crate::service::Services;
use crate::service::command::{Refused, SyncOptions, SyncRole};
use crate::wire::Ip;
use master::{Master, Told};

/// A message leaves this long after its first conn at the latest.
const GATHERED: Duration = Duration::from_secs(2);
/// What a packet on any Ethernet takes.
const PACKET: u16 = 1500;
const UDP_HEADER: usize = 8;
const LARGEST: usize = 65_535;

/// What a daemon was started with, its defaults filled in.
struct Daemon {
    options: SyncOptions,
    link: LinkId,
}

/// Master and backup may run at the same time.
#[derive(Default)]
pub struct Sync {
    master: Option<Master>,
    backup: Option<Daemon>,
    /// What was told of each conn, by slot. Empty until somebody is told.
    told: Vec<Told>,
}

impl Sync {
    /// True while a daemon runs.
    pub fn runs(&self) -> bool {
        self.master.is_some() || self.backup.is_some()
    }

    /// True while the backup's daemon runs.
    pub fn is_backup(&self) -> bool {
        self.backup.is_some()
    }

    /// The daemons that run, with their options as they are used.
    pub fn daemons(&self) -> impl Iterator<Item = (SyncRole, &SyncOptions)> {
        let master = self.master.iter().map(|master| (SyncRole::Master, &master.daemon.options));
        master.chain(self.backup.iter().map(|backup| (SyncRole::Backup, &backup.options)))
    }

    /// True for a packet to the group that this director listens to.
    pub fn is_sync_group(&self, link: LinkId, ip: &Ip) -> bool {
        let Some(backup) = &self.backup else { return false };
        backup.link == link && ip.dst == backup.options.group && ip.proto == Proto::UDP
    }

    /// Something has happened to a conn: what was told of an older one in its slot does not count for it.
    pub fn on(&mut self, event: LifeEvent, conns: &ConnTable) {
        match event {
            LifeEvent::Opened(id) => {
                if let Some(told) = self.told.get_mut(id.index()) {
                    let conn = conns.get(id);
                    *told = if conn.is_synced() { Told::of_state(conn.state()) } else { Told::default() };
                }
            }
            LifeEvent::Moved(..) | LifeEvent::Ended(_) => {}
        }
    }

    /// Starts a daemon.
    pub fn start(
        &mut self,
        role: SyncRole,
        options: &SyncOptions,
        services: &Services,
        router: &mut Router,
    ) -> Result<(), Refused> {
        let daemon = daemon(role, options, services, router)?;
        match role {
            SyncRole::Master if self.master.is_some() => return Err(Refused::DaemonRuns),
            SyncRole::Backup if self.backup.is_some() => return Err(Refused::DaemonRuns),
            SyncRole::Backup => self.backup = Some(daemon),
            SyncRole::Master => self.master = Some(Master::new(daemon, router)?),
        }
        Ok(())
    }

    /// Stops a daemon. Conns that were gathered and not sent are forgotten, as in the kernel.
    pub fn stop(&mut self, role: SyncRole) -> Result<(), Refused> {
        let ran = match role {
            SyncRole::Master => self.master.take().is_some(),
            SyncRole::Backup => self.backup.take().is_some(),
        };
        if ran { Ok(()) } else { Err(Refused::NoDaemon) }
    }

    /// When a message leaves that is not full.
    pub fn due(&self) -> Option<Instant> {
        self.master.as_ref()?.due()
    }
}

/// Link and size of messages. A server of another family than its service does not fit into a message.
fn daemon(role: SyncRole, options: &SyncOptions, services: &Services, router: &Router) -> Result<Daemon, Refused> {
    let named = |name: &str| router.links().find(|(_, link)| link.name == name);
    let (link, mtu) = named(&options.interface).map(|(id, link)| (id, link.mtu)).ok_or(Refused::NoDevice)?;
    if services.has_mixed_families() {
        return Err(Refused::Invalid);
    }
    let headers = UDP_HEADER + if options.group.is_ipv4() { 20 } else { 40 };
    let (packet, least) = match role {
        SyncRole::Master => (PACKET, 1),
        SyncRole::Backup => (mtu.max(PACKET), 1024),
    };
    let maxlen = match usize::from(options.maxlen) {
        0 => usize::from(packet) - headers,
        asked => asked.clamp(least, LARGEST - headers),
    };
    Ok(Daemon { options: SyncOptions { maxlen: maxlen as u16, ..options.clone() }, link })
}
