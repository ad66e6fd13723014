//! The keeper: opens devices and sockets, holds their descriptors, and has a worker do everything else. A worker that dies
//! is replaced; frames wait meanwhile in the devices' queues.
//!
//! Never reads a frame or a request. What a worker may ask of it is in `messages`.

mod backoff;
mod carriers;
mod files;
mod handover;
mod host;
mod manager;
pub mod messages;
mod open;
mod program;
mod programs;
mod rights;
mod state_file;
mod talk;
mod upgrade;
mod worker;

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal as Number;

use crate::base::version;
use crate::config::{Plan, RunArgs};
use crate::control;
use crate::io::{Device, FastProgram, Listener, Programs, Signal, Signals, SocketError, let_inherit};
use backoff::{Backoff, Unready};
use files::{Files, Which};
use host::Host;
use manager::Manager;
use messages::Given;
use program::Program;
use state_file::StateFile;
use upgrade::Upgrade;
use worker::{End, Worker};
/// When a worker that does not listen is told of a program's end again.
const RETRY: Duration = Duration::from_millis(10);

/// True in a process that a keeper has started as its worker.
pub fn is_worker() -> bool {
    std::env::var_os(messages::VARIABLE).is_some()
}

/// What is kept while workers come and go.
struct Keeper {
    devices: Vec<Device>,
    host: Host,
    /// The file goes when this does.
    _listener: Option<Listener>,
    _metrics: Option<TcpListener>,
    /// The program stays at the devices for as long as this does.
    _fast: Option<FastProgram>,
    given: Given,
    state: Option<StateFile>,
    unready: Unready,
    files: Files,
    /// What workers run, and its version.
    program: Program,
    version: String,
    upgrade: Option<Upgrade>,
    /// A worker that has made room for another and is about to end.
    leaving: Option<Worker>,
    programs: Programs,
    manager: Manager,
    signals: Signals,
    backoff: Backoff,
    /// A signal to end came.
    stopping: bool,
    /// Signals for the worker that were not passed on because it was not ready.
    waiting: Vec<Number>,
    /// It runs before other programs, for frames wait for what it does.
    hurries: bool,
}

/// Runs until the worker has ended as it should; its exit status, or a sentence a line for the operator.
pub fn run(args: &RunArgs) -> Result<u8, String> {
    let plan = Plan::from_args(args).map_err(|problems| problems.to_string())?;
    // Before a device exists: a signal that comes meanwhile must not leave it behind.
    let signals = Signals::open().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let sandbox = rights::sandbox_of(&plan)?;
    open::check_processor(&plan)?;
    open::check_memory(plan.settings.max_flows)?;
    let host = Host::open().map_err(|error| format!("cannot listen to changes of the host's links: {error}"))?;
    let devices = plan.links.iter().map(|link| open::once_free(|| Device::open(&link.device), open::is_busy));
    let devices = devices.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let first = devices.first().map_or_else(|| "tapvs".to_owned(), |device| device.facts().name);
    let open_socket = || control::open(args.name.as_deref(), args.socket.as_deref(), &first);
    let listener = open::once_free(open_socket, SocketError::is_taken).map_err(|error| error.to_string())?;
    let state = listener.as_ref().and_then(|listener| StateFile::open(listener.path(), args.fresh));
    let metrics = plan.metrics.as_ref().map(|at| open::open_metrics(at.value)).transpose()?;
    let given = open::give(&devices, listener.as_ref(), state.as_ref(), metrics.as_ref())
        .map_err(|error| format!("cannot hand descriptors on: {error}"))?;
    let fast = open::open_fast(&plan, &devices)?;
    let facts = fast.as_ref().map(FastProgram::give).transpose();
    let facts = facts.map_err(|error| format!("cannot hand descriptors on: {error}"))?;
    let mut given = Given { sandbox, fast: facts, ..given };
    rights::give_up(given.sandbox.as_mut())?;
    let mut keeper = Keeper {
        devices,
        host,
        _listener: listener,
        _metrics: metrics,
        _fast: fast,
        given,
        state,
        unready: Unready::default(),
        files: Files::new(args.clone()),
        programs: Programs::default(),
        program: Program::own(),
        version: version().to_owned(),
        upgrade: None,
        leaving: None,
        manager: Manager::from_environment(),
        signals,
        backoff: Backoff::default(),
        stopping: false,
        waiting: Vec::new(),
        hurries: false,
    };
    let done = keeper.keep().map_err(|error| format!("cannot keep a worker: {error}"));
    if let Some(state) = keeper.state.take().filter(|_| args.forget) {
        state.remove();
    }
    done
}

