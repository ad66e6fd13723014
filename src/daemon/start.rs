//! `tapvs run`: from flags to a running director.
//!
//! Everything is checked before anything on the host is touched. Never handles a packet.

use super::{Daemon, reload};
use crate::base::{LinkId, Mac};
use crate::config::{Plan, RunArgs, spec};
use crate::control;
use crate::director::Director;
use crate::io::{self, Link, Processors, Signals};
use crate::router;
use crate::settings::Settings;

/// Runs until stopped; an error is a sentence a line for the operator.
pub fn run(args: RunArgs) -> Result<(), String> {
    let plan = Plan::from_args(&args).map_err(|problems| problems.to_string())?;
    let seed = io::random_u64().map_err(|error| format!("cannot read random bytes: {error}"))?;
    // Before the TAP exists: a signal that comes meanwhile must not leave it behind.
    let signals = Signals::open().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let usual = Processors::allowed();
    if plan.cpu.is_some() {
        plan.run_on_processor(&usual).map_err(|problems| problems.to_string())?;
    }
    let links = plan.links.iter().map(|link| Link::open(&link.device)).collect::<Result<Vec<_>, _>>();
    let links = links.map_err(|error| error.to_string())?;
    let opened: Vec<(String, u16)> = links.iter().map(|link| (link.name().to_owned(), link.mtu())).collect();
    let first = opened.first().map_or("tapvs", |(name, _)| name);
    let listener = control::open(args.name.as_deref(), args.socket.as_deref(), first)?;
    let mut director = plan.director(plan.settings.clone(), &opened, seed).map_err(|problems| problems.to_string())?;
    // Without them it is only slower.
    match io::use_large_pages() {
        Ok(bytes) => log::debug!("large pages asked for in {} MiB", bytes >> 20),
        Err(error) => log::debug!("no large pages: {error}"),
    }
    allow_tunnels(&mut director, &links);
    introduce(&director, &links);
    let reload = reload::reload(args, plan, usual);
    let daemon = Daemon::new(director, links, signals, listener, reload)
        .map_err(|error| format!("cannot start the loop: {error}"))?;
    daemon.run().map_err(|error| error.to_string())
}

/// What only the opened devices tell: where superframes may leave inside UDP tunnels.
fn allow_tunnels(director: &mut Director, links: &[Link]) {
    let ids: Vec<LinkId> = director.router.links().map(|(id, _)| id).collect();
    for (id, _) in ids.into_iter().zip(links).filter(|(_, link)| link.offloads().tunnel) {
        director.router.allow_tunnels(id);
    }
}

fn introduce(director: &Director, links: &[Link]) {
    director.settings.without_effect(&Settings::default()).iter().for_each(|line| log::warn!("{line}"));
    for ((_, link), device) in director.router.links().zip(links) {
        let router::Link { name, mac, mtu, addresses } = link;
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let mac = if *mac == Mac::ZERO { String::new() } else { format!(" mac {mac}") };
        log::info!("{name}: {}{mac} mtu {mtu} offloads {}", addresses.join(" "), device.offloads());
    }
    for service in director.services.iter() {
        log::info!("service {} scheduler {}", spec::key_text(service.key), service.options.scheduler);
        for dest in &service.dests {
            let (server, dest) = (director.services.server(*dest), director.services.dest(*dest));
            log::info!("  server {} {} weight {}", server.endpoint, spec::method_text(dest.method), server.weight);
        }
    }
}
