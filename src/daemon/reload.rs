//! Reload: the configuration is read anew, and only what differs from the running director is done.
//!
//! A bad configuration, or one that needs a restart, changes nothing. Packets do not wait: a thread reads the files,
//! tries the plan and compares the rules; the loop copies its own rules for it and carries the changes out, in parts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use super::background::Background;
use super::change::{COMMANDS_A_TURN, Changed, LOOKED_AT_A_TURN, Progress};
use super::fixed::{Running, check_fixed, sandbox_text};
use crate::base::Instant;
use crate::config::{self, At, Plan, Problems, RunArgs, Wanted, describe};
use crate::control::protocol::Reply;
use crate::director::Director;
use crate::health;
use crate::io::Processors;
use crate::router::Routes;
use crate::service::Marks;
use crate::service::command::Command;
use crate::settings::{self, Effect};
use crate::vrrp;

/// Changes that are told one by one; the others are counted.
const TOLD: usize = 200;

/// Tells the loop that a thread has an answer.
pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

/// What a daemon was started with.
pub(super) struct Started {
    pub(super) args: RunArgs,
    pub(super) plan: Plan,
    /// The processors that the process may use.
    pub(super) usual: Processors,
}

/// How a daemon reads again what it was started with.
pub(super) struct Reload {
    args: RunArgs,
    running: Running,
    /// The processors that the process was started with.
    usual: Processors,
    background: Background,
    wake: Wake,
}

/// What a thread has read and tried.
pub(super) struct Fresh {
    cpu: Option<At<usize>>,
    health: Vec<health::Plan>,
    wanted: Wanted,
}

/// Changes in order, the first ones with the words that tell of them.
type Changes = VecDeque<(Command, Option<String>)>;

/// Where a reload is on its way.
pub(super) enum Stage {
    /// A thread reads and tries the files.
    Reading(Receiver<Result<Fresh, Problems>>),
    /// The director's rules are copied: those copied so far, and the slot of the next.
    Copying(Fresh, Vec<Command>, u32),
    /// A thread compares them with the wanted ones, and gives these back.
    Comparing(Fresh, Receiver<(Changes, Vec<Command>)>),
    /// The differences are done, and told by these lines; how many there are, and what comes last.
    Applying(Changes, Vec<String>, usize, Last),
}

/// What comes when all differences are done: checks, and the rules of the configuration for the state.
pub(super) struct Last {
    health: Vec<health::Plan>,
    configured: Vec<Command>,
}

impl Stage {
    /// True while the director's rules must stay as they are for others.
    pub(super) fn holds_rules(&self) -> bool {
        !matches!(self, Stage::Reading(_))
    }
}

impl Reload {
    pub(super) fn new(started: Started, background: Background, wake: Wake) -> Reload {
        let Started { args, plan, usual } = started;
        let sandbox = sandbox_text(&plan);
        let (cpu, metrics) = (plan.cpu.map(|cpu| cpu.value), plan.metrics.map(|at| at.value));
        let running =
            Running { sandbox, links: plan.links, settings: plan.settings, metrics, health: plan.health, cpu };
        Reload { args, running, usual, background, wake }
    }

    /// The thread for what packets do not wait for.
    pub(super) fn background(&self) -> &Background {
        &self.background
    }

    /// The first stage; an error is a sentence.
    pub(super) fn start(&self, director: &Director) -> Result<Stage, String> {
        if !self.args.can_be_read_again() {
            return Err("there is no file to read again: this instance was configured by flags".into());
        }
        let (args, running) = (self.args.clone(), self.running.clone());
        let links: Vec<_> = director.router.links().map(|(_, link)| (link.name.clone(), link.mtu)).collect();
        self.ask(move || read(&args, &running, &links)).map(Stage::Reading)
    }

