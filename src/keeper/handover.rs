//! The keeper's part in an upgrade: from one worker to the one beside it, and back to the old program if need be.
//!
//! Never leaves the director without a worker: until the new one is prepared the old one works, and afterwards the old program
//! is started again as after a crash.

use std::os::fd::OwnedFd;
use std::time::Instant;

use nix::sys::signal::Signal as Number;

use super::Keeper;
use super::files::Which;
use super::messages::{ToKeeper, ToWorker};
use super::upgrade::{Stage, Upgrade, refuse};
use super::worker::{End, Worker};
use crate::io::{hurry, with_rights_over_others};

impl Keeper {
    /// A client asks for an upgrade.
    pub(super) fn ask_upgrade(&mut self, client: Option<OwnedFd>) {
        let Some(client) = client else { return };
        match self.upgrade {
            Some(_) => refuse(client),
            None => self.upgrade = Upgrade::asked(client, self.given.owner),
        }
    }

    /// Does what can be done of an upgrade, if there is one.
    pub(super) fn go_on(&mut self, worker: &mut Worker) {
        self.leaving.take_if(|leaving| leaving.ended().is_some());
        let Some(upgrade) = &mut self.upgrade else { return };
        if upgrade.awaited().is_some()
            && let Err(why) = upgrade.hear(&self.given)
        {
            return self.fail_upgrade(&why);
        }
        if let Err(why) = self.heed_beside(worker) {
            return self.fail_upgrade(&why);
        }
        let Some(upgrade) = self.upgrade.as_mut().filter(|upgrade| upgrade.until <= Instant::now()) else { return };
        match upgrade.stage {
            Stage::Asked | Stage::Preparing(_) => {
                let why = upgrade.overdue();
                self.fail_upgrade(&why);
            }
            // Its end is seen, and all goes on from there.
            Stage::Stopping(_) | Stage::Starting => {
                let why = upgrade.overdue();
                upgrade.why.get_or_insert(why);
                worker.signal(Number::SIGKILL);
            }
            Stage::Proving => self.end_upgrade(),
        }
    }

    /// Listens to the worker beside the one at work; an error is a sentence.
    fn heed_beside(&mut self, worker: &mut Worker) -> Result<(), String> {
        let Some(upgrade) = &mut self.upgrade else { return Ok(()) };
        let Some(beside) = upgrade.beside() else { return Ok(()) };
        self.files.serve(&beside.files, Which::InForce);
        let (mut prepared, mut unable) = (None, None);
        while let Some((message, _)) = beside.message() {
            match message {
                ToKeeper::Prepared(version) => prepared = Some(version),
                ToKeeper::Unable(why) => unable = Some(why),
                // It does not work yet.
                _ => {}
            }
        }
        let ended = beside.ended().map(|end| format!("{}; is it tapvs, and of a version that fits?", in_words(&end)));
        if let Some(why) = unable.or(ended) {
            return Err(why);
        }
        if let Some(version) = prepared {
            upgrade.version = version;
            if let Some(next) = upgrade.take_over() {
                // It sleeps until then.
                next.hurry(true);
                upgrade.stage = Stage::Stopping(next);
                self.keep_pace();
            }
            worker.told_to_stop = true;
            worker.tell(&ToWorker::Stop);
        }
        Ok(())
    }

    /// Frames wait while one worker stops and another one starts, and the keeper stands between the two.
    pub(super) fn keep_pace(&mut self) {
        let is_between = |upgrade: &Upgrade| matches!(upgrade.stage, Stage::Stopping(_) | Stage::Starting);
        let hurries = self.upgrade.as_ref().is_some_and(is_between);
        if std::mem::replace(&mut self.hurries, hurries) != hurries
            && let Err(error) = with_rights_over_others(|| hurry(0, hurries))
        {
            log::debug!("the keeper runs as before: {error}");
        }
    }

    /// True while the worker at work has been told to make room.
    fn is_stopping_one(&self) -> bool {
        matches!(&self.upgrade, Some(upgrade) if matches!(upgrade.stage, Stage::Stopping(_)))
    }

    /// The worker at work has stopped, or ended: the one beside it begins. False if there is none.
    pub(super) fn hand_over(&mut self, worker: &mut Worker) -> bool {
        if !self.is_stopping_one() {
            return false;
        }
        let Some(next) = self.upgrade.as_mut().and_then(Upgrade::take_over) else { return false };
        next.tell(&ToWorker::Begin(self.given.active.clone()));
        self.programs.forget(worker.id());
        self.leaving = Some(std::mem::replace(worker, next));
        self.host.forget_own();
        true
    }

    /// The worker has become ready; true if an upgrade has brought it.
    pub(super) fn is_upgraded(&mut self, worker: &Worker) -> bool {
        match &mut self.upgrade {
            Some(upgrade) if matches!(upgrade.stage, Stage::Starting) => {
                worker.hurry(false);
                log::debug!("frames waited for {} ms", upgrade.begun.elapsed().as_millis());
                upgrade.prove();
                true
            }
            _ => false,
        }
    }

    /// The configuration was read again: the worker that prepares itself has read another one.
    pub(super) fn heed_reload(&mut self) {
        if self.upgrade.as_ref().is_some_and(|upgrade| upgrade.peek_beside().is_some()) {
            self.fail_upgrade("the configuration was read again meanwhile; try again");
        }
    }

    /// The end of a worker as it counts: one that has come by an upgrade is replaced by one of the old program, at once.
    pub(super) fn end_of(&mut self, end: End, worker: &Worker) -> (End, bool) {
        let was_ready = worker.ready.is_some();
        let Some(mut upgrade) = self.upgrade.take() else {
            if worker.told_to_stop {
                return (End::Died("stopped for an upgrade that failed".into()), true);
            }
            return (end, was_ready);
        };
        if self.stopping {
            upgrade.fail("the director ends");
            return (end, was_ready);
        }
        match upgrade.stage {
            Stage::Starting | Stage::Proving => {
                let how = upgrade.why.take().unwrap_or_else(|| in_words(&end));
                upgrade.fail(&how);
                (End::Died(format!("of an upgrade: {how}")), true)
            }
            Stage::Asked | Stage::Preparing(_) | Stage::Stopping(_) => {
                upgrade.fail("the worker at work has ended meanwhile; try again");
                (end, was_ready)
            }
        }
    }

    /// The director ends, or something else comes between.
    pub(super) fn fail_upgrade(&mut self, why: &str) {
        if let Some(upgrade) = self.upgrade.take() {
            upgrade.fail(why);
        }
    }

    fn end_upgrade(&mut self) {
        let Some(upgrade) = self.upgrade.take() else { return };
        let before = std::mem::replace(&mut self.version, upgrade.version.clone());
        self.given.upgrades += 1;
        if let Some(program) = upgrade.done(&before) {
            self.program = program;
        }
    }
}

fn in_words(end: &End) -> String {
    match end {
        End::Exit(status) => format!("ended with exit status {status}"),
        End::Died(how) => how.clone(),
    }
}
