//! Long changes of the configuration, done in parts between packets: `ipvsadm -C`, `-Z`, `-R`, and a reload.
//!
//! One at a time; other changes wait for its end, and lists do not. What is done in a part is bounded by a count.

use super::change::{COMMANDS_A_TURN, Changed, LOOKED_AT_A_TURN, Progress};
use super::reload::{Reload, Stage};
use crate::base::Instant;
use crate::control::protocol::{Reply, Request};
use crate::director::Director;
use crate::service::command::{Command, Refused, ServiceKey};

/// A change that takes more than one turn.
pub(super) enum Work {
    /// `-C`: the services left.
    Clear,
    /// `-Z`: from this slot on.
    Zero(u32),
    /// Several commands: those left, and what became of the others.
    Commands(std::vec::IntoIter<Command>, Outcome),
    /// A reload.
    Reload(Box<Stage>),
}

/// What kind of thing a request asks for.
pub(super) enum Asked {
    /// A change that is done at once.
    Change(Request),
    /// A change that takes several turns.
    Work(Request),
    /// A list, which no change delays.
    List(Request),
}

/// Tells which.
pub(super) fn of(request: Request) -> Asked {
    match request {
        Request::Apply(Command::Clear | Command::Zero(None)) | Request::ApplyAll(_) | Request::Reload => {
            Asked::Work(request)
        }
        Request::Apply(_)
        | Request::Standby(_)
        | Request::Upgrade
        | Request::Vrrp
        | Request::Sync
        | Request::FailOver
        | Request::Steer(..)
        | Request::Set(..)
        | Request::AddMark(_)
        | Request::DeleteMark(_) => Asked::Change(request),
        Request::Service(_)
        | Request::Services(_)
        | Request::Listed(..)
        | Request::Conns(_)
        | Request::Timeouts
        | Request::Daemons
        | Request::Settings
        | Request::Marks
        | Request::Health(_)
        | Request::CheckNow
        | Request::Status => Asked::List(request),
    }
}

/// What became of several commands.
#[derive(Default)]
pub(super) struct Outcome {
    done: u32,
    /// One of them that takes several turns itself.
    long: Option<Box<Work>>,
    refused: Vec<(u32, Refused)>,
}

impl Work {
    /// Begins what a request asks for; an error is a sentence.
    pub(super) fn of(request: Request, reload: &Reload, director: &Director) -> Result<Work, String> {
        match request {
            Request::Reload => reload.start(director).map(|stage| Work::Reload(Box::new(stage))),
            Request::Apply(Command::Zero(_)) => Ok(Work::Zero(0)),
            Request::ApplyAll(commands) => Ok(Work::Commands(commands.into_iter(), Outcome::default())),
            _ => Ok(Work::Clear),
        }
    }

    /// True while other changes have to wait.
    pub(super) fn holds_rules(&self) -> bool {
        match self {
            Work::Reload(stage) => stage.holds_rules(),
            Work::Clear | Work::Zero(_) | Work::Commands(..) => true,
        }
    }

    /// Does a part of it.
    pub(super) fn turn(&mut self, reload: &mut Reload, changed: &mut Changed, now: Instant) -> Progress {
        match self {
            Work::Clear => clear(changed, now),
            Work::Zero(slot) => zero(changed.director, slot, now),
            Work::Commands(left, outcome) => match outcome.long.as_mut().map(|long| long.turn(reload, changed, now)) {
                Some(Progress::Done(_)) => {
                    (outcome.long, outcome.done) = (None, outcome.done + 1);
                    Progress::More
                }
                Some(other) => other,
                None => commands(changed, left, outcome, now),
            },
            Work::Reload(stage) => reload.turn(stage, changed, now),
        }
    }
}

/// Keys of services from a slot on, until they and their dests are as many as a turn may touch; and the slot behind them.
fn some_services(director: &Director, slot: u32) -> (Vec<ServiceKey>, Option<u32>) {
    let (mut keys, mut size, mut last) = (Vec::new(), 0, None);
    for (slot, service) in director.flows.services.slots_from(slot) {
        if size >= LOOKED_AT_A_TURN {
            return (keys, last.map(|last: u32| last + 1));
        }
        size += 1 + service.dests.len();
        keys.push(service.key);
        last = Some(slot);
    }
    (keys, None)
}

fn clear(changed: &mut Changed, now: Instant) -> Progress {
    let (keys, next) = some_services(changed.director, 0);
    for key in keys {
        // It was there a moment ago.
        let _ = changed.director.apply(&Command::DeleteService(key), now);
    }
    if next.is_some() {
        return Progress::More;
    }
    changed.note(&Command::Clear);
    Progress::Done(Reply::Done)
}

