//! The loop: wait, drain each link with a budget, let time pass. Glue between `io` and the director.
//!
//! One thread, one clock reading per wake-up. Never decides anything about a packet.

mod background;
mod change;
mod check_programs;
mod check_sockets;
mod checks;
mod client;
mod connections;
mod fixed;
mod heed;
mod keeper;
mod note;
mod own_probes;
mod reload;
mod restore;
mod saving;
mod scrapes;
mod serve;
mod start;
mod talk;
mod tracks;
mod work;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};

use crate::base::{Instant, LinkId};
use crate::conn::Draft as ConnDraft;
use crate::control::protocol::WorkerEntry;
use crate::director::{Batch, Director};
use crate::io::{Clock, FastKernel, Signal, Signals, lost_lines, monotonic_millis, write_lines};
use crate::keeper::messages::ToKeeper;
use crate::router::Turn;
use crate::state::State;
use crate::wires::{self, Wires};
use background::Background;
use checks::Checks;
use connections::Control;
use keeper::Keeper;
use reload::{Reload, Started};
#[cfg(any(test, feature = "testing"))]
pub use restore::try_restore;
use saving::keep;
use scrapes::Scrapes;
use start::Taken;
pub use start::run;
use tracks::Tracks;
use work::Work;

/// Clients are served so often before another worker goes on.
const LAST_TURNS: usize = 64;
/// Links are drained so often before it is said that this one works: a queue of 1,000 frames is empty then.
const FIRST_TURNS: usize = 8;
/// What is left of a draft is freed when that is no more to be noticed.
const LEFT_FOR: Duration = Duration::from_secs(2);
const SIGNALS: Token = Token(usize::MAX);
const KEEPER: Token = Token(usize::MAX - 1);
const ANSWERS: Token = Token(usize::MAX - 2);

/// Links and director, ready to run.
pub struct Daemon {
    director: Director,
    turn: Turn<Wires>,
    /// Links that may hold more frames than were read: no event will tell.
    ready: Vec<bool>,
    clock: Clock,
    poll: Poll,
    signals: Signals,
    control: Control,
    keeper: Keeper,
    checks: Checks,
    tracks: Tracks,
    scrapes: Scrapes,
    reload: Reload,
    /// A change that takes more than one turn.
    work: Option<Work>,
    /// It has something to do at once.
    works: bool,
    /// A signal has asked for a reload that has not begun.
    reload_asked: bool,
    batch: Batch,
    state: Option<State>,
    /// When counters are copied to the state next.
    saving: Instant,
    /// What is told of this worker and those before it, and when it began.
    history: (WorkerEntry, Instant),
    /// Another worker is prepared to go on.
    leaving: bool,
    /// Maps of the fast path, until the loop begins.
    fast_maps: Option<FastKernel>,
    /// What is left of a draft. To free it takes a while, in which this process gets no memory.
    left: Option<ConnDraft>,
}

impl Daemon {
    /// A loop around the director, for what was taken over from the keeper.
    fn new(
        (director, state): (Director, Option<(State, u64)>),
        (taken, (mut turn, batch)): (Taken, (Turn<Wires>, Batch)),
        (mut signals, background): (Signals, Background),
        checks: Checks,
        start: Started,
    ) -> io::Result<Daemon> {
        let Taken { listener, metrics, mut keeper, history, fast_maps, .. } = taken;
        let poll = Poll::new()?;
        poll.registry().register(&mut keeper.channel, KEEPER, Interest::READABLE)?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        let links = &mut turn.out.links;
        for (index, link) in links.iter_mut().enumerate() {
            poll.registry().register(link, Token(index), Interest::READABLE)?;
        }
        let control = Control::new(listener, poll.registry())?;
        let waker = Waker::new(poll.registry(), ANSWERS)?;
        let scrapes = Scrapes::new(metrics, poll.registry())?;
        Ok(Daemon {
            director,
            ready: vec![true; links.len()],
            turn,
            clock: state.as_ref().map_or_else(Clock::start, |(_, epoch)| Clock::started_at(*epoch)),
            poll,
            signals,
            control,
            keeper,
            checks,
            tracks: Tracks::default(),
            scrapes,
            reload: Reload::new(start, background, Arc::new(move || _ = waker.wake())),
            work: None,
            works: false,
            reload_asked: false,
            batch,
            state: state.map(|(state, _)| state),
            saving: Instant::START,
            history: (history, Instant::START),
            leaving: false,
            fast_maps,
            left: None,
        })
    }

    /// Runs until a signal ends it or a device is taken away. The ledger is printed in any case.
    pub fn run(mut self) -> io::Result<()> {
        let now = self.clock.now();
        self.history.1 = now;
        if let Some(state) = &self.state {
            self.checks.recall(&mut self.director, state, now);
        }
        match self.fast_maps.take().map(FastKernel::taken_up) {
            Some(Ok(maps)) => self.director.fast().start(Box::new(maps), monotonic_millis().saturating_sub(now.0)),
            Some(Err(why)) => log::warn!("fast path: none, all packets are forwarded here: {why}"),
            None => {}
        }
        if let Some(known) = self.state.as_ref().and_then(State::answered) {
            self.director.fast.recall_answered(known);
        }
        // What came while the state was read. If the keeper has ended, the loop sees it too.
        self.listen(now);
        self.director.presence().announce_links(now);
        self.pass_time(now);
        self.route_addresses_here();
        // Frames have waited, and as long as it has not said that it is ready it runs before other programs.
        let ended = self.drain_first().and_then(|()| {
            // It says so to everybody, when the host routes here what was told before.
            self.keeper.tell(&ToKeeper::Ready);
            self.turn_until_stopped()
        });
        if self.leaving && ended.is_ok() {
            self.make_room();
            return ended;
        }
        wires::shut_down(&mut self.director, &mut self.turn);
        self.save_counters();
        self.report();
        ended
    }

