//! The worker's start: from flags and what the keeper gave to a running director.
//!
//! Never opens a device and never handles a packet.

use std::fs::File;
use std::io::{Error, ErrorKind, PipeReader, Read};
use std::os::fd::{IntoRawFd, RawFd};

use mio::net::TcpListener;

use super::background::Background;
use super::checks::Checks;
use super::reload::Started;
use super::restore::restore;
use super::{Daemon, Keeper};
use crate::base::{Chance, Family, Instant, LinkId, Mac};
use crate::config::{self, Plan, RunArgs, spec};
use crate::control::protocol::WorkerEntry;
use crate::director::{Batch, Director};
use crate::io::{self, Channel, FastKernel, Link, Listener, Processors, Signals};
use crate::keeper::messages::{Given, ToKeeper, VARIABLE, decode};
use crate::router::{self, Turn};
use crate::settings::{Fast, Settings};
use crate::state::{Draft, State};
use crate::wires::Wires;

/// Runs until stopped; an error is a sentence a line for the operator.
pub fn run(args: RunArgs) -> Result<(), String> {
    let given = std::env::var(VARIABLE).ok().and_then(|text| decode::<Given>(text.as_bytes()));
    let given = given.ok_or_else(|| format!("{VARIABLE} is set and is not what a keeper says; unset it"))?;
    // The program is started as /proc/self/exe.
    io::set_name(c"tapvs-worker");
    let signals = Signals::open().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let mut taken = take(&given).map_err(|error| format!("cannot use what the keeper has opened: {error}"))?;
    match give_up_rights(&given).and_then(|background| prepare(&args, background, &given, &mut taken)) {
        Ok(prepared) => go(args, prepared, taken, signals, &given),
        Err(why) => {
            if given.beside {
                taken.keeper.tell(&ToKeeper::Unable(why.clone()));
            }
            Err(why)
        }
    }
}

/// All that can be done before conns are at hand.
struct Prepared {
    plan: Plan,
    usual: Processors,
    background: Background,
    chance: Chance,
    director: Director,
    draft: Option<Draft>,
}

/// Gives up all rights before anything that others have written is read; what is asked of the system once, is asked
/// before. The thread is started between: it has the rights of the thread that starts it.
fn give_up_rights(given: &Given) -> Result<Background, String> {
    let mut sandbox = given.sandbox.clone();
    if let Some(sandbox) = &mut sandbox {
        sandbox.heed(io::give_up_all(sandbox.user.as_ref()))?;
    }
    if let Some(lifeline) = given.lifeline {
        watch_keeper(lifeline).map_err(|error| format!("cannot ask for the keeper's end: {error}"))?;
    }
    let background = Background::start().map_err(|error| format!("cannot start a thread: {error}"))?;
    io::learn_host();
    if let Some(sandbox) = &mut sandbox {
        sandbox.heed(io::enclose_worker().map_err(|error| format!("seccomp: {error}")))?;
    }
    Ok(background)
}

/// The kernel ends this process when the keeper ends, whoever they are: a signal from a parent that ends
/// (PR_SET_PDEATHSIG) does not reach a process of another user.
fn watch_keeper(lifeline: RawFd) -> Result<(), Error> {
    let mut lifeline = PipeReader::from(io::inherited(lifeline)?);
    io::end_when_closed(&lifeline)?;
    // It may have ended before; as long as it has not there is nothing to read.
    match lifeline.read_exact(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            // Open for as long as this process is there.
            let _ = lifeline.into_raw_fd();
            Ok(())
        }
        _ => Err(Error::other("it has ended")),
    }
}

fn prepare(args: &RunArgs, background: Background, given: &Given, taken: &mut Taken) -> Result<Prepared, String> {
    let usual = Processors::allowed();
    let plan = Plan::from_args(args).map_err(|problems| problems.to_string())?;
    if plan.settings.fast == Fast::On
        && let Some(maps) = &taken.fast_maps
    {
        maps.check().map_err(|why| format!("setting fast: {why}; or set fast to auto or off"))?;
    }
    let chance = draw().map_err(|error| format!("cannot read random bytes: {error}"))?;
    if plan.cpu.is_some() {
        config::run_on_processor(plan.cpu.as_ref(), &usual).map_err(|problems| problems.to_string())?;
    }
    let opened: Vec<(String, u16)> = taken.links.iter().map(|link| (link.name().to_owned(), link.mtu())).collect();
    // A table of the whole size is made once: here, or in the memory of the state.
    let max_flows = if taken.state.is_some() { 1 } else { plan.settings.max_flows };
    let settings = Settings { max_flows, ..plan.settings.clone() };
    let mut director = plan.director(settings, &opened, chance).map_err(|problems| problems.to_string())?;
    director.flows.settings.max_flows = plan.settings.max_flows;
    allow_tunnels(&mut director, &taken.links);
    if given.beside
        && let Some(file) = &taken.state
    {
        State::check(file)?;
    }
    // The other worker goes on meanwhile.
    let draft = taken.state.as_ref().filter(|_| given.beside).and_then(|file| State::draft(file, &director));
    Ok(Prepared { plan, usual, background, chance, director, draft })
}

