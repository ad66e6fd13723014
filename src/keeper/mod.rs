//! The keeper: opens devices and sockets, holds their descriptors, and has a worker do everything else. A worker that dies
//! is replaced; frames wait meanwhile in the devices' queues.
//!
//! Never reads a frame or a request. What a worker may ask of it is in `messages`.

mod backoff;
mod files;
mod handover;
mod host;
mod manager;
pub mod messages;
mod program;
mod programs;
mod rights;
mod state_file;
mod upgrade;
mod worker;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal as Number;

use crate::base::{Endpoint, version};
use crate::config::{Plan, RunArgs};
use crate::control;
use crate::io::{
    BYTES_A_CONN, Device, LinkChange, LinkError, Listener, Processors, Programs, Signal, Signals, SocketError,
    let_inherit, own_uid,
};
use backoff::{Backoff, Unready};
use files::{Files, Which};
use host::Host;
use manager::Manager;
use messages::{Given, ToKeeper, ToWorker, encode};
use program::Program;
use state_file::StateFile;
use upgrade::Upgrade;
use worker::{End, Worker};

/// How long something that another process holds is waited for.
const PATIENCE: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(10);

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
}

/// Runs until the worker has ended as it should; its exit status, or a sentence a line for the operator.
pub fn run(args: &RunArgs) -> Result<u8, String> {
    let plan = Plan::from_args(args).map_err(|problems| problems.to_string())?;
    // Before a device exists: a signal that comes meanwhile must not leave it behind.
    let signals = Signals::open().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let sandbox = rights::sandbox_of(&plan)?;
    check_processor(&plan)?;
    check_memory(plan.settings.max_flows)?;
    let host = Host::open().map_err(|error| format!("cannot listen to changes of the host's links: {error}"))?;
    let devices = plan.links.iter().map(|link| once_free(|| Device::open(&link.device), is_busy));
    let devices = devices.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let first = devices.first().map_or_else(|| "tapvs".to_owned(), |device| device.facts().name);
    let open = || control::open(args.name.as_deref(), args.socket.as_deref(), &first);
    let listener = once_free(open, SocketError::is_taken).map_err(|error| error.to_string())?;
    let state = listener.as_ref().and_then(|listener| StateFile::open(listener.path(), args.fresh));
    let metrics = plan.metrics.as_ref().map(|at| open_metrics(at.value)).transpose()?;
    let given = give(&devices, listener.as_ref(), state.as_ref(), metrics.as_ref())
        .map_err(|error| format!("cannot hand descriptors on: {error}"))?;
    let mut given = Given { sandbox, ..given };
    rights::give_up(given.sandbox.as_mut())?;
    let mut keeper = Keeper {
        devices,
        host,
        _listener: listener,
        _metrics: metrics,
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
    };
    let done = keeper.keep().map_err(|error| format!("cannot keep a worker: {error}"));
    if let Some(state) = keeper.state.take().filter(|_| args.forget) {
        state.remove();
    }
    done
}

/// The worker of a keeper that was killed ends a moment after it, and holds device and socket until then.
fn once_free<T, E>(open: impl Fn() -> Result<T, E>, is_held: impl Fn(&E) -> bool) -> Result<T, E> {
    for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
        match open() {
            Err(error) if is_held(&error) => std::thread::sleep(STEP),
            other => return other,
        }
    }
    open()
}

fn is_busy(error: &LinkError) -> bool {
    matches!(error, LinkError::Busy { .. })
}

/// A worker may have no right to a port below 1024.
fn open_metrics(at: Endpoint) -> Result<TcpListener, String> {
    let open = || TcpListener::bind(SocketAddr::new(at.addr, at.port));
    let is_held = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    once_free(open, is_held)
        .map_err(|error| format!("metrics {at}: {error}; name an address of this host and a free port"))
}

/// A processor that cannot be had is said before anything on the host is touched.
fn check_processor(plan: &Plan) -> Result<(), String> {
    let usual = Processors::allowed();
    crate::config::run_on_processor(plan.cpu.as_ref(), &usual).map_err(|problems| problems.to_string())?;
    usual.run_on(None)
}

/// Asks for the memory of a worker's flow table, for a process that does not get it ends. What is got is given back.
fn check_memory(max_flows: usize) -> Result<(), String> {
    let bytes = max_flows.saturating_mul(BYTES_A_CONN as usize);
    let mut memory: Vec<u8> = Vec::new();
    memory.try_reserve_exact(bytes).map_err(|_| {
        let mebibytes = bytes >> 20;
        format!(
            "--max-flows {max_flows}: a table of so many conns takes {mebibytes} MiB, which this process cannot have; \
             lower --max-flows (in a file max_flows), or raise the limit of memory"
        )
    })
}

/// Descriptors that every worker inherits.
fn give(
    devices: &[Device],
    listener: Option<&Listener>,
    state: Option<&StateFile>,
    metrics: Option<&TcpListener>,
) -> io::Result<Given> {
    for device in devices {
        let_inherit(device.as_fd())?;
    }
    if let Some(listener) = listener {
        let_inherit(listener.as_fd())?;
    }
    if let Some(state) = state {
        let_inherit(state.as_fd())?;
    }
    if let Some(metrics) = metrics {
        let_inherit(metrics.as_fd())?;
    }
    Ok(Given {
        links: devices.iter().map(|device| (device.as_raw_fd(), device.facts())).collect(),
        listener: listener.map(|listener| (listener.as_fd().as_raw_fd(), listener.path().to_owned())),
        metrics: metrics.map(AsRawFd::as_raw_fd),
        state: state.map(|state| state.as_fd().as_raw_fd()),
        owner: own_uid(),
        channel: -1,
        files: -1,
        restarts: 0,
        reason: None,
        active: Vec::new(),
        beside: false,
        keeper: version().to_owned(),
        upgrades: 0,
        sandbox: None,
        lifeline: None,
    })
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
        // A worker that does not listen is told of a program's end again.
        let retry = self.programs.outcome().map(|_| now + STEP);
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

    /// A worker that does not listen to signals yet would be ended by them.
    fn pass_on(&mut self, worker: &Worker, signal: Number) {
        match worker.ready {
            Some(_) => worker.signal(signal),
            None => self.waiting.push(signal),
        }
    }

    fn listen(&mut self, worker: &mut Worker) {
        while let Some((message, fd)) = worker.message() {
            match message {
                ToKeeper::Ready => {
                    worker.ready = Some(Instant::now());
                    log::debug!("worker ready after {} ms", worker.started.elapsed().as_millis());
                    self.waiting.drain(..).for_each(|signal| worker.signal(signal));
                    // After an upgrade what was in force is so still.
                    if !self.is_upgraded() {
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
    fn tell(&mut self, worker: &Worker, changed: Vec<(usize, LinkChange)>) {
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
