//! Clients, scrapers and changes that take more than one turn: each is given its part of a turn of the loop.
//!
//! Never reads a frame.

use super::change::{Changed, Progress};
use super::client::Answer;
use super::work::{self, Asked, Work};
use super::{Daemon, note};
use crate::base::Instant;
use crate::control::protocol::{Reply, Request, WorkerEntry};
use crate::control::{self, Shown};
use crate::director::Director;
use crate::genl;
use crate::keeper::messages::ToKeeper;
use crate::router::Turn;

impl Daemon {
    /// After the packets that have come: a client sees what they did. What was changed is written down before the answer.
    pub(super) fn serve_clients(&mut self, now: Instant) {
        let Daemon { director, turn, checks, reload, work, works, state, keeper, history, .. } = self;
        self.control.turn(self.poll.registry(), now, |request| match (work.as_ref(), work::of(request)) {
            (Some(running), Asked::Change(request)) if running.holds_rules() => Answer::NotYet(request),
            (_, Asked::Change(request) | Asked::List(request)) => {
                answered(director, turn, begins_list(&request), |director, turn| match request {
                    Request::Health(from) => Answer::Now(control::health(&checks.monitor, director, from, now)),
                    Request::CheckNow => Answer::Now(Reply::Due(checks.check_now(now))),
                    Request::Steer(key, server, how) => Answer::Now(checks.steer(director, (key, server), how, now)),
                    Request::Listed(from, full_nat) => {
                        let services = Request::Services(from);
                        let page = note::answer(director, turn.ledger(), state.as_mut(), &services, now);
                        Answer::Now(genl::listed(page, full_nat))
                    }
                    Request::Upgrade if state.is_some() => Answer::Passed,
                    Request::Upgrade => Answer::Now(Reply::Error(
                        "no state is kept (the log says why), so an upgrade would lose all conns; nothing was changed"
                            .into(),
                    )),
                    Request::Status => Answer::Now(told(
                        note::answer(director, turn.ledger(), state.as_mut(), &request, now),
                        WorkerEntry { up: now.since(history.1).as_secs(), ..history.0.clone() },
                    )),
                    request => Answer::Now(note::answer(director, turn.ledger(), state.as_mut(), &request, now)),
                })
            }
            (Some(_), Asked::Work(request)) => Answer::NotYet(request),
            (None, Asked::Work(request)) => match Work::of(request, reload, director) {
                Ok(begun) => {
                    if matches!(begun, Work::Reload(_)) {
                        keeper.tell(&ToKeeper::Reloading);
                    }
                    (*work, *works) = (Some(begun), true);
                    Answer::Later
                }
                Err(sentence) => Answer::Now(Reply::NotReloaded(vec![sentence])),
            },
        });
        if let Some(client) = self.control.take_passed() {
            keeper.pass_on(client);
        }
    }

    /// Does a part of a change that takes more than one turn, and begins a reload that a signal has asked for.
    pub(super) fn work(&mut self, now: Instant) {
        if self.reload_asked && self.work.is_none() {
            self.reload_asked = false;
            match Work::of(Request::Reload, &self.reload, &self.director) {
                Ok(begun) => {
                    (self.work, self.works) = (Some(begun), true);
                    self.keeper.tell(&ToKeeper::Reloading);
                }
                Err(sentence) => log::error!("reload: {sentence}"),
            }
        }
        let Daemon { director, checks, state, reload, .. } = self;
        let Some(work) = self.work.as_mut().filter(|_| self.works) else { return };
        let changed = &mut Changed { director, checks, state: state.as_mut() };
        let progress = work.turn(reload, changed, now);
        director.fast().heed();
        match progress {
            Progress::More => {}
            Progress::Waits => self.works = false,
            Progress::Done(reply) => {
                (self.work, self.works) = (None, self.reload_asked);
                match reply {
                    Reply::Reloaded { .. } => self.keeper.tell(&ToKeeper::Reloaded),
                    Reply::NotReloaded(_) => self.keeper.tell(&ToKeeper::NotReloaded),
                    _ => {}
                }
                self.control.finish(&reply);
            }
        }
    }

    /// A page to each scraper that is ready.
    pub(super) fn serve_metrics(&mut self, now: Instant) {
        let Daemon { director, turn, checks, scrapes, poll, history, .. } = self;
        director.fast().read_before_list();
        director.fast().account(turn);
        let shown = Shown { director, ledger: turn.ledger(), monitor: &checks.monitor, worker: &history.0, now };
        scrapes.turn(poll.registry(), &shown);
    }
}

/// What the director says of itself, and what the keeper had said of this worker.
fn told(mut reply: Reply, worker: WorkerEntry) -> Reply {
    if let Reply::Status(status) = &mut reply {
        status.worker = worker;
    }
    reply
}

/// True for what shows counters or deadlines and is no later page of a list: that goes on with what the first had read.
fn begins_list(request: &Request) -> bool {
    matches!(
        request,
        Request::Status | Request::Service(_) | Request::Services(0) | Request::Listed(0, _) | Request::Conns(0)
    )
}

/// An answer that has all that the kernel has counted, where it shows that, and after which the kernel does nothing that it
/// takes back.
fn answered<E>(
    director: &mut Director,
    turn: &mut Turn<E>,
    shows: bool,
    answer: impl FnOnce(&mut Director, &mut Turn<E>) -> Answer,
) -> Answer {
    if shows {
        director.fast().read_before_list();
        director.fast().account(turn);
    }
    let answer = answer(director, turn);
    director.fast().heed();
    answer
}
