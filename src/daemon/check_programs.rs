//! Programs of health checks: those that the keeper is to run, and what their ends say of a server.
//!
//! Never runs one: the keeper does.

use std::time::Duration;

use super::checks::Checks;
use crate::base::Instant;
use crate::health::{Exec, Kind, Outcome, ProbeId, Reason, Stage, Start};
use crate::io::Ended;
use crate::keeper::messages::Run;
use crate::service::Share;
use crate::service::command::ServiceKey;

impl Checks {
    /// Runs a program that is to be told of a quorum; nobody waits for its outcome.
    pub(super) fn notify(&mut self, command: Vec<String>, user: Option<String>, key: ServiceKey) {
        if !command.is_empty() {
            let (timeout, service) = (Duration::from_secs(10), Some(key));
            self.programs.push(Run { tag: 0, command, timeout, server: None, service, verdict: None, user });
        }
    }

    /// What the keeper is to be asked for since this was called last.
    pub(super) fn take_programs(&mut self) -> Vec<Run> {
        std::mem::take(&mut self.programs)
    }

    /// A program is no more.
    pub(super) fn hear_program(&mut self, tag: u64, ended: Ended, now: Instant) {
        let id = ProbeId(tag);
        let dynamic =
            self.monitor.check_of(id).is_some_and(|check| matches!(&check.kind, Kind::Exec(exec) if exec.dynamic));
        self.monitor.end(id, outcome_of(ended, dynamic), now);
        self.wake();
    }
}

/// The exit codes of keepalived's MISC_CHECK.
fn outcome_of(ended: Ended, dynamic: bool) -> Outcome {
    let failed = |what: String| Outcome::Failed(Reason::new(Stage::Run, what));
    match ended {
        Ended::Exit(0) => Outcome::PassedAt(Share::default()),
        Ended::Exit(code) if dynamic && code >= 2 => Outcome::PassedAt(Share::Absolute(code.unsigned_abs() - 2)),
        Ended::Exit(code) => failed(format!("exit code {code}")),
        Ended::Signal(number) => failed(format!("ended by signal {number}")),
        Ended::Late => Outcome::Failed(Reason::timeout(Stage::Run)),
        Ended::NotStarted(why) => Outcome::Local(Reason::new(Stage::Run, why)),
    }
}

pub(super) fn run_of(start: &Start, exec: &Exec) -> Run {
    let (command, timeout) = (exec.command.clone(), start.check.timing.timeout);
    let (server, service, verdict) = (Some(start.target), start.service, Some(start.verdict));
    Run { tag: start.id.0, command, timeout, server, service, verdict, user: exec.user.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_misc_check() {
        let share = |ended, dynamic| match outcome_of(ended, dynamic) {
            Outcome::PassedAt(share) => Some(share),
            _ => None,
        };
        assert_eq!(share(Ended::Exit(0), true), Some(Share::Percent(100)), "the configured weight");
        assert_eq!(share(Ended::Exit(1), true), None);
        assert_eq!(share(Ended::Exit(2), true), Some(Share::Absolute(0)));
        assert_eq!(share(Ended::Exit(255), true), Some(Share::Absolute(253)));
        assert_eq!(share(Ended::Exit(2), false), None);
        assert_eq!(outcome_of(Ended::Late, true), Outcome::Failed(Reason::timeout(Stage::Run)));
        assert!(matches!(outcome_of(Ended::NotStarted("x".into()), false), Outcome::Local(_)));
    }
}