    /// Has the thread work out an answer, on any processor but the one that is kept for packets.
    fn ask<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<Receiver<T>, String> {
        let (answer, receiver) = channel();
        let wake = self.wake.clone();
        let given = self.background.run(move || {
            let _ = answer.send(work());
            wake();
        });
        if given { Ok(receiver) } else { Err("the thread that read the configuration has failed before".into()) }
    }

    /// Does a part of a reload.
    pub(super) fn turn(&mut self, stage: &mut Stage, changed: &mut Changed, now: Instant) -> Progress {
        match self.next(stage, changed, now) {
            Ok(progress) => progress,
            Err(problems) => {
                problems.0.iter().for_each(|problem| log::error!("reload: {problem}"));
                log::error!("reload: nothing was changed");
                Progress::Done(Reply::NotReloaded(problems.0))
            }
        }
    }

    fn next(&mut self, stage: &mut Stage, changed: &mut Changed, now: Instant) -> Result<Progress, Problems> {
        let director = &mut *changed.director;
        match stage {
            Stage::Reading(answer) => {
                let Some(fresh) = received(answer)? else { return Ok(Progress::Waits) };
                *stage = Stage::Copying(fresh?, config::common_rules(director), 0);
            }
            Stage::Copying(fresh, rules, slot) => match copy(director, rules, *slot) {
                Some(next) => *slot = next,
                None => {
                    let (rules, wanted) = (std::mem::take(rules), std::mem::take(&mut fresh.wanted.rules));
                    let answer = self.ask(move || (compare(&rules, &wanted), wanted)).map_err(sentence)?;
                    let Fresh { cpu, health, wanted } = fresh;
                    let (health, wanted) = (std::mem::take(health), std::mem::take(wanted));
                    let fresh = Fresh { cpu: cpu.take(), health, wanted };
                    *stage = Stage::Comparing(fresh, answer);
                }
            },
            Stage::Comparing(fresh, answer) => {
                let Some((changes, configured)) = received(answer)? else { return Ok(Progress::Waits) };
                // May be refused by the kernel, so it comes before all that cannot be.
                let mut lines = self.change_processor(fresh.cpu.take())?;
                lines.extend(change_the_rest(director, &fresh.wanted, now)?);
                let count = lines.len() + changes.len();
                let last = Last { health: std::mem::take(&mut fresh.health), configured };
                if let Some(state) = &mut changed.state {
                    state.reloading();
                }
                *stage = Stage::Applying(changes, lines, count, last);
            }
            Stage::Applying(changes, lines, count, last) => {
                apply(changed, changes, lines, now);
                if changes.is_empty() {
                    *count += self.change_checks(std::mem::take(&mut last.health), lines, changed, now);
                    if let Some(state) = &mut changed.state {
                        state.reloaded(std::mem::take(&mut last.configured));
                    }
                    lines.iter().for_each(|line| log::info!("reload: {line}"));
                    log::info!("reload: {count} changes");
                    return Ok(Progress::Done(Reply::Reloaded { lines: std::mem::take(lines), count: *count }));
                }
            }
        }
        Ok(Progress::More)
    }

    /// Checks begin anew only if the configuration has others; how many lines tell of it.
    fn change_checks(
        &mut self,
        health: Vec<health::Plan>,
        lines: &mut Vec<String>,
        changed: &mut Changed,
        now: Instant,
    ) -> usize {
        let before = lines.len();
        if self.running.health != health {
            describe::note_checks(&self.running.health, &health, lines);
            changed.checks.configure(health.clone(), changed.director, now);
            self.running.health = health;
        }
        lines.len() - before
    }

    /// Moves to another processor only if the configuration names another: what a supervisor has set stays otherwise.
    fn change_processor(&mut self, cpu: Option<At<usize>>) -> Result<Vec<String>, Problems> {
        let after = cpu.as_ref().map(|cpu| cpu.value);
        let Some(line) = describe::processor_text(self.running.cpu, after) else { return Ok(Vec::new()) };
        config::run_on_processor(cpu.as_ref(), &self.usual)?;
        self.running.cpu = after;
        Ok(vec![line])
    }
}