fn zero(director: &mut Director, slot: &mut u32, now: Instant) -> Progress {
    let (keys, next) = some_services(director, *slot);
    for key in keys {
        let _ = director.apply(&Command::Zero(Some(key)), now);
    }
    match next {
        Some(next) => {
            *slot = next;
            Progress::More
        }
        None => {
            director.flows.services.zero_total();
            Progress::Done(Reply::Done)
        }
    }
}

fn commands(
    changed: &mut Changed,
    left: &mut std::vec::IntoIter<Command>,
    outcome: &mut Outcome,
    now: Instant,
) -> Progress {
    for command in left.take(COMMANDS_A_TURN) {
        match command {
            Command::Clear => outcome.long = Some(Box::new(Work::Clear)),
            Command::Zero(None) => outcome.long = Some(Box::new(Work::Zero(0))),
            _ => {}
        }
        if outcome.long.is_some() {
            return Progress::More;
        }
        if let Err(refused) = changed.apply(&command, now) {
            outcome.refused.push((outcome.done, refused));
        }
        outcome.done += 1;
    }
    match left.len() {
        0 => Progress::Done(Reply::Applied(std::mem::take(&mut outcome.refused))),
        _ => Progress::More,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use argh::FromArgs;

    use super::super::background::Background;
    use super::super::checks::Checks;
    use super::super::reload::Started;
    use super::*;
    use crate::base::{Chance, Endpoint, Family, Proto};
    use crate::config::{Plan, RunArgs};
    use crate::director::Settings;
    use crate::io::Processors;
    use crate::service::command::{DestOptions, Method, ServiceOptions};

    const NOW: Instant = Instant::START;

    fn rules(services: u32) -> Vec<Command> {
        let key = |number: u32| {
            ServiceKey::Address(Proto::TCP, Endpoint::new(IpAddr::from((0x0a64_0000 + number).to_be_bytes()), 80))
        };
        let options = DestOptions { method: Method::Nat, ..DestOptions::default() };
        let dest =
            |number, last| Command::AddDest(key(number), Endpoint::new(IpAddr::from([10, 0, 0, last]), 80), options);
        (0..services)
            .flat_map(|number| {
                let service = Command::AddService(key(number), ServiceOptions::defaults(Family::V4));
                [service, dest(number, 21), dest(number, 22)]
            })
            .collect()
    }

    /// The changes of each turn, counted in services and dests that came or went, and the reply.
    fn turns(director: &mut Director, request: Request) -> (Vec<usize>, Reply) {
        let size =
            |director: &Director| director.flows.services.iter().map(|service| 1 + service.dests.len()).sum::<usize>();
        let args = RunArgs::from_args(&["run"], &["--bridge", "br0", "--address", "10.0.0.2/24"]).unwrap();
        let plan = Plan::from_args(&args).unwrap();
        let started = Started { args, plan, usual: Processors::allowed() };
        let mut reload = Reload::new(started, Background::start().unwrap(), Arc::new(|| ()));
        let Asked::Work(request) = of(request) else { panic!("done at once") };
        let mut work = Work::of(request, &reload, director).unwrap();
        let (mut changed, mut checks) = (Vec::new(), Checks::new(Vec::new(), 1, NOW));
        loop {
            let before = size(director);
            let progress = work.turn(
                &mut reload,
                &mut Changed { director: &mut *director, checks: &mut checks, state: None },
                NOW,
            );
            changed.push(size(director).abs_diff(before));
            if let Progress::Done(reply) = progress {
                return (changed, reply);
            }
        }
    }

    #[test]
    fn many_commands_and_their_end_are_done_in_parts() {
        let mut director = Director::new(Settings { max_flows: 1, ..Settings::default() }, Chance::KNOWN);
        let mut all = rules(1000);
        all.push(all[0].clone());
        let (changed, reply) = turns(&mut director, Request::ApplyAll(all));
        assert_eq!(reply, Reply::Applied(vec![(3000, Refused::ServiceExists)]));
        assert!(changed.iter().all(|count| *count <= COMMANDS_A_TURN), "{changed:?}");

        let (_, reply) = turns(&mut director, Request::Apply(Command::Zero(None)));
        assert_eq!(reply, Reply::Done);
        let again = [vec![Command::Clear], rules(1000)].concat();
        let (changed, reply) = turns(&mut director, Request::ApplyAll(again));
        assert_eq!((reply, director.flows.services.len()), (Reply::Applied(vec![]), 1000));
        assert!(changed.iter().all(|count| *count <= LOOKED_AT_A_TURN + 3), "{changed:?}");

        let (changed, reply) = turns(&mut director, Request::Apply(Command::Clear));
        assert_eq!((reply, director.flows.services.iter().count()), (Reply::Done, 0));
        assert!(changed.iter().all(|count| *count <= LOOKED_AT_A_TURN + 3), "{changed:?}");
    }
}