fn go(
    args: RunArgs,
    Prepared { plan, usual, background, chance, mut director, draft }: Prepared,
    mut taken: Taken,
    signals: Signals,
    given: &Given,
) -> Result<(), String> {
    // Before frames wait: what holds frames is large.
    let buffers = (Turn::new(Wires::new(std::mem::take(&mut taken.links))), Batch::default());
    let active =
        if given.beside { taken.keeper.wait_for_turn().ok_or("the keeper has ended")? } else { given.active.clone() };
    director.vrrp.resume(active.iter().map(|router| (LinkId(router.link), router.id, family(router.six))));
    let is_replacement = given.beside || given.restarts > 0;
    if !is_replacement {
        introduce(&director, &buffers.0.out.links);
    }
    let has_table = taken.state.is_none();
    let file = taken.state.take();
    let restored =
        file.and_then(|file| restore(&mut director, &plan, (file, draft), is_replacement, &mut taken.keeper));
    let (state, left) = restored.map(|(state, epoch, left)| ((state, epoch), left)).unzip();
    if state.is_none() && !has_table {
        director.flows.make_table(chance.key);
    }
    // Without them it is only slower.
    match io::use_large_pages(director.flows.conns.memory()) {
        Ok(bytes) => log::debug!("large pages asked for in {} MiB", bytes >> 20),
        Err(error) => log::debug!("no large pages: {error}"),
    }
    let checks = Checks::new(plan.health.clone(), chance.seed, Instant::START);
    let start = Started { args, plan, usual };
    let daemon = Daemon::new((director, state), (taken, buffers), (signals, background), checks, start);
    let mut daemon = daemon.map_err(|error| format!("cannot start the loop: {error}"))?;
    daemon.left = left.flatten();
    daemon.run().map_err(|error| error.to_string())
}

fn draw() -> Result<Chance, Error> {
    Ok(Chance { key: [io::random_u64()?, io::random_u64()?], seed: io::random_u64()? })
}

fn family(six: bool) -> Family {
    if six { Family::V6 } else { Family::V4 }
}

/// What a keeper gave, taken over.
pub(super) struct Taken {
    /// In the order in which the director knows them.
    pub links: Vec<Link>,
    /// Without one nobody can change anything.
    pub listener: Option<Listener>,
    /// Without one nobody scrapes.
    pub metrics: Option<TcpListener>,
    pub keeper: Keeper,
    /// The file of the state.
    pub state: Option<File>,
    /// What is told of this worker and those before it.
    pub history: WorkerEntry,
    /// Maps of the fast path, if there is one.
    pub fast_maps: Option<FastKernel>,
}

fn take(given: &Given) -> Result<Taken, Error> {
    io::read_through(Channel::inherited(io::inherited(given.files)?));
    let links = given.links.iter().map(|(fd, facts)| Ok(Link::new(io::inherited(*fd)?, facts.clone())));
    let listener =
        given.listener.as_ref().map(|(fd, path)| Listener::inherited(io::inherited(*fd)?, path.clone(), given.owner));
    Ok(Taken {
        links: links.collect::<Result<Vec<_>, Error>>()?,
        listener: listener.transpose()?,
        metrics: given.metrics.map(take_metrics).transpose()?,
        state: given.state.map(|fd| io::inherited(fd).map(File::from)).transpose()?,
        history: history(given),
        fast_maps: given.fast.as_ref().map(FastKernel::inherited).transpose()?,
        keeper: Keeper::new(Channel::inherited(io::inherited(given.channel)?)),
    })
}

fn history(given: &Given) -> WorkerEntry {
    let Given { keeper, restarts, reason, upgrades, .. } = given.clone();
    WorkerEntry { keeper, restarts, reason, upgrades, up: 0 }
}

fn take_metrics(fd: RawFd) -> Result<TcpListener, Error> {
    let listener = std::net::TcpListener::from(io::inherited(fd)?);
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener))
}

/// What only the opened devices tell: where superframes may leave inside UDP tunnels.
fn allow_tunnels(director: &mut Director, links: &[Link]) {
    let ids: Vec<LinkId> = director.router.links().map(|(id, _)| id).collect();
    for (id, _) in ids.into_iter().zip(links).filter(|(_, link)| link.offloads().tunnel) {
        director.router.allow_tunnels(id);
    }
}

/// Services that are named at the start; more would only hide what else is said.
const INTRODUCED: usize = 50;

fn introduce(director: &Director, links: &[Link]) {
    director.flows.settings.without_effect(&Settings::default()).iter().for_each(|line| log::warn!("{line}"));
    for ((_, link), device) in director.router.links().zip(links) {
        let router::Link { name, mac, mtu, addresses } = link;
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let mac = if *mac == Mac::ZERO { String::new() } else { format!(" mac {mac}") };
        log::info!("{name}: {}{mac} mtu {mtu} offloads {}", addresses.join(" "), device.offloads());
    }
    for service in director.flows.services.iter().take(INTRODUCED) {
        log::info!("service {} scheduler {}", spec::key_text(service.key), service.options.scheduler);
        for dest in &service.dests {
            let (server, dest) = (director.flows.services.server(*dest), director.flows.services.dest(*dest));
            log::info!("  server {} {} weight {}", server.endpoint, dest.method.words().name, server.weight);
        }
    }
    match director.flows.services.len().saturating_sub(INTRODUCED) {
        0 => {}
        more => log::info!("and {more} services more"),
    }
}