    /// Writes down what the next worker reads, and says that it may begin. Who has asked something is answered before.
    fn make_room(&mut self) {
        self.control.close();
        for _ in 0..LAST_TURNS {
            if !self.control.is_hot() {
                break;
            }
            self.serve_clients(self.turn.now);
        }
        self.director.fast().read_all();
        self.save_counters();
        self.keeper.tell(&ToKeeper::Stopped);
        log::info!("another worker goes on");
    }

    fn turn_until_stopped(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let (mut signalled, mut heard, mut kept) = (false, false, true);
            for event in &events {
                match event.token() {
                    SIGNALS => signalled = true,
                    KEEPER => heard = true,
                    // The thread has an answer.
                    ANSWERS => self.works = true,
                    token if self.control.notes(token) || self.checks.notes(token) || self.scrapes.notes(token) => {}
                    Token(link) => self.ready[link] = true,
                }
            }
            let now = self.clock.now();
            if heard {
                kept = self.listen(now);
            }
            if self.director.vrrp.has_overslept(now) {
                // What has waited meanwhile is another director's by now.
                self.pass_time(now);
            }
            self.drain(now)?;
            self.director.fast().admit(now);
            self.pass_time(now);
            if self.control.is_hot() {
                self.serve_clients(now);
            }
            self.work(now);
            self.checks.turn(self.poll.registry(), &mut self.director, &mut self.turn, self.state.as_mut());
            self.director.fast().heed();
            self.tracks.watch(&self.director.vrrp).iter().for_each(|message| self.keeper.tell(message));
            let runs = self.tracks.due_programs(&mut self.director.vrrp, now);
            self.checks.take_programs().into_iter().chain(runs).for_each(|run| self.keeper.tell(&ToKeeper::Run(run)));
            Wires::flush(&mut self.turn);
            if self.scrapes.is_ready() {
                self.serve_metrics(now);
            }
            if !kept || (signalled && self.obey_signals()?) {
                return Ok(());
            }
            self.keeper.send();
            if self.leaving && self.work.is_none() {
                return Ok(());
            }
            self.free_what_is_left(now);
            self.save_counters_at_times(now);
            self.route_addresses_here();
        }
    }

    /// Handles what links hold, a part of it where that is much.
    fn drain(&mut self, now: Instant) -> io::Result<()> {
        for link in 0..self.ready.len() {
            if self.ready[link] {
                wires::begin(&self.director, now, &mut self.turn);
                let link = LinkId(link as u8);
                let Daemon { director, batch, turn, state, .. } = &mut *self;
                let more = wires::drain(director, batch, link, turn, &mut |director| keep(director, state))?;
                self.ready[link.index()] = more;
            }
        }
        Ok(())
    }

    /// Handles what has come while nobody worked.
    fn drain_first(&mut self) -> io::Result<()> {
        for _ in 0..FIRST_TURNS {
            let now = self.clock.now();
            self.drain(now)?;
            self.pass_time(now);
            if !self.ready.contains(&true) {
                break;
            }
        }
        Ok(())
    }

    /// How long nothing is due; a link that was not drained is due now.
    fn timeout(&self) -> Option<Duration> {
        let is_asked = self.control.is_hot() || self.scrapes.is_ready();
        let is_busy = self.ready.contains(&true) || is_asked || self.keeper.has_unsent();
        let reloads = self.reload_asked && self.work.is_none();
        if is_busy || self.works || reloads || self.director.has_moved_addresses() {
            return Some(Duration::ZERO);
        }
        let programs = [self.checks.next_deadline(), self.tracks.due()];
        let due = [self.director.next_deadline(), self.control.retry_due()].into_iter().chain(programs);
        let due = due.flatten().min()?;
        // Counters that move are copied soon.
        let moves = self.state.is_some() && self.director.flows.services.meters_due().is_some();
        let due = if moves { due.min(self.saving) } else { due };
        Some(due.since(self.clock.now()))
    }

    fn free_what_is_left(&mut self, now: Instant) {
        if now.since(self.history.1) >= LEFT_FOR
            && let Some(left) = self.left.take()
        {
            self.reload.background().run(move || drop(left));
        }
    }

    fn pass_time(&mut self, now: Instant) {
        wires::pass_time(&mut self.director, now, &mut self.turn);
        self.control.pass_time(now);
    }

    /// True if the loop is to end.
    fn obey_signals(&mut self) -> io::Result<bool> {
        while let Some(signal) = self.signals.next_signal()? {
            match signal {
                Signal::Stop => {
                    log::info!("stopping");
                    return Ok(true);
                }
                Signal::Report => self.report(),
                Signal::Child => {}
                Signal::Reload => self.reload_asked = true,
            }
        }
        Ok(false)
    }

    fn report(&self) {
        write_lines(&self.turn.ledger().to_string());
        write_lines(&format!("ledger: conns {}", self.director.flows.conns.len()));
        write_lines(&format!("log: {} lines lost", lost_lines()));
        log::logger().flush();
    }
}
