//! `tapvs announce`: which addresses routers are to send to a running director; for BIRD, ExaBGP, and whoever looks at an
//! exit code.
//!
//! Only asks the director. What does not answer announces nothing.

mod ask;
mod routes;
mod tell;

use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::ask::{Asker, Said};
use self::routes::{Route, is_well, routes};
use self::tell::{Announced, Hop, bird, exabgp};
use crate::base::Family;
use crate::config::spec;
use crate::io::{Signal, Signals, print_out};
use crate::service::command::ServiceKey;

/// show which virtual addresses routers are to send to a running director (exit status 1 if none), and tell BIRD or
/// ExaBGP of them
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "announce")]
pub struct AnnounceArgs {
    /// a service that must serve, like tcp/10.0.0.100:80 (may be repeated; default: all services, any of each address)
    #[argh(option, long = "service")]
    pub services: Vec<String>,

    /// where routers send packets (may be repeated, one a family; default: the director's first address)
    #[argh(option, long = "next-hop")]
    pub next_hops: Vec<IpAddr>,

    /// write routes for BIRD to this file, which its configuration includes
    #[argh(option)]
    pub bird: Option<PathBuf>,

    /// go on until SIGTERM, which withdraws all: without --bird as a process of ExaBGP
    #[argh(switch)]
    pub watch: bool,

    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,

    /// a program to run after each change, and its arguments, like -- birdc configure
    #[argh(positional, greedy)]
    pub command: Vec<String>,
}

/// The director is asked so often.
const PERIOD: Duration = Duration::from_secs(1);

impl AnnounceArgs {
    /// Tells what is to be told; an error is a sentence.
    pub fn run(&self) -> Result<(), String> {
        let named = self.services.iter().map(|text| spec::service_key(text)).collect::<Result<Vec<_>, _>>()?;
        if let [first, rest @ ..] = &self.next_hops[..]
            && let Some(other) = rest.iter().find(|other| Family::of(**other) == Family::of(*first))
        {
            return Err(format!("--next-hop {first} and {other}: one for IPv4 and one for IPv6 at most"));
        }
        let asker = Asker::new(self.socket.clone());
        if self.watch { self.watch(asker, &named) } else { self.once(asker, &named) }
    }

    fn once(&self, mut asker: Asker, named: &[ServiceKey]) -> Result<(), String> {
        let said = asker.ask(false);
        let (routes, now) = self.judge(said.as_ref(), named);
        match &self.bird {
            Some(file) => self.tell_bird(file, &now)?,
            None => print_out(&routes.iter().map(text).collect::<String>())?,
        }
        self.run_command()?;
        said?;
        match (is_well(&routes, named), named) {
            (true, _) => Ok(()),
            (false, []) => Err("no virtual address is served here".into()),
            (false, _) => Err("not all of these services serve here".into()),
        }
    }

    fn watch(&self, mut asker: Asker, named: &[ServiceKey]) -> Result<(), String> {
        let mut signals = Signals::open().map_err(|error| format!("cannot listen to signals: {error}"))?;
        let (mut told, mut last): (Vec<Announced>, Option<Vec<Route>>) = (Vec::new(), None);
        // True if somebody was not told what there is.
        let (mut is_owed, mut stop) = (true, false);
        loop {
            let said = if stop { Err("ends".into()) } else { asker.ask(!told.is_empty()) };
            let (routes, now) = self.judge(said.as_ref(), named);
            if last.as_ref() != Some(&routes) {
                let why = said.err().map_or(String::new(), |why| format!(": {why}"));
                log::info!("announces {} of {} addresses{why}", now.len(), routes.len());
                routes.iter().for_each(|route| log::info!("{}", text(route).trim_end()));
                last = Some(routes);
            }
            if is_owed || now != told {
                if self.bird.is_none() && !heard(&exabgp(&told, &now)) {
                    // The reader has gone.
                    return Ok(());
                }
                let done = self.bird.as_deref().map_or(Ok(()), |file| self.tell_bird(file, &now));
                let done = done.and_then(|()| self.run_command());
                is_owed = done.is_err();
                if let Err(sentence) = done {
                    log::error!("{sentence}");
                }
                told = now;
            }
            if stop {
                return Ok(());
            }
            // The end of its own program is no reason to ask again.
            stop = stops(&mut signals);
            if !stop {
                stop = wait(&signals, &asker, self.bird.is_none().then(io::stdout));
                stop |= stops(&mut signals);
            }
        }
    }

    /// The routes, and of these what is announced.
    fn judge(&self, said: Result<&Said, &String>, named: &[ServiceKey]) -> (Vec<Route>, Vec<Announced>) {
        let Ok(said) = said else { return (Vec::new(), Vec::new()) };
        let routes = routes(&said.facts, named);
        let announced = |route: &Route| {
            let family = Family::of(route.prefix.addr);
            let given = self.next_hops.iter().find(|addr| Family::of(**addr) == family);
            let hop = given.map(|addr| Hop::At(*addr)).or_else(|| said.hop(family))?;
            route.withdrawn.is_none().then_some(Announced { prefix: route.prefix, hop })
        };
        let now = routes.iter().filter_map(announced).collect();
        (routes, now)
    }

    /// BIRD never reads half of it.
    fn tell_bird(&self, file: &Path, now: &[Announced]) -> Result<(), String> {
        let mut new = file.as_os_str().to_owned();
        new.push(".new");
        let done = std::fs::write(&new, bird(now)).and_then(|()| std::fs::rename(&new, file));
        done.map_err(|error| format!("cannot write {}: {error}", file.display()))
    }

    fn run_command(&self) -> Result<(), String> {
        let [program, args @ ..] = &self.command[..] else { return Ok(()) };
        // What it prints is not for ExaBGP.
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(io::stderr());
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{program} has failed ({status})")),
            Err(error) => Err(format!("cannot run {program}: {error}")),
        }
    }
}

fn text(route: &Route) -> String {
    match &route.withdrawn {
        None => format!("{} announced\n", route.prefix),
        Some(why) => format!("{} withdrawn: {why}\n", route.prefix),
    }
}

fn heard(text: &str) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// True if it is to end.
fn stops(signals: &mut Signals) -> bool {
    std::iter::from_fn(|| signals.next_signal().ok().flatten()).any(|signal| signal == Signal::Stop)
}

/// Waits until the director is to be asked again, has gone, or a signal comes. True if the reader of `out` has gone.
fn wait(signals: &Signals, asker: &Asker, out: Option<io::Stdout>) -> bool {
    let files = std::iter::once(signals.as_fd()).chain(asker.socket());
    let mut files: Vec<PollFd> = files.map(|file| PollFd::new(file, PollFlags::POLLIN)).collect();
    files.extend(out.as_ref().map(|out| PollFd::new(out.as_fd(), PollFlags::empty())));
    // An interrupted wait is a short one.
    _ = poll(&mut files, PollTimeout::try_from(PERIOD).unwrap_or(PollTimeout::ZERO));
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    out.is_some() && files.pop().and_then(|out| out.revents()).is_some_and(|seen| seen.intersects(gone))
}
