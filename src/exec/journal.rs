//! What the program has configured so far: a director that comes back knows nothing of it.
//!
//! Never asks anybody; the link to the director replays it.

use std::collections::BTreeMap;

use crate::base::Endpoint;
use crate::control::protocol::FullNat;
use crate::service::command::{Command, DestOptions, Method, ServiceKey, ServiceOptions, SyncOptions, SyncRole};

/// The state that the program's commands have led to.
#[derive(Default)]
pub struct Journal {
    services: BTreeMap<ServiceKey, Configured>,
    timeouts: [u32; 3],
    daemons: Vec<(SyncRole, SyncOptions)>,
}

#[derive(Default)]
struct Configured {
    /// None: the service was somebody else's, the program has added destinations only.
    options: Option<ServiceOptions>,
    /// In the order in which they were added.
    dests: Vec<(Endpoint, DestOptions)>,
}

impl Journal {
    /// A command that the director has carried out.
    pub fn note(&mut self, command: &Command) {
        match command {
            Command::AddService(key, options) | Command::EditService(key, options) => {
                self.services.entry(*key).or_default().options = Some(options.clone());
            }
            Command::DeleteService(key) => _ = self.services.remove(key),
            Command::Clear => self.services.clear(),
            Command::AddDest(key, real, options) | Command::EditDest(key, real, options) => {
                let dests = &mut self.services.entry(*key).or_default().dests;
                match dests.iter_mut().find(|(known, _)| known == real) {
                    Some((_, present)) => *present = *options,
                    None => dests.push((*real, *options)),
                }
            }
            Command::DeleteDest(key, real) => {
                if let Some(service) = self.services.get_mut(key) {
                    service.dests.retain(|(known, _)| known != real);
                }
            }
            Command::SetTimeouts { tcp, tcp_fin, udp } => {
                for (present, new) in self.timeouts.iter_mut().zip([tcp, tcp_fin, udp]) {
                    // 0 leaves a value as it is.
                    *present = if *new == 0 { *present } else { *new };
                }
            }
            Command::StartDaemon(role, options) => {
                self.daemons.retain(|(known, _)| known != role);
                self.daemons.push((*role, options.clone()));
            }
            Command::StopDaemon(role) => self.daemons.retain(|(known, _)| known != role),
            // Programs of the kernel's know no local addresses and no other statistics than the kernel's.
            Command::Zero(_) | Command::AddLocalAddress(..) | Command::DeleteLocalAddress(..) => {}
        }
    }

    /// Whether the program has ever said FULL-NAT.
    pub fn full_nat(&self) -> FullNat {
        let mut dests = self.services.values().flat_map(|service| &service.dests);
        match dests.any(|(_, options)| options.method == Method::FullNat) {
            true => FullNat::Known,
            false => FullNat::AsNat,
        }
    }

    /// Services that it holds.
    pub fn services(&self) -> usize {
        self.services.len()
    }

    /// Commands that lead to the same state, each with the one that does it where the first finds its object there
    /// already: a director's own file may name it too.
    pub fn replay(&self) -> Vec<(Command, Option<Command>)> {
        let mut commands = Vec::new();
        let [tcp, tcp_fin, udp] = self.timeouts;
        if self.timeouts != [0; 3] {
            commands.push((Command::SetTimeouts { tcp, tcp_fin, udp }, None));
        }
        for (key, service) in &self.services {
            if let Some(options) = &service.options {
                let edit = Command::EditService(*key, options.clone());
                commands.push((Command::AddService(*key, options.clone()), Some(edit)));
            }
            let dests = service.dests.iter();
            commands.extend(dests.map(|(real, options)| {
                (Command::AddDest(*key, *real, *options), Some(Command::EditDest(*key, *real, *options)))
            }));
        }
        let daemons = self.daemons.iter();
        commands.extend(daemons.map(|(role, options)| (Command::StartDaemon(*role, options.clone()), None)));
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Family, Proto};

    #[test]
    fn replaying_leads_to_where_the_program_was() {
        let key = |port| ServiceKey::Address(Proto::TCP, Endpoint::new([10, 0, 0, 100].into(), port));
        let real = |last| Endpoint::new([10, 0, 0, last].into(), 80);
        let rr = ServiceOptions { scheduler: "rr".into(), ..ServiceOptions::defaults(Family::V4) };
        let wlc = ServiceOptions::defaults(Family::V4);
        let nat = DestOptions { method: Method::Nat, ..DestOptions::default() };
        let off = DestOptions { weight: 0, ..nat };
        let mut journal = Journal::default();
        for command in [
            Command::AddService(key(80), wlc.clone()),
            Command::AddDest(key(80), real(1), nat),
            Command::AddDest(key(80), real(2), nat),
            Command::AddDest(key(80), real(3), nat),
            Command::EditDest(key(80), real(1), off),
            Command::DeleteDest(key(80), real(2)),
            Command::EditService(key(80), rr.clone()),
            Command::AddService(key(81), wlc.clone()),
            Command::DeleteService(key(81)),
            Command::SetTimeouts { tcp: 0, tcp_fin: 7, udp: 0 },
            Command::StartDaemon(SyncRole::Master, SyncOptions::default()),
            Command::StartDaemon(SyncRole::Backup, SyncOptions::default()),
            Command::StopDaemon(SyncRole::Master),
        ] {
            journal.note(&command);
        }
        let replayed: Vec<Command> = journal.replay().into_iter().map(|(command, _)| command).collect();
        assert_eq!(
            replayed,
            [
                Command::SetTimeouts { tcp: 0, tcp_fin: 7, udp: 0 },
                Command::AddService(key(80), rr),
                Command::AddDest(key(80), real(1), off),
                Command::AddDest(key(80), real(3), nat),
                Command::StartDaemon(SyncRole::Backup, SyncOptions::default()),
            ]
        );
        journal.note(&Command::Clear);
        assert_eq!(journal.replay().len(), 2);
    }
}