fn sentence(what: String) -> Problems {
    Problems(vec![what])
}

/// An answer, if it is there.
fn received<T>(answer: &Receiver<T>) -> Result<Option<T>, Problems> {
    match answer.try_recv() {
        Ok(answer) => Ok(Some(answer)),
        Err(TryRecvError::Empty) => Ok(None),
        Err(TryRecvError::Disconnected) => Err(sentence("the thread that read the configuration has failed".into())),
    }
}

/// Reads the files, and tries what they say on a director without devices.
fn read(args: &RunArgs, running: &Running, links: &[(String, u16)]) -> Result<Fresh, Problems> {
    let plan = Plan::from_args(args)?;
    check_fixed(running, &plan)?;
    let wanted = Wanted::of(&plan.rehearse_on(links)?);
    Ok(Fresh { cpu: plan.cpu, health: plan.health, wanted })
}

/// Copies the rules of some services, from a slot on; the slot to go on with, if there are more.
fn copy(director: &Director, rules: &mut Vec<Command>, slot: u32) -> Option<u32> {
    let enough = rules.len() + LOOKED_AT_A_TURN;
    for (slot, service) in director.flows.services.slots_from(slot) {
        if rules.len() >= enough {
            return Some(slot);
        }
        config::add_rules(director, service, rules);
    }
    config::add_daemons(director, rules);
    None
}

fn compare(before: &[Command], wanted: &[Command]) -> Changes {
    let changes = config::diff(before, wanted);
    let count = changes.len();
    let told = |(index, change): (usize, config::Change)| {
        let words = match index {
            ..TOLD => Some(describe::describe(&change)),
            TOLD => Some(format!("... and {} changes more", count - TOLD)),
            _ => None,
        };
        (change.command, words)
    };
    changes.into_iter().enumerate().map(told).collect()
}

/// Settings, routes and mark rules. The plan was tried as a whole, so nothing is refused half-way.
fn change_the_rest(director: &mut Director, wanted: &Wanted, now: Instant) -> Result<Vec<String>, Problems> {
    let mut lines = Vec::new();
    let in_vain = wanted.settings.without_effect(&director.flows.settings);
    for name in settings::ROWS.iter().filter(|row| row.effect != Effect::AtStart).map(|row| row.name) {
        let both = (director.flows.settings.get(name), wanted.settings.get(name));
        if let (Some(before), Some(after)) = both
            && before != after
        {
            lines.push(format!("~ setting {name} {before} -> {after}"));
            director.set(name, &after).map_err(sentence)?;
        }
    }
    lines.extend(in_vain);
    if director.router.routes != wanted.routes {
        let (before, after) = (&director.router.routes, &wanted.routes);
        let texts = |routes: &Routes| routes.by_neighbour().map(describe::route_text).collect::<Vec<_>>();
        describe::note_moves(&texts(before), &texts(after), &mut lines);
        director.router.set_routes(wanted.routes.clone());
    }
    if *director.flows.services.marks() != wanted.marks {
        let texts = |marks: &Marks| marks.rules().iter().map(describe::mark_text).collect::<Vec<_>>();
        describe::note_moves(&texts(director.flows.services.marks()), &texts(&wanted.marks), &mut lines);
        director.set_marks(wanted.marks.clone(), now);
    }
    if director.vrrp.wanted() != wanted.vrrp {
        let texts = |all: &[vrrp::Options]| all.iter().map(describe::vrrp_text).collect::<Vec<_>>();
        describe::note_moves(&texts(director.vrrp.wanted()), &texts(&wanted.vrrp), &mut lines);
        director.presence().set_vrrp(wanted.vrrp.clone());
    }
    Ok(lines)
}

