//! What a run will be: links, routes, services, settings, checked together.
//!
//! Every refusal says what was given, what is wrong and what to do. Never opens a device.

use std::collections::HashSet;

use super::draft::{ByHand, Draft, Planned, Rights, ServiceDraft};
use super::flags::RunArgs;
use super::link::{self, PlannedLink};
use super::place::{At, Place, Problems};
use super::route::{PlannedRoute, routes};
use super::{BEFORE, commands, read_file, validate, vrrp};
use crate::base::{Chance, Endpoint, LinkId, Medium};
use crate::conn::Timeouts;
use crate::director::{Director, Settings};
use crate::health;
use crate::io::{self, Processors};
use crate::router;
use crate::service::MarkRule;
use crate::service::command::{Command, DestOptions, ServiceKey, ServiceOptions, SynProxy};

/// Everything a director is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Links, in order.
    pub links: Vec<PlannedLink>,
    /// Static routes by a neighbour; default gateways are routes to everything.
    pub routes: Vec<PlannedRoute>,
    /// Mark rules, in order.
    pub marks: Vec<MarkRule>,
    /// Timeouts, services and dests.
    pub commands: Vec<Planned>,
    /// Checks of services.
    pub health: Vec<health::Plan>,
    /// Settings.
    pub settings: Settings,
    /// Nobody said `max_flows`: it is what the memory has room for.
    pub any_max_flows: bool,
    /// The processor to run on; where the scheduler puts it without one.
    pub cpu: Option<At<usize>>,
    /// Virtual routers.
    pub vrrp: Vec<crate::vrrp::Options>,
    /// The synchronisation daemons that they bring.
    daemons: Vec<vrrp::Daemons>,
    /// Who handles packets, where that was said.
    pub user: Option<At<String>>,
    /// Which rights the processes keep.
    pub rights: Rights,
    /// Where the metrics are served.
    pub metrics: Option<At<Endpoint>>,
    /// What becomes of rules that were made by hand.
    pub by_hand: ByHand,
}

impl Plan {
    /// True if clients of a service prove themselves before they have a conn, if only under pressure.
    pub fn has_syn_proxy(&self) -> bool {
        let asks = |options: &ServiceOptions| options.syn_proxy != SynProxy::Off;
        self.commands.iter().any(|planned| matches!(&planned.command, Command::AddService(_, options) if asks(options)))
    }

    /// Puts the flags together, or what the file says that they name.
    pub fn from_args(args: &RunArgs) -> Result<Plan, Problems> {
        let Some(path) = &args.config else { return Plan::from_draft(args.draft()?) };
        let read = read_file(path)?;
        let rules = args.rules.clone().map(|rules| (rules, Vec::new()));
        let (cpu, user) = (args.cpu_said().or(read.cpu), args.user_said().or(read.user));
        let draft = Draft { rules, cpu, user, sandbox: args.sandbox_said().or(read.sandbox), ..read };
        match args.besides_config().first() {
            Some(flag) => Err(Problems(vec![format!("{flag}: not with --config; say it in {}", path.display())])),
            None => Plan::from_draft(draft),
        }
    }

