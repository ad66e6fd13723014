//! What must be done so that one set of rules becomes another.
//!
//! Pure: rules in, commands out. The order of dests is no difference: a dest that is added comes first, as ever.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::base::Endpoint;
use crate::conn::Timeouts;
use crate::director::{Director, Settings};
use crate::router::Routes;
use crate::service::command::{Command, ServiceKey};
use crate::service::{Marks, Service};

/// The rules that would make a director's services, timeouts and synchronisation daemons, in an order in which they can
/// be carried out.
pub fn rules_of(director: &Director) -> Vec<Command> {
    let mut rules = common_rules(director);
    director.flows.services.iter().for_each(|service| add_rules(director, service, &mut rules));
    add_daemons(director, &mut rules);
    rules
}

/// The rules that stand before those of services.
pub fn common_rules(director: &Director) -> Vec<Command> {
    let Timeouts { tcp, tcp_fin, udp, .. } = director.flows.timeouts;
    vec![Command::SetTimeouts { tcp, tcp_fin, udp }]
}

/// The rules of one service.
pub fn add_rules(director: &Director, service: &Service, rules: &mut Vec<Command>) {
    rules.push(Command::AddService(service.key, service.options.clone()));
    rules.extend(service.locals.iter().map(|local| Command::AddLocalAddress(service.key, *local)));
    // The head of the list was added last.
    for id in service.dests.iter().rev() {
        let real = director.flows.services.server(*id).endpoint;
        rules.push(Command::AddDest(service.key, real, director.flows.services.dest_options(*id)));
    }
}

/// The rules that stand behind those of services.
pub fn add_daemons(director: &Director, rules: &mut Vec<Command>) {
    rules.extend(director.sync.daemons().map(|(role, options)| Command::StartDaemon(role, options.clone())));
}

/// A command, and the rule that it replaces, if it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What to do.
    pub command: Command,
    /// What was there before.
    pub was: Option<Command>,
}

/// Rules, to look things up in: each service, server and local address with the rule that made it.
#[derive(Default)]
struct Lookup<'a> {
    services: HashMap<ServiceKey, &'a Command>,
    dests: HashMap<(ServiceKey, Endpoint), &'a Command>,
    locals: HashSet<(ServiceKey, IpAddr)>,
    timeouts: Option<&'a Command>,
    daemons: Vec<&'a Command>,
}

impl<'a> Lookup<'a> {
    fn new(rules: &'a [Command]) -> Lookup<'a> {
        let mut lookup = Lookup::default();
        for rule in rules {
            match rule {
                Command::AddService(key, _) => _ = lookup.services.insert(*key, rule),
                Command::AddDest(key, real, _) => _ = lookup.dests.insert((*key, *real), rule),
                Command::AddLocalAddress(key, local) => _ = lookup.locals.insert((*key, *local)),
                Command::SetTimeouts { .. } => lookup.timeouts = Some(rule),
                Command::StartDaemon(..) => lookup.daemons.push(rule),
                other => debug_assert!(false, "no rule: {other:?}"),
            }
        }
        lookup
    }

    /// The rule of the same service, server or kind.
    fn like(&self, rule: &Command) -> Option<&'a Command> {
        match rule {
            Command::AddService(key, _) => self.services.get(key).copied(),
            Command::AddDest(key, real, _) => self.dests.get(&(*key, *real)).copied(),
            Command::SetTimeouts { .. } => self.timeouts,
            _ => None,
        }
    }
}

/// The changes that turn the rules `old` into `new`: what goes, then what changes and comes, in the order of `new`.
///
/// What is the same in both is not touched: conns, counters and schedulers' states stay.
pub fn diff(old: &[Command], new: &[Command]) -> Vec<Change> {
    let (before, after) = (Lookup::new(old), Lookup::new(new));
    let gone = old.iter().filter_map(|rule| match rule {
        Command::AddService(key, _) if !after.services.contains_key(key) => Some(Command::DeleteService(*key)),
        Command::AddDest(key, real, _) if !after.dests.contains_key(&(*key, *real)) => {
            after.services.contains_key(key).then_some(Command::DeleteDest(*key, *real))
        }
        Command::AddLocalAddress(key, local) if !after.locals.contains(&(*key, *local)) => {
            after.services.contains_key(key).then_some(Command::DeleteLocalAddress(*key, *local))
        }
        Command::StartDaemon(role, _) if !after.daemons.contains(&rule) => Some(Command::StopDaemon(*role)),
        _ => None,
    });
    let come = new.iter().filter_map(|rule| {
        let is_there = match rule {
            Command::AddLocalAddress(key, local) => before.locals.contains(&(*key, *local)),
            Command::StartDaemon(..) => before.daemons.contains(&rule),
            other => before.like(other) == Some(other),
        };
        if is_there {
            return None;
        }
        let was = before.like(rule).cloned();
        let command = match rule.clone() {
            Command::AddService(key, options) if was.is_some() => Command::EditService(key, options),
            Command::AddDest(key, real, options) if was.is_some() => Command::EditDest(key, real, options),
            rule => rule,
        };
        Some(Change { command, was })
    });
    gone.map(|command| Change { command, was: None }).chain(come).collect()
}

