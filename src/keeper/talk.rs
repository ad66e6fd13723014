//! What a worker and its keeper tell each other while both are at work.
//!
//! Never waits for a worker.

use std::time::Instant;

use nix::sys::signal::Signal as Number;

use super::messages::{ToKeeper, ToWorker, encode};
use super::state_file::StateFile;
use super::upgrade::Upgrade;
use super::worker::Worker;
use super::{Keeper, programs};
use crate::io::LinkChange;

impl Keeper {
    pub(super) fn listen(&mut self, worker: &mut Worker) {
        while let Some((message, fd)) = worker.message() {
            match message {
                ToKeeper::Ready => {
                    worker.ready = Some(Instant::now());
                    log::info!("ready");
                    log::debug!("worker ready after {} ms", worker.started.elapsed().as_millis());
                    self.waiting.drain(..).for_each(|signal| worker.signal(signal));
                    // After an upgrade what was in force is so still.
                    if !self.is_upgraded(worker) {
                        self.files.settle();
                    }
                    self.say_serving();
                }
                ToKeeper::Reloading => self.manager.reloading(),
                ToKeeper::NotReloaded => self.say_serving(),
                ToKeeper::Reloaded => {
                    self.files.settle();
                    self.heed_reload();
                    self.say_serving();
                }
                ToKeeper::Pong => self.manager.alive(),
                ToKeeper::Upgrade => self.ask_upgrade(fd),
                ToKeeper::Stopped => _ = self.hand_over(worker),
                // Only a worker beside another one says so.
                ToKeeper::Prepared(_) | ToKeeper::Unable(_) => {}
                ToKeeper::SetAside(why) => {
                    self.set_aside(&why);
                    let file = self.state.as_ref().map(StateFile::as_fd);
                    if let Err(error) = worker.channel.send(&encode(&ToWorker::State), file) {
                        log::warn!("the worker has no state file: {error}");
                    }
                }
                ToKeeper::Active(routers) => self.given.active = routers,
                ToKeeper::Run(run) => {
                    let told = (&*worker, self.given.sandbox.as_ref());
                    programs::run(&mut self.programs, self.files.outside(), told, run);
                }
                ToKeeper::Watch(names) => {
                    self.host.carriers.track(names);
                    self.tell_carriers(worker);
                }
                ToKeeper::Addresses(moved) => {
                    for (addr, here) in moved {
                        self.host.own(addr, here);
                        self.devices.iter_mut().for_each(|device| device.route(addr, here));
                    }
                }
            }
        }
    }

    /// Tells the worker what has become of links; one that is started later is given the same.
    pub(super) fn tell(&mut self, worker: &Worker, changed: Vec<(usize, LinkChange)>) {
        for (number, change) in changed {
            self.given.links[number].1 = self.devices[number].facts();
            let message = match change {
                LinkChange::Mtu(mtu) => ToWorker::Mtu(number as u8, mtu),
                LinkChange::Back => ToWorker::Back(number as u8),
            };
            worker.tell(&message);
            if let Some(beside) = self.upgrade.as_ref().and_then(Upgrade::peek_beside) {
                beside.tell(&message);
            }
        }
    }

    /// Tells the worker what has become of the links that its virtual routers track.
    pub(super) fn tell_carriers(&mut self, worker: &Worker) {
        for (name, why) in self.host.changed_carriers() {
            worker.tell(&ToWorker::Carrier(name, why));
        }
    }

    /// A worker that does not listen to signals yet would be ended by them.
    pub(super) fn pass_on(&mut self, worker: &Worker, signal: Number) {
        match worker.ready {
            Some(_) => worker.signal(signal),
            None => self.waiting.push(signal),
        }
    }
}
