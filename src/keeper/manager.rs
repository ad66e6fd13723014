//! The service manager as the keeper sees it: what it is told, and how it learns that the worker does its work.
//!
//! Its watchdog is fed by the worker's answers alone: a worker that hangs, or that cannot be started, is one that does not
//! serve. Never waits for either.

use std::time::{Duration, Instant};

use super::messages::ToWorker;
use super::worker::Worker;
use crate::base::version;
use crate::io::{Notify, monotonic_micros};

/// The worker is asked so often in the time after which the manager gives up.
const ASKED: u32 = 3;

/// The manager, if there is one.
pub struct Manager {
    notify: Notify,
    /// The worker is asked again then.
    due: Option<Instant>,
}

impl Manager {
    /// The one that the environment names.
    pub fn from_environment() -> Manager {
        let notify = Notify::from_environment();
        Manager { due: notify.watchdog().map(|_| Instant::now()), notify }
    }

    /// A worker handles packets.
    pub fn serving(&self, worker: &str) {
        self.notify.say(&format!("READY=1\nSTATUS=serving: worker {worker}, keeper {}", version()));
    }

    /// The configuration is read again; `serving` ends it.
    pub fn reloading(&self) {
        let micros = monotonic_micros();
        self.notify.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading the configuration again"));
    }

    /// No worker handles packets, and why.
    pub fn waiting(&self, why: &str) {
        self.notify.say(&format!("STATUS=another worker is started: {why}"));
    }

    /// The director ends.
    pub fn stopping(&self) {
        self.notify.say("STOPPING=1\nSTATUS=stopping");
    }

    /// The worker has answered.
    pub fn alive(&self) {
        self.notify.say("WATCHDOG=1");
    }

    /// Asks the worker, if that is due.
    pub fn ask(&mut self, worker: &Worker) {
        let Some(due) = &mut self.due else { return };
        let now = Instant::now();
        if *due <= now && worker.ready.is_some() {
            // What a worker that hangs is not told is not told again.
            worker.tell(&ToWorker::Ping);
        }
        if *due <= now {
            *due = now + self.notify.watchdog().unwrap_or(Duration::MAX / 2) / ASKED;
        }
    }

    /// When that is.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }
}