fn apply(changed: &mut Changed, changes: &mut Changes, lines: &mut Vec<String>, now: Instant) {
    for _ in 0..COMMANDS_A_TURN {
        let Some((command, words)) = changes.pop_front() else { return };
        lines.extend(words);
        if let Err(refused) = changed.apply(&command, now) {
            lines.push(format!("! refused: {refused}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use argh::FromArgs;

    use super::super::checks::Checks;
    use super::*;
    use crate::config::{diff, rules_of};
    use crate::ipvsadm::{Names, dest_line, service_line};
    use crate::service::command::Command;

    /// A file that goes with the test.
    struct File(PathBuf);

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    const LINK: &str = "[[link]]\nbridge = \"br0\"\naddress = \"10.0.0.2/24\"\n";
    const SERVER: &str = "[[service.server]]\nmethod = \"nat\"\n";

    /// A whole reload: the changes, or what is wrong.
    fn reload(reload: &mut Reload, director: &mut Director) -> Result<Vec<String>, Vec<String>> {
        let mut checks = Checks::new(Vec::new(), 1, Instant::START);
        let mut stage = reload.start(director).map_err(|what| vec![what])?;
        loop {
            match reload.turn(
                &mut stage,
                &mut Changed { director: &mut *director, checks: &mut checks, state: None },
                Instant::START,
            ) {
                Progress::More => {}
                Progress::Waits => std::thread::yield_now(),
                Progress::Done(Reply::Reloaded { lines, count }) => {
                    assert!(count >= lines.len());
                    return Ok(lines);
                }
                Progress::Done(Reply::NotReloaded(problems)) => return Err(problems),
                Progress::Done(other) => panic!("{other:?}"),
            }
        }
    }

    fn begun(args: &RunArgs, plan: &Plan) -> Reload {
        let started = Started { args: args.clone(), plan: plan.clone(), usual: Processors::allowed() };
        Reload::new(started, Background::start().unwrap(), Arc::new(|| ()))
    }

    /// What reloads of these texts in turn say, after a start with the first one; each must leave the director as if it
    /// had been started with the text, or as it was.
    fn reloads<const N: usize>(name: &str, first: &str, then: [&str; N]) -> [Result<Vec<String>, Vec<String>>; N] {
        let file = File(std::env::temp_dir().join(format!("tapvs-reload-{}-{name}.toml", std::process::id())));
        let path = file.0.display().to_string();
        std::fs::write(&file.0, first).unwrap();
        let args = RunArgs::from_args(&["run"], &["--config", &path]).unwrap();
        let plan = Plan::from_args(&args).unwrap();
        let mut director = plan.rehearse().unwrap();
        let mut how = begun(&args, &plan);
        then.map(|text| {
            std::fs::write(&file.0, text).unwrap();
            let before = rules_of(&director);
            let said = reload(&mut how, &mut director);
            let wanted =
                if said.is_ok() { rules_of(&Plan::from_args(&args).unwrap().rehearse().unwrap()) } else { before };
            assert_eq!(diff(&rules_of(&director), &wanted), []);
            said.map_err(|problems| problems.into_iter().map(|problem| problem.replace(&path, "FILE")).collect())
        })
    }

    #[test]
    fn a_reload_tells_each_change_and_a_second_one_none() {
        let first = format!(
            "{LINK}[[service]]\ntcp = \"10.0.0.100:80\"\n{SERVER}address = \"10.0.0.21\"\n{SERVER}address = \"10.0.0.22\"\n\
             [[service]]\nudp = \"10.0.0.100:53\"\n[[mark]]\nmark = 7\ndestination = \"10.0.0.101\"\n"
        );
        let second = format!(
            "{LINK}[[service]]\ntcp = \"10.0.0.100:80\"\nscheduler = \"rr\"\nlocal_address = \"10.0.0.30\"\n\
             {SERVER}address = \"10.0.0.21\"\nweight = 3\n{SERVER}address = \"10.0.0.23:8080\"\nupper = 9\n\
             [[service]]\nmark = 7\npersistent = 60\n[[mark]]\nmark = 8\nprotocol = \"tcp\"\nports = 80\n\
             [[route]]\nto = \"10.1.0.0/16\"\nvia = \"10.0.0.1\"\n[settings]\ndrop_entry = 1\n[timeouts]\nudp = 30\n"
        );
        let [changes, none, back] = reloads("changes", &first, [&second, &second, &first]);
        let wanted = [
            "~ setting drop_entry 0 -> 1",
            "+ route 10.1.0.0/16 via 10.0.0.1",
            "- mark 7=any/10.0.0.101/32",
            "+ mark 8=tcp/any:80-80",
            "- server 10.0.0.22:80 of tcp/10.0.0.100:80",
            "- service udp/10.0.0.100:53",
            "~ timeouts udp 300 -> 30",
            "~ service tcp/10.0.0.100:80 scheduler wlc -> rr",
            "+ local address 10.0.0.30 of tcp/10.0.0.100:80",
            "~ server 10.0.0.21:80 of tcp/10.0.0.100:80 weight 1 -> 3",
            "+ server 10.0.0.23:8080 of tcp/10.0.0.100:80 method nat weight 1 upper 9",
            "+ service fwmark/7 scheduler wlc persistent 60",
        ];
        assert_eq!(changes.unwrap(), wanted);
        assert_eq!(none.unwrap(), [""; 0]);
        assert_eq!(back.unwrap().len(), wanted.len());
    }

    #[test]
    fn every_form_of_rule_is_loaded_and_is_there_as_it_was_written() {
        let rules = "\
-A -t 10.0.0.100:80 -s wrr
-a -t 10.0.0.100:80 -r 10.0.0.11:8080 -m -w 3
-a -t 10.0.0.100:80 -r 10.0.0.12:8080 --fullnat -w 0
-A -t 10.0.0.100:443 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port
-a -t 10.0.0.100:443 -r 10.0.0.11:443 -i -w 2 --tun-type gre --tun-csum
-a -t 10.0.0.100:443 -r 10.0.0.12:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-A -u 10.0.0.100:53 -s rr -o
-a -u 10.0.0.100:53 -r 10.0.0.11:53 -i -w 0 --tun-type ipip
-A -u 10.0.0.100:5060 -s rr -p 600 --pe sip
-A --sctp-service 10.0.0.100:3868 -s lc
-A -t [2001:db8::80]:80 -s mh -p 360 -M 64 -b mh-port
-a -t [2001:db8::80]:80 -r [2001:db8::a0a0]:80 -g -w 1
-A -f 7 -s wlc -p 360
-a -f 7 -r 10.0.0.11:0 -g -w 1
-A -f 8 -6 -s rr -b flag-1,flag-3
-a -f 8 -6 -r [2001:db8::a0a0]:0 -m -w 1
";
        let file = File(std::env::temp_dir().join(format!("tapvs-rules-{}", std::process::id())));
        std::fs::write(&file.0, rules).unwrap();
        let path = file.0.display().to_string();
        let words = ["--bridge", "br0", "--address", "10.0.0.2/24", "--address", "2001:db8::2/64", "--rules", &path];
        let args = RunArgs::from_args(&["run"], &words).unwrap();
        let plan = Plan::from_args(&args).unwrap();
        let mut director = plan.rehearse().unwrap();
        assert_eq!(printed(&director), rules);

        std::fs::write(&file.0, rules.replace("-w 3", "-w 4")).unwrap();
        let mut how = begun(&args, &plan);
        let said = reload(&mut how, &mut director).unwrap();
        assert_eq!(said, ["~ server 10.0.0.11:8080 of tcp/10.0.0.100:80 weight 3 -> 4"]);
        std::fs::write(&file.0, "-A -t 10.0.0.100:80 -s nobody\n").unwrap();
        let said = reload(&mut how, &mut director).unwrap_err();
        assert!(said[0].starts_with(&format!("{path}:1: unknown scheduler 'nobody'; known are rr ")), "{said:?}");
        assert_eq!(printed(&director), rules.replace("-w 3", "-w 4"));
    }

    /// The rules in the order in which they were given, as `ipvsadm -S -n` writes each.
    fn printed(director: &Director) -> String {
        let line = |rule: &Command| match rule {
            Command::AddService(key, options) => Some(service_line(*key, options, &Names::default()) + "\n"),
            Command::AddDest(key, real, options) => Some(dest_line(*key, *real, options, &Names::default()) + "\n"),
            _ => None,
        };
        rules_of(director).iter().filter_map(line).collect()
    }

    #[test]
    fn a_bad_file_changes_nothing_and_says_why() {
        let good = format!("{LINK}[[service]]\ntcp = \"10.0.0.100:80\"\n{SERVER}address = \"10.0.0.21\"\n");
        let half = format!("{LINK}[[service]]\ntcp = \"10.0.0.101:80\"\n{SERVER}address = \"10.9.0.21\"\n");
        let [bad] = reloads("bad", &good, [&half]);
        let why = "FILE:8:11: server \"10.9.0.21\": real server 10.9.0.21 is outside every route; add a gateway, or an address in its net";
        assert_eq!(bad.unwrap_err(), [why]);
    }

    #[test]
    fn a_synchronisation_daemon_is_started_and_told_anew_and_stopped() {
        let link = format!("{LINK}tap = \"t\"\n");
        let with = |id: u8| format!("{link}[[sync]]\nrole = \"master\"\nlink = \"t\"\nsyncid = {id}\n");
        let said = reloads("sync", &link, [&with(1), &with(1), &with(2), &link]);
        let (start, stop) = ("+ master sync daemon on t", "- master sync daemon");
        assert_eq!(said.map(Result::unwrap), [vec![start], vec![], vec![stop, start], vec![stop]]);
    }

    /// The test's own thread is moved, and back.
    #[test]
    fn the_processor_changes_while_tapvs_runs_and_one_that_is_not_there_changes_nothing() {
        let on = |cpu: usize| format!("cpu = {cpu}\n{LINK}");
        let service = format!("{}[[service]]\ntcp = \"10.0.0.100:80\"\n", on(1023));
        let allowed = || format!("{:?}", Processors::allowed());
        let usual = allowed();
        let [there, same, bad, back] = reloads("cpu", LINK, [&on(0), &on(0), &service, LINK]);
        assert_eq!((there.unwrap(), same.unwrap()), (vec!["~ cpu any -> 0".to_owned()], vec![]));
        let bad = bad.unwrap_err();
        assert!(bad[0].starts_with("FILE:1:7: cpu 1023: Invalid argument; it may run on 0"), "{bad:?}");
        assert_eq!(back.unwrap(), ["~ cpu 0 -> any"]);
        assert_eq!(allowed(), usual);
    }

    #[test]
    fn what_needs_a_restart_is_refused_as_a_whole() {
        let good = format!("{LINK}[[service]]\ntcp = \"10.0.0.100:80\"\n");
        let other = good.replace("br0", "br1").replace(":80", ":81");
        let [links, flows] = reloads("restart", &good, [&other, &format!("max_flows = 7\n{good}")]);
        let link = |bridge| format!("link bridge {bridge} address 10.0.0.2/24 mac 02:74:0a:00:00:02 offload true");
        let wanted = [
            format!("- {}", link("br0")),
            format!("+ {}", link("br1")),
            "links cannot change while tapvs runs; put them back, or start tapvs again".into(),
        ];
        assert_eq!(links.unwrap_err(), wanted);
        let room = crate::io::room_for_conns();
        let wanted = format!("max_flows {room} -> 7: cannot change while tapvs runs; start it again");
        assert_eq!(flows.unwrap_err(), [wanted]);
    }
}
