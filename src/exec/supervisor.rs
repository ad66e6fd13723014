//! The loop beside the program: its calls, what it has sent, its signals, its end.
//!
//! One thread. It waits for events only; a call that cannot be answered yet stays open.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::poll::{PollFlags, PollTimeout};

use super::director::Director;
use super::event::{About, Event, Files};
use super::look::Look;
use super::numbers::Numbers;
use super::pair::Names;
use super::processes::{Processes, never_waits};
use super::program::Program;
use super::receive::Receive;
use super::sent::Sent;
use super::socket::{LARGEST_DATAGRAM, Socket};
use super::stay::Newest;
use crate::genl::Server;
use crate::io::Clock;
use crate::io::seccomp::{Call, Forked, Listener, Returns, fork};

/// Between two looks for a director that has gone.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The program, its sockets, and the director.
pub struct Supervisor {
    pub(super) listener: Listener,
    pub(super) sockets: BTreeMap<u32, Socket>,
    pub(super) program: Program,
    pub(super) numbers: Numbers,
    pub(super) names: Names,
    pub(super) processes: Processes,
    pub(super) newest: Newest,
    pub(super) look: Look,
    pub(super) sent: Sent,
    pub(super) server: Server,
    pub(super) director: Director,
    pub(super) clock: Clock,
    pub(super) buffer: Vec<u8>,
    /// What was named already because it is not emulated.
    named: Vec<&'static str>,
}

/// How the loop ended.
pub enum End {
    /// With the program.
    Program(ExitStatus),
    /// With the last process that the program left.
    Rest,
}

impl Supervisor {
    /// Of a program that was started.
    pub fn new(program: Program, listener: Listener, numbers: Numbers, director: Director) -> io::Result<Supervisor> {
        listener.wake_here();
        Ok(Supervisor {
            listener,
            sockets: BTreeMap::new(),
            program,
            numbers,
            names: Names::drawn()?,
            processes: Processes::default(),
            newest: Newest::default(),
            look: Look::default(),
            sent: Sent::default(),
            server: Server::default(),
            director,
            clock: Clock::start(),
            buffer: vec![0; LARGEST_DATAGRAM],
            named: Vec::new(),
        })
    }

    /// Until the program ends, and what it has left running.
    pub fn run(&mut self) -> io::Result<End> {
        loop {
            let events = self.wait()?;
            self.look.note(&events);
            for Event { about, readable, closed } in events {
                match about {
                    About::Calls if readable => self.take_call()?,
                    // The last process under the filter has ended.
                    About::Calls if self.program.is_gone() => return Ok(End::Rest),
                    About::Calls => self.program.look()?,
                    About::Signals => self.program.take_signals()?,
                    About::Director => self.director.leave(),
                    // By now its number may be another one's.
                    About::Socket(number) => self.take_questions(number, closed && self.is_closed(number)),
                    About::Kernel(number) => self.take_from_kernel(number),
                }
            }
            self.look_for_director()?;
            self.expire();
            if let Some(end) = self.end_of_program()? {
                return Ok(end);
            }
        }
    }

    /// Waits for events. Before it sleeps, the program's ends are made readable where there is something to read:
    /// most often it is read at once, and `poll` need not be told.
    fn wait(&mut self) -> io::Result<Vec<Event>> {
        if self.sockets.values().any(Socket::is_unannounced) {
            let events = self.files().wait(PollTimeout::ZERO)?;
            if !events.is_empty() {
                return Ok(events);
            }
            self.sockets.values_mut().filter(|it| it.is_unannounced()).for_each(Socket::announce);
        }
        self.files().wait(self.timeout())
    }

    fn files(&self) -> Files<'_> {
        let mut files = Files::of(3 + 2 * self.sockets.len());
        files.add(About::Calls, self.listener.as_fd(), PollFlags::POLLIN);
        files.add(About::Signals, self.program.signals(), PollFlags::POLLIN);
        if let Some(socket) = self.director.socket() {
            files.add(About::Director, socket, PollFlags::empty());
        }
        for socket in self.sockets.values() {
            socket.add_to(&mut files);
        }
        files
    }

    fn timeout(&self) -> PollTimeout {
        let now = Instant::now();
        let deadline = self.sockets.values().filter_map(Socket::deadline).min();
        let wait = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let look = self.director.is_away().then_some(LOOK_AGAIN);
        let millis = |time: Duration| u16::try_from(time.as_millis() + 1).unwrap_or(u16::MAX);
        wait.into_iter().chain(look).min().map_or(PollTimeout::NONE, |time| millis(time).into())
    }

    // ---- calls -----------------------------------------------------------------------------------------------------

    fn take_call(&mut self) -> io::Result<()> {
        let Some(call) = self.listener.next_call()? else { return Ok(()) };
        self.look.note_call(call.id);
        let returns = match Receive::read(&call) {
            Some(Ok(receive)) => self.receive(call, receive),
            Some(Err(errno)) => Some(Returns::Error(errno)),
            None => self.answer_call(&call),
        };
        if let Some(returns) = returns {
            self.listener.answer(&call, returns);
        }
        Ok(())
    }

    fn receive(&mut self, call: Call, receive: Receive) -> Option<Returns> {
        let number = call.args[0] as u32;
        let Some(socket) = self.sockets.get(&number) else { return Some(Returns::Kernel) };
        // Where there is nothing to read, what the program has sent so far is answered first, as in the kernel.
        if !socket.has_answers() {
            self.serve_what_was_sent(number);
        }
        let socket = self.sockets.get_mut(&number)?;
        let returns = socket.receive(call, receive, Instant::now(), || never_waits(call.thread, number));
        socket.deliver(&self.listener, &mut self.processes);
        returns
    }

    /// Commands of the program that no director has carried out.
    pub fn owed(&self) -> usize {
        self.director.owed()
    }

    /// Says once what a program needs and does not get.
    pub(super) fn name_once(&mut self, what: &'static str) {
        if !self.named.contains(&what) {
            self.named.push(what);
            log::warn!("the program uses what 'tapvs exec' does not emulate: {what}");
        }
    }

    // ---- the director ----------------------------------------------------------------------------------------------

    fn look_for_director(&mut self) -> io::Result<()> {
        if !self.director.is_away() {
            return Ok(());
        }
        self.director.return_to(&mut self.program);
        // What waited for it, or has waited too long, is answered.
        let waiting: Vec<u32> = self.sockets.values().filter(|it| it.has_questions()).map(Socket::number).collect();
        for number in waiting {
            let closed = self.sockets.get(&number).is_some_and(|socket| socket.closed);
            self.take_questions(number, closed);
        }
        Ok(())
    }

    // ---- the program -----------------------------------------------------------------------------------------------

    /// The program's end, if it has ended. Where it has left processes, a second process stays for them.
    fn end_of_program(&mut self) -> io::Result<Option<End>> {
        let Some(status) = self.program.take_end() else { return Ok(None) };
        if !self.leaves_processes() {
            return Ok(Some(End::Program(status)));
        }
        match fork()? {
            Forked::Parent(_) => Ok(Some(End::Program(status))),
            Forked::Child => Ok(None),
        }
    }

    fn leaves_processes(&self) -> bool {
        let mut files = [nix::poll::PollFd::new(self.listener.as_fd(), nix::poll::PollFlags::empty())];
        nix::poll::poll(&mut files, nix::poll::PollTimeout::ZERO).is_ok_and(|count| count == 0)
    }
}