/// What a configuration wants of a director: all that can change while it runs.
#[derive(Clone, Default)]
pub struct Wanted {
    /// Settings.
    pub settings: Settings,
    /// Routes.
    pub routes: Routes,
    /// Mark rules.
    pub marks: Marks,
    /// Virtual routers.
    pub vrrp: Vec<crate::vrrp::Options>,
    /// Timeouts, services, servers, synchronisation daemons.
    pub rules: Vec<Command>,
}

impl Wanted {
    /// What a director has.
    pub fn of(director: &Director) -> Wanted {
        Wanted {
            settings: director.flows.settings.clone(),
            routes: director.router.routes.clone(),
            marks: director.flows.services.marks().clone(),
            vrrp: director.vrrp.wanted().to_vec(),
            rules: rules_of(director),
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::base::{Chance, Family, Instant, Proto, Rng};
    use crate::sched;
    use crate::service::command::{DestOptions, Method, Persistence, ServiceOptions, Tunnel};

    const NOW: Instant = Instant::START;

    fn director(rules: &[Command]) -> Director {
        let mut director = Director::new(Settings { max_flows: 1, ..Settings::default() }, Chance::KNOWN);
        apply(&mut director, rules);
        director
    }

    fn apply(director: &mut Director, commands: &[Command]) {
        commands
            .iter()
            .for_each(|command| director.apply(command, NOW).unwrap_or_else(|why| panic!("{command:?}: {why}")));
    }

    fn commands(changes: Vec<Change>) -> Vec<Command> {
        changes.into_iter().map(|change| change.command).collect()
    }

    fn one_of<T: Clone>(rng: &mut Rng, choices: &[T]) -> T {
        choices[rng.below(choices.len() as u64) as usize].clone()
    }

    fn random_service(rng: &mut Rng) -> ServiceKey {
        let vip = Endpoint::new(IpAddr::from([10, 0, 0, 100 + rng.below(2) as u8]), 80 + rng.below(2) as u16);
        match rng.below(4) {
            0 => ServiceKey::Mark(Family::V4, 1 + rng.below(2) as u32),
            1 => ServiceKey::Address(Proto::UDP, vip),
            _ => ServiceKey::Address(Proto::TCP, vip),
        }
    }

    /// A few services with a few dests out of small sets, so that two such configurations have much in common.
    fn random_rules(rng: &mut Rng) -> Vec<Command> {
        let seconds = 100 + rng.below(2) as u32;
        let mut rules = vec![Command::SetTimeouts { tcp: seconds, tcp_fin: 7, udp: seconds }];
        let mut keys: Vec<ServiceKey> = (0..rng.below(6)).map(|_| random_service(rng)).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let persistence = one_of(rng, &[None, Some(Persistence { timeout: 60 })]);
            let scheduler = one_of(rng, sched::NAMES).to_owned();
            let defaults = ServiceOptions::defaults(Family::V4);
            rules.push(Command::AddService(key, ServiceOptions { scheduler, persistence, ..defaults }));
            for last in (21..24).filter(|_| rng.below(2) == 0).collect::<Vec<u8>>() {
                rules.push(Command::AddLocalAddress(key, IpAddr::from([10, 0, 0, last + 10])));
            }
            for last in (21..25).filter(|_| rng.below(3) > 0).collect::<Vec<u8>>() {
                let methods = [Method::Nat, Method::Direct, Method::FullNat, Method::Tunnel(Tunnel::Ipip)];
                let (upper, lower) = one_of(rng, &[(0, 0), (5, 0), (5, 4)]);
                let (method, weight) = (one_of(rng, &methods), rng.below(3) as u32);
                let options = DestOptions { method, weight, upper, lower, ..DestOptions::default() };
                rules.push(Command::AddDest(key, Endpoint::new(IpAddr::from([10, 0, 0, last]), 80), options));
            }
        }
        rules
    }

    fn as_text(rules: &[Command]) -> Vec<String> {
        let mut lines: Vec<String> = rules.iter().map(|rule| format!("{rule:?}")).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_director_with_the_difference_applied_is_as_one_made_anew() {
        let mut rng = Rng::seeded(3);
        for _ in 0..2000 {
            let (old, new) = (random_rules(&mut rng), random_rules(&mut rng));
            let mut director = director(&old);
            assert_eq!(as_text(&rules_of(&director)), as_text(&old));
            let changes = commands(diff(&rules_of(&director), &new));
            apply(&mut director, &changes);
            assert_eq!(as_text(&rules_of(&director)), as_text(&new), "{old:?}\n{new:?}\n{changes:?}");
            assert_eq!(diff(&rules_of(&director), &new), []);
        }
    }

    #[test]
    fn what_is_the_same_is_not_touched() {
        let mut rng = Rng::seeded(4);
        for _ in 0..200 {
            let rules = random_rules(&mut rng);
            let mut other = rules.clone();
            let Some(place) = rules.iter().rposition(|rule| matches!(rule, Command::AddDest(..))) else { continue };
            other.remove(place);
            let Command::AddDest(key, real, _) = &rules[place] else { continue };
            assert_eq!(commands(diff(&rules, &other)), [Command::DeleteDest(*key, *real)]);
            assert_eq!(commands(diff(&other, &rules)), [rules[place].clone()]);
        }
    }
}
