//! IPVS connection synchronisation: other directors are told of conns, and theirs are taken over.
//!
//! A listener of what happens to conns. Never changes a conn that it tells of.

mod backup;
mod daemon;
mod due;
mod master;
mod message;
mod of_conn;
mod own;
mod policy;
mod record;
mod report;
mod seal;
mod sender;
mod table;
mod take;
mod version0;

use crate::alg::Helped;
use crate::base::{ConnId, Instant, Proto};
use crate::conn::{ConnTable, LifeEvent};
use crate::flows::Flows;
use crate::router::{Egress, Router, Turn};
use crate::service::command::{Refused, SyncOptions, SyncRole};
use crate::settings::Settings;
use crate::wire::{Ip, L4};
use backup::Listener;
pub use master::Master;
use report::Heard;
pub use report::SyncReport;
pub use table::Parting;
use table::{Asking, Telling};

/// Master and backup may run at the same time.
#[derive(Default)]
pub struct Sync {
    /// Other directors are told of conns.
    pub master: Master,
    backup: Option<Listener>,
    asking: Option<Asking>,
    /// The backup's group is still to be joined.
    joins: bool,
    telling: Option<Telling>,
    heard: Heard,
    /// What others know of conns that helpers read.
    heard_helped: Vec<(ConnId, Helped)>,
    /// This director stands by: its table is nobody's concern.
    pub stands_by: bool,
}

impl Sync {
    /// True while the master's daemon runs.
    pub fn is_master(&self) -> bool {
        self.master.options().is_some()
    }

    /// True while the backup's daemon runs.
    pub fn is_backup(&self) -> bool {
        self.backup.is_some()
    }

    /// True while another director has the conns (`backup_only`).
    pub fn only_backs_up(&self, settings: &Settings) -> bool {
        settings.backup_only && self.is_backup()
    }

    /// What helpers of other directors know of conns, for those here.
    pub fn take_helped(&mut self) -> Vec<(ConnId, Helped)> {
        std::mem::take(&mut self.heard_helped)
    }

    /// The daemons that run, with their options as they are used.
    pub fn daemons(&self) -> impl Iterator<Item = (SyncRole, &SyncOptions)> {
        let master = self.master.options().map(|options| (SyncRole::Master, options)).into_iter();
        master.chain(self.backup.iter().map(|backup| (SyncRole::Backup, &backup.daemon.options)))
    }

    /// True for a packet to the group that this director listens to.
    pub fn is_sync_group(&self, ip: &Ip) -> bool {
        let Some(Listener { daemon, .. }) = &self.backup else { return false };
        ip.dst == daemon.options.group && ip.proto == Proto::UDP
    }

    /// True for what peers may say to this director alone.
    pub fn is_from_peer(&self, ip: &Ip) -> bool {
        let Some(Listener { daemon, .. }) = &self.backup else { return false };
        let L4::Udp { dport, .. } = ip.l4 else { return false };
        !daemon.options.peers.is_empty() && dport == daemon.options.port && !ip.dst.is_multicast()
    }

    /// True if it has a key, so that messages carry the time of the host's clock.
    pub fn has_key(&self) -> bool {
        self.daemons().any(|(_, options)| options.key.is_some())
    }

    /// True if peers tell this director alone.
    pub fn has_peers(&self) -> bool {
        self.backup.as_ref().is_some_and(|backup| !backup.daemon.options.peers.is_empty())
    }

    /// Something has happened to a conn: what was told of an older one in its slot does not count for it.
    #[inline]
    pub fn on(&mut self, event: LifeEvent, conns: &ConnTable) {
        match event {
            LifeEvent::Opened(id) => self.master.opened(id, conns.get(id)),
            LifeEvent::Moved(..) | LifeEvent::Ended(_) | LifeEvent::Left(_) | LifeEvent::LeftAtEnd(_) => {}
        }
    }

    /// Starts a daemon.
    pub fn start(&mut self, role: SyncRole, options: &SyncOptions, router: &mut Router) -> Result<(), Refused> {
        let daemon = daemon::daemon(role, options, router)?;
        match role {
            SyncRole::Master => self.master.start(daemon, router)?,
            SyncRole::Backup if self.backup.is_some() => return Err(Refused::DaemonRuns),
            SyncRole::Backup => (self.backup, self.joins) = (Some(Listener::new(daemon)), true),
        }
        self.master.gather(self.is_backup());
        self.ask();
        Ok(())
    }

    /// Stops a daemon. Conns that were gathered and not sent are forgotten, as in the kernel.
    pub fn stop(&mut self, role: SyncRole, router: &mut Router) -> Result<(), Refused> {
        let ran = match role {
            SyncRole::Master => self.master.stop(),
            SyncRole::Backup => {
                self.backup.take().inspect(|it| router.leave(it.daemon.link, it.daemon.options.group)).is_some()
            }
        };
        self.master.gather(self.is_backup());
        (self.asking, self.telling) = (None, None);
        if ran { Ok(()) } else { Err(Refused::NoDaemon) }
    }

    /// When `send_due` has something to do.
    pub fn due(&self) -> Option<Instant> {
        let joins = self.joins.then_some(Instant::START);
        self.master.due().into_iter().chain(self.table_due()).chain(joins).min()
    }

    /// Sends the messages that have waited long enough; asks and tells what is due.
    pub fn send_due(&mut self, flows: &Flows, router: &mut Router, turn: &mut Turn<impl Egress>) {
        if std::mem::take(&mut self.joins)
            && let Some(backup) = &self.backup
        {
            // Bridges that snoop deliver the frames of a group to members only.
            router.join(backup.daemon.link, backup.daemon.options.group, turn);
        }
        self.master.send_due(router, turn);
        self.go_on(flows, router, turn);
    }
}