    /// Checks a draft as a whole; its services are tried on a director without devices.
    pub fn from_draft(draft: Draft) -> Result<Plan, Problems> {
        let mut problems = Problems::default();
        let links: Vec<PlannedLink> = draft.links.iter().filter_map(|link| link::plan(link, &mut problems)).collect();
        link::differ(&draft.links, &links, &mut problems);
        let mut plan = Plan {
            routes: routes(&draft, &links, &mut problems),
            links,
            marks: draft.marks,
            commands: vec![timeouts(draft.timeouts)],
            health: Vec::new(),
            any_max_flows: !says_max_flows(&draft.settings, draft.max_flows.as_ref()),
            settings: settings(&draft.settings, draft.max_flows, &mut problems),
            cpu: draft.cpu,
            vrrp: Vec::new(),
            daemons: Vec::new(),
            rights: Rights::of(draft.sandbox, draft.user.is_some()),
            user: draft.user,
            metrics: draft.metrics,
            by_hand: draft.by_hand,
        };
        // What services lack because of a link would be said about each of them.
        problems.none_or(())?;
        let mut problems = Problems::default();
        if let Some((path, locals)) = &draft.rules {
            match commands::from_rules(path, locals) {
                Ok(rules) => plan.commands.extend(rules),
                Err(sentence) => problems.0.push(sentence),
            }
        }
        for service in &draft.services {
            plan.commands.extend(commands::commands(service, &mut problems));
            plan.health.extend(commands::health(service, &mut problems));
        }
        for At { value: (role, options), place } in draft.syncs {
            plan.commands.push(Planned { command: Command::StartDaemon(role, options), place, fields: Vec::new() });
        }
        let virtuals = plan.commands.iter().filter_map(|planned| match &planned.command {
            Command::AddService(ServiceKey::Address(_, vip), _) => Some(vip.addr),
            _ => None,
        });
        plan.vrrp = vrrp::options(&draft.vrrps, &plan.links, &virtuals.collect::<Vec<_>>(), &mut problems);
        plan.daemons = vrrp::Daemons::of(&draft.vrrps, &plan.links);
        match plan.rehearse() {
            Ok(mut director) => try_sorry_servers(&mut director, &draft.services, &plan.health, &mut problems),
            Err(others) => problems.0.extend(others.0),
        }
        problems.none_or(plan)
    }

    /// A director that has everything but devices and room for flows.
    pub fn rehearse(&self) -> Result<Director, Problems> {
        let devices = self.links.iter().map(|link| &link.device);
        let links: Vec<_> =
            devices.map(|device| (device.tap.clone().unwrap_or_default(), device.mtu.unwrap_or(1500))).collect();
        self.rehearse_on(&links)
    }

    /// As `rehearse`, with the names and MTUs that links have got meanwhile.
    pub fn rehearse_on(&self, links: &[(String, u16)]) -> Result<Director, Problems> {
        self.director(Settings { max_flows: 1, ..self.settings.clone() }, links, Chance::KNOWN)
    }

    /// The director; `opened` tells name and MTU of each link.
    pub fn director(&self, settings: Settings, opened: &[(String, u16)], chance: Chance) -> Result<Director, Problems> {
        let mut director = Director::new(settings, chance);
        for (planned, (name, mtu)) in self.links.iter().zip(opened) {
            let (mac, addresses) = (planned.device.mac, planned.addresses.clone());
            let link = router::Link { name: name.clone(), mac, mtu: *mtu, addresses };
            let id = match planned.device.medium {
                Medium::Ethernet => director.router.add_link(link),
                Medium::Ip => director.router.add_ip_link(link),
            };
            director.outbound.set_policy(id, planned.policy.clone());
            let bridge = &planned.device.bridge;
            if let Some(first) = self.links.iter().position(|other| bridge.is_some() && other.device.bridge == *bridge)
            {
                director.router.bridge_with(id, LinkId(first as u8));
            }
        }
        for PlannedRoute { to, via, link } in &self.routes {
            // By the link that the neighbour is on, which was checked.
            if let Some(link) = link.or(director.router.routes.lookup(*via).map(|(link, _)| link)) {
                director.router.routes.add(*to, Some(*via), link);
            }
        }
        director.set_marks(self.marks.iter().cloned().collect(), BEFORE);
        // Before services come, whose addresses would be announced.
        director.presence().set_vrrp(self.vrrp.clone());
        self.apply(&mut director, opened)?;
        Ok(director)
    }

