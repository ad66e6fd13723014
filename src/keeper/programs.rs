//! Programs that a worker asks for: those that the configuration names, told what the worker knows of the server.
//!
//! Never runs another one, and never takes a variable's name from the worker.

use super::messages::{Run, ToWorker};
use super::worker::Worker;
use crate::base::Endpoint;
use crate::config::Outside;
use crate::io::{Ended, Program, Programs, Sandbox, User};
use crate::service::command::ServiceKey;

/// Answers `Run`; `sandbox` is the worker's.
pub(super) fn run(
    programs: &mut Programs,
    outside: &Outside,
    (worker, sandbox): (&Worker, Option<&Sandbox>),
    run: Run,
) {
    let refuse = |why: String| worker.tell(&ToWorker::Ended(run.tag, Ended::NotStarted(why)));
    if !outside.has_program(&run.command, run.user.as_deref()) {
        log::warn!("the worker asks for a program that the configuration does not name: {:?}", run.command);
        return refuse("not in the configuration".into());
    }
    let sandbox = match &run.user {
        None => sandbox.cloned(),
        Some(name) => match User::named(name) {
            Some(user) => Some(Sandbox { user: Some(user), strict: true, said: false }),
            None => return refuse(format!("there is no user {name}")),
        },
    };
    let (caller, environment) = ((worker.id(), run.tag), environment(&run));
    programs.run(Program { caller, command: run.command, environment, timeout: run.timeout, sandbox });
}

/// Starts and ends what is due, and tells the worker how its programs ended, as far as it listens.
pub(super) fn turn(programs: &mut Programs, worker: &Worker) {
    programs.turn();
    while let Some(((_, tag), ended)) = programs.outcome() {
        if !worker.takes(&ToWorker::Ended(*tag, ended.clone())) {
            return;
        }
        programs.told();
    }
}

/// What a program is told.
fn environment(run: &Run) -> Vec<(&'static str, String)> {
    let mut told = Vec::new();
    if let Some(Endpoint { addr, port }) = run.server {
        told.extend([("RIP", addr.to_string()), ("RPORT", port.to_string())]);
    }
    if let Some(key) = run.service {
        told.push(("SERVICE", key.to_string()));
        if let (ServiceKey::Address(_, vip), Some(_)) = (key, run.server) {
            told.extend([("VIP", vip.addr.to_string()), ("VPORT", vip.port.to_string())]);
        }
    }
    told.extend(run.verdict.map(|verdict| ("STATE", verdict.name().to_owned())));
    told
}
