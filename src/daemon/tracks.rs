//! Programs and links that virtual routers depend on, and programs that are told of them: when each is due, and what its end
//! means.
//!
//! Never runs one, and never looks at a link: the keeper is asked for it.

use std::time::Duration;

use crate::base::Instant;
use crate::io::Ended;
use crate::keeper::messages::{Run, ToKeeper};
use crate::vrrp::{Tracked, Vrrp};

/// Numbers of programs begin here, far from those of probes.
const FIRST_TAG: u64 = 1 << 62;
/// How long a program may take that is told of a change.
const TELLING: Duration = Duration::from_secs(30);

struct Script {
    what: Tracked,
    due: Instant,
    /// Its number while it runs.
    running: Option<u64>,
}

/// The programs of virtual routers.
#[derive(Default)]
pub(super) struct Tracks {
    scripts: Vec<Script>,
    started: u64,
    /// Links that the keeper was asked to look at.
    links: Vec<String>,
}

impl Tracks {
    /// When `due_programs` has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.scripts.iter().filter(|script| script.running.is_none()).map(|script| script.due).min()
    }

    /// What the keeper is to be asked if other links are tracked than before.
    pub(super) fn watch(&mut self, vrrp: &Vrrp) -> Option<ToKeeper> {
        let link = |what: &Tracked| match what {
            Tracked::Link(name) => Some(name.clone()),
            _ => None,
        };
        let links: Vec<String> = vrrp.tracked().filter_map(link).collect();
        (links != self.links).then(|| {
            self.links.clone_from(&links);
            ToKeeper::Watch(links)
        })
    }

    /// The programs to run now.
    pub(super) fn due_programs(&mut self, vrrp: &mut Vrrp, now: Instant) -> Vec<Run> {
        let run = |tag, command, user, timeout| Run {
            tag,
            command,
            timeout,
            server: None,
            service: None,
            verdict: None,
            user,
        };
        let mut runs = Vec::new();
        while let Some((command, user)) = vrrp.take_notice() {
            runs.push(run(FIRST_TAG, command, user, TELLING));
        }
        self.scripts.retain(|script| vrrp.tracked().any(|what| *what == script.what));
        for what in vrrp.tracked().filter(|what| matches!(what, Tracked::Script { .. })) {
            if !self.scripts.iter().any(|script| script.what == *what) {
                self.scripts.push(Script { what: what.clone(), due: now, running: None });
            }
        }
        for script in self.scripts.iter_mut().filter(|script| script.running.is_none() && script.due <= now) {
            if let Tracked::Script { command, interval, user } = &script.what {
                self.started += 1;
                (script.due, script.running) = (now + *interval, Some(FIRST_TAG + self.started));
                runs.push(run(FIRST_TAG + self.started, command.clone(), user.clone(), *interval));
            }
        }
        runs
    }

    /// A program is no more; false if it was another one's.
    pub(super) fn hear(&mut self, tag: u64, ended: &Ended, vrrp: &mut Vrrp) -> bool {
        if let Some(script) = self.scripts.iter_mut().find(|script| script.running == Some(tag)) {
            script.running = None;
            let why = match ended {
                Ended::Exit(0) => None,
                Ended::Exit(code) => Some(format!("has failed (exit code {code})")),
                Ended::Signal(signal) => Some(format!("has failed (signal {signal})")),
                Ended::Late => Some("has failed (it did not end in time)".into()),
                Ended::NotStarted(why) => Some(format!("has failed (not started: {why})")),
            };
            vrrp.judge(&script.what, why.as_deref());
        }
        tag >= FIRST_TAG
    }
}