impl Keeper {
    /// Starts workers until one exits by itself.
    fn keep(&mut self) -> io::Result<u8> {
        loop {
            let died = match self.watch(Worker::start(&self.program, self.given.clone())?)? {
                (End::Exit(status), _) => return Ok(status),
                (End::Died(_), _) if self.stopping => return Ok(0),
                (End::Died(how), was_ready) => (how, was_ready),
            };
            let wait = self.backoff.after(Instant::now(), died.1);
            log::error!("worker {}; another is started in {} ms", died.0, wait.as_millis());
            self.manager.waiting(&died.0);
            self.count_unready(died.1);
            self.given.restarts += 1;
            self.given.reason = Some(died.0);
            if !wait.is_zero() {
                // By then another director has the addresses.
                self.given.active.clear();
            }
            self.pause_until(Instant::now() + wait)?;
            if self.stopping {
                return Ok(0);
            }
        }
    }

    /// Workers that die again and again before they are ready may do so because of the state.
    fn count_unready(&mut self, was_ready: bool) {
        if self.unready.add(Instant::now(), was_ready) && self.state.is_some() {
            self.set_aside("workers died again and again while they read it");
        }
    }

    fn set_aside(&mut self, why: &str) {
        self.state = self.state.take().and_then(|state| state.replaced(why));
        let inherits = |state: &StateFile| let_inherit(state.as_fd()).is_ok();
        self.given.state = self.state.as_ref().filter(|state| inherits(state)).map(|state| state.as_fd().as_raw_fd());
    }

    /// Serves a worker until it has ended; how, and whether it had become ready.
    fn watch(&mut self, mut worker: Worker) -> io::Result<(End, bool)> {
        self.host.forget_own();
        let changed = self.host.look(&mut self.devices);
        self.tell(&worker, changed);
        loop {
            self.keep_pace();
            let ready = self.wait(&worker)?;
            // Before files: what is in force says which may be read.
            if ready[1] || ready[2] {
                self.listen(&mut worker);
            }
            if ready[2] {
                let which = if worker.ready.is_some() { Which::Present } else { Which::InForce };
                self.files.serve(&worker.files, which);
            }
            if ready[3] {
                let changed = self.host.heed(&mut self.devices);
                self.tell(&worker, changed);
                self.tell_carriers(&worker);
            }
            while let Some(signal) = self.signals.next_signal()? {
                match signal {
                    Signal::Stop => {
                        self.stopping = true;
                        self.manager.stopping();
                        self.fail_upgrade("the director ends");
                        worker.signal(Number::SIGTERM);
                    }
                    Signal::Reload => self.pass_on(&worker, Number::SIGHUP),
                    Signal::Report => self.pass_on(&worker, Number::SIGUSR1),
                    Signal::Child => {}
                }
            }
            self.go_on(&mut worker);
            self.manager.ask(&worker);
            if let Some(end) = worker.ended()
                && !self.hand_over(&mut worker)
            {
                self.programs.forget(worker.id());
                return Ok(self.end_of(end, &worker));
            }
            programs::turn(&mut self.programs, &worker);
        }
    }

    /// Waits until there is something to do; what has something to say: signals, the worker, its files, the host.
    fn wait(&self, worker: &Worker) -> io::Result<[bool; 7]> {
        let signals = self.signals.as_fd();
        let upgrade = self.upgrade.as_ref();
        let beside = upgrade.and_then(Upgrade::peek_beside);
        let fds = [
            signals,
            worker.channel.as_fd(),
            worker.files.as_fd(),
            self.host.as_fd(),
            // Something that is there anyway in place of what is not.
            beside.map_or(signals, |beside| beside.channel.as_fd()),
            beside.map_or(signals, |beside| beside.files.as_fd()),
            upgrade.and_then(Upgrade::awaited).unwrap_or(signals),
        ];
        let now = Instant::now();
        let retry = self.programs.outcome().map(|_| now + RETRY);
        let due = [upgrade.map(|upgrade| upgrade.until), self.programs.due(), self.manager.due(), retry];
        let due = due.into_iter().flatten().min();
        let left = due.map(|due| due.saturating_duration_since(now).as_millis().min(u128::from(u16::MAX - 1)));
        wait_for(&fds, left.map(|left| left as u16 + 1))
    }

    /// The version is that of the worker at work, also while an upgrade proves itself.
    fn say_serving(&self) {
        let new = self.upgrade.as_ref().filter(|upgrade| upgrade.has_taken_over());
        self.manager.serving(new.map_or(&self.version, |upgrade| &upgrade.version));
    }

    /// Waits, but not longer than until a signal to end comes.
    fn pause_until(&mut self, end: Instant) -> io::Result<()> {
        while !self.stopping {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            wait_for(&[self.signals.as_fd()], Some(left.as_millis().min(u128::from(u16::MAX)) as u16 + 1))?;
            while let Some(signal) = self.signals.next_signal()? {
                self.stopping |= signal == Signal::Stop;
            }
        }
        Ok(())
    }
}

/// Which of these have something to read, or have ended.
fn wait_for<const N: usize>(fds: &[BorrowedFd; N], millis: Option<u16>) -> io::Result<[bool; N]> {
    let mut polled = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    match poll(&mut polled, millis.map_or(PollTimeout::NONE, PollTimeout::from)) {
        Err(nix::errno::Errno::EINTR) | Ok(_) => Ok(polled.map(|fd| fd.any().unwrap_or(false))),
        Err(error) => Err(error.into()),
    }
}