    fn apply(&self, director: &mut Director, links: &[(String, u16)]) -> Result<(), Problems> {
        let mut problems = Problems::default();
        let daemons = self.daemons.iter().flat_map(|daemons| {
            let planned = |command| Planned { command, place: daemons.place.clone(), fields: Vec::new() };
            daemons.commands(links).map(planned)
        });
        let daemons: Vec<Planned> = daemons.collect();
        let mut refused: HashSet<ServiceKey> = HashSet::new();
        for planned in self.commands.iter().chain(&daemons) {
            let key = validate::service_of(&planned.command);
            // What a refused service would have had is no problem of its own.
            if key.is_some_and(|key| refused.contains(&key)) {
                continue;
            }
            let checked = validate::command(director, &planned.command);
            let done = checked.and_then(|()| {
                let applied = director.apply(&planned.command, BEFORE);
                applied.map_err(|refused| validate::explain(refused, &planned.command))
            });
            if let Err((field, what)) = done {
                problems.add(planned.place_of(field), what);
                refused.extend(key.filter(|_| matches!(planned.command, Command::AddService(..))));
            }
        }
        problems.none_or(())
    }
}

/// Puts the calling thread on the processor that was said, or gives it back those of `usual`.
pub fn run_on_processor(cpu: Option<&At<usize>>, usual: &Processors) -> Result<(), Problems> {
    let place = cpu.map_or_else(|| Place::flag("cpu", ""), |cpu| cpu.place.clone());
    usual.run_on(cpu.map(|cpu| cpu.value)).map_err(|what| Problems(vec![format!("{place}: {what}")]))
}

/// A sorry server must be one that the service could have as a server.
fn try_sorry_servers(
    director: &mut Director,
    drafts: &[ServiceDraft],
    plans: &[health::Plan],
    problems: &mut Problems,
) {
    for plan in plans {
        let Some((real, method)) = plan.policy.sorry else { continue };
        let draft = drafts.iter().find(|draft| draft.key == plan.key);
        let Some(sorry) = draft.and_then(|draft| draft.sorry.as_ref()) else { continue };
        let command = Command::AddDest(plan.key, real, DestOptions { method, ..DestOptions::default() });
        let tried = validate::command(director, &command)
            .and_then(|()| director.apply(&command, BEFORE).map_err(|refused| validate::explain(refused, &command)));
        // One that is a server of the service too is taken.
        let services = &director.flows.services;
        let known = services.dests_of(&plan.key).iter().any(|dest| services.server(*dest).endpoint == real);
        if let Err((_, what)) = tried.or_else(|problem| if known { Ok(()) } else { Err(problem) }) {
            problems.add(&sorry.place, what);
        }
    }
}

fn says_max_flows(said: &[At<(String, String)>], max_flows: Option<&At<u64>>) -> bool {
    max_flows.is_some() || said.iter().any(|setting| setting.value.0 == "max_flows")
}

fn settings(said: &[At<(String, String)>], max_flows: Option<At<u64>>, problems: &mut Problems) -> Settings {
    let mut settings = Settings::default();
    for At { value: (name, value), place } in said {
        if let Err(what) = settings.set(name, value) {
            problems.add(place, what);
        }
    }
    if !says_max_flows(said, max_flows.as_ref()) {
        settings.max_flows = io::room_for_conns();
    }
    if let Some(At { value, place }) = max_flows
        && let Err(what) = settings.set("max_flows", &value.to_string())
    {
        problems.add(&place, what);
    }
    if let Err(what) = settings.check() {
        problems.0.push(what);
    }
    settings
}

fn timeouts(said: [Option<u32>; 3]) -> Planned {
    let defaults = Timeouts::default();
    let [tcp, tcp_fin, udp] = said;
    let command = Command::SetTimeouts {
        tcp: tcp.unwrap_or(defaults.tcp),
        tcp_fin: tcp_fin.unwrap_or(defaults.tcp_fin),
        udp: udp.unwrap_or(defaults.udp),
    };
    Planned { command, place: Place::flag("timeouts", ""), fields: Vec::new() }
}
