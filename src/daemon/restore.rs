//! What an earlier run has left, brought together with the configuration of today.
//!
//! The configuration wins by what has changed in it; rules made by hand are kept, and listed. Never touches a packet.

use std::collections::HashMap;

use super::keeper::Keeper;
use super::note::heed;
use crate::base::{DestId, Endpoint, Instant};
use crate::config::{ByHand, Plan, describe, diff, rules_of};
use crate::conn::{ConnTable, Draft as ConnDraft, Generation};
use crate::director::{Director, end_untold, recall_young};
use crate::flows;
use crate::service::command::{Command, ServiceKey, SyncRole};
use crate::state::facts::Facts;
use crate::state::{Draft, Entry, Found, State, Unusable, dest_of, now_since};

/// Configuration happens before time goes on.
const BEFORE: Instant = Instant::START;

/// The slots of one generation of processes.
#[derive(Default)]
struct Slots {
    dests: HashMap<u32, (ServiceKey, Endpoint)>,
    services: HashMap<u32, ServiceKey>,
}

/// What a journal said.
#[derive(Default)]
struct Left {
    links: Vec<String>,
    configured: Vec<Command>,
    commands: Vec<Command>,
    /// So many commands make the rules that the configuration had when it was read last.
    reloaded: Option<usize>,
    /// A reload had begun and not ended.
    reloading: bool,
    facts: Facts,
    /// By generation; those before the first are of no conn.
    slots: Vec<(u64, Slots)>,
}

impl Left {
    fn of(entries: Vec<Entry>) -> Left {
        let mut left = Left::default();
        for entry in entries {
            match entry {
                Entry::Links(links) => left.links = links,
                Entry::Configured(rules) => left.configured = rules,
                Entry::Command(command) => left.commands.push(command),
                Entry::Reloading => left.reloading = true,
                Entry::Reloaded => {
                    (left.reloading, left.reloaded) = (false, Some(left.commands.len()));
                    left.facts.forget_configurable();
                }
                Entry::Fact(fact) => _ = left.facts.note(fact),
                Entry::Generation(number) => left.slots.push((number, Slots::default())),
                Entry::Dest(slot, key, real) => {
                    left.slots.last_mut().map(|(_, slots)| slots.dests.insert(slot, (key, real)));
                }
                Entry::Service(slot, key) => {
                    left.slots.last_mut().map(|(_, slots)| slots.services.insert(slot, key));
                }
            }
        }
        left
    }
}

/// Opens the state that the keeper has a file of, and has the director go on with it; `None` if there can be none. A file
/// that cannot be used is set aside. Also the moment at which time began, and what a draft leaves behind.
pub(super) fn restore(
    director: &mut Director,
    plan: &Plan,
    (file, draft): (std::fs::File, Option<Draft>),
    is_replacement: bool,
    keeper: &mut Keeper,
) -> Option<(State, u64, Option<ConnDraft>)> {
    let room = director.flows.settings.max_flows;
    // Room changes from start to start, and conns must not be lost by that.
    let kept = Some(&file).filter(|_| plan.any_max_flows).and_then(State::max_of);
    let max = kept.unwrap_or(room);
    let links: Vec<String> = plan.links.iter().map(describe::link_text).collect();
    let (drafted, mapped) = draft.map(Draft::into_parts).unzip();
    let opened = State::open(file, max, mapped).and_then(|(state, found)| check_links(state, found, &links));
    let opened = match opened {
        Ok(opened) => {
            director.flows.settings.max_flows = max;
            opened
        }
        Err(why) => {
            let file = keeper.set_aside(&why)?;
            State::open(file, room, None).map_err(|why| log::warn!("no state is kept: {why}")).ok()?
        }
    };
    Some(go_on(director, plan, links, (opened, drafted), is_replacement))
}

/// The same for a file of nobody else's, as a start does it; why not, if it cannot be used.
#[cfg(any(test, feature = "testing"))]
pub fn try_restore(
    director: &mut Director,
    plan: &Plan,
    file: std::fs::File,
    max: usize,
    draft: Option<Draft>,
) -> Result<State, Unusable> {
    let links: Vec<String> = plan.links.iter().map(describe::link_text).collect();
    let (drafted, mapped) = draft.map(Draft::into_parts).unzip();
    let opened = State::open(file, max, mapped).and_then(|(state, found)| check_links(state, found, &links))?;
    director.flows.settings.max_flows = max;
    Ok(go_on(director, plan, links, (opened, drafted), false).0)
}

fn check_links(state: State, found: Found, links: &[String]) -> Result<(State, Found), Unusable> {
    let said = found.entries.iter().rev().find_map(|entry| match entry {
        Entry::Links(links) => Some(links),
        _ => None,
    });
    match said.filter(|said| *said != links) {
        Some(said) => Err(format!("it is of other links ({})", said.join("; "))),
        None => Ok((state, found)),
    }
}

fn go_on(
    director: &mut Director,
    plan: &Plan,
    links: Vec<String>,
    ((mut state, mut found), draft): ((State, Found), Option<flows::Draft>),
    is_replacement: bool,
) -> (State, u64, Option<ConnDraft>) {
    let left = Left::of(found.entries);
    let mut configured = rules_of(director);
    if !left.slots.is_empty() {
        configured = merge_rules(director, plan, &left, configured, is_replacement);
    }
    restore_counters(director, &state, &left);
    let earlier: Vec<Generation> = left.slots.iter().map(|slots| generation(director, slots)).collect();
    if let Some(number) = same_slots(&left.slots, &earlier) {
        (found.conns.generation, state.generation) = (number, number);
    }
    state.begin(director);
    let now = now_since(found.epoch);
    let (mut draft, ports) = draft.map(|draft| (draft.conns, draft.ports)).unzip();
    let (table, restored) = ConnTable::restore(found.conns, now, &earlier, draft.as_mut());
    director.flows.adopt(table, &restored, ports);
    if restored.taken + restored.refused > 0 {
        log::info!("{} conns go on ({} could not)", restored.taken, restored.refused);
    }
    let facts = left
        .facts
        .iter()
        .filter(|fact| is_replacement || plan.by_hand == ByHand::Kept || !fact.is_configurable())
        .cloned();
    state.keep(heed(director, facts.collect(), is_replacement, BEFORE));
    state.recall_young(|young| recall_young(director, young));
    end_untold(director);
    state.write(director, links, configured, rules_of(director));
    (state, found.epoch, draft)
}

fn generation(director: &Director, (number, slots): &(u64, Slots)) -> Generation {
    let dests = slots.dests.iter().map(|(slot, (key, real))| (*slot, dest_of(director, key, *real)));
    Generation { number: *number, dests: dests.filter_map(|(slot, id)| Some((slot, id?))).collect() }
}

/// The generation of the process before, if this one goes on with it: every dest of then has its slot, and the records that
/// name it need not be written anew.
fn same_slots(then: &[(u64, Slots)], earlier: &[Generation]) -> Option<u64> {
    let ([(number, slots)], [generation]) = (then, earlier) else { return None };
    let is_same = |slot: &u32| generation.dests.get(slot) == Some(&DestId(*slot));
    slots.dests.keys().all(is_same).then_some(*number)
}

/// True for what ends the stand-by of a director that begins by it (`standby`): while it was away another one may have
/// taken over, so that it must be said anew.
fn makes_work(director: &Director, command: &Command) -> bool {
    director.flows.settings.standby && matches!(command, Command::StartDaemon(SyncRole::Master, _))
}

/// A worker that replaces one that died goes on with the rules of then. After a new start the configuration wins where it
/// has changed since, and after a reload that was cut short it is all that there is. Returns the rules that the
/// configuration had when it was read last.
fn merge_rules(
    director: &mut Director,
    plan: &Plan,
    left: &Left,
    configured: Vec<Command>,
    is_replacement: bool,
) -> Vec<Command> {
    if left.reloading {
        return configured;
    }
    let opened: Vec<_> = director.router.links().map(|(_, link)| (link.name.clone(), link.mtu)).collect();
    let Ok(mut then) = plan.rehearse_on(&opened) else { return configured };
    let daemons = [SyncRole::Master, SyncRole::Backup].map(Command::StopDaemon);
    carry_out(&mut then, daemons.iter().chain([&Command::Clear]));
    let (until, since) = left.commands.split_at(left.reloaded.unwrap_or(0));
    carry_out(&mut then, until);
    let before = if left.reloaded.is_some() { rules_of(&then) } else { left.configured.clone() };
    carry_out(&mut then, since);
    let changed = if is_replacement { Vec::new() } else { diff(&before, &configured) };
    carry_out(&mut then, changed.iter().map(|change| &change.command));
    for change in diff(&configured, &rules_of(&then)) {
        if !is_replacement {
            let is_kept = plan.by_hand == ByHand::Kept && !makes_work(director, &change.command);
            let kept = if is_kept { "kept" } else { "not kept" };
            log::info!("{kept} from the last run: {}", describe::describe(&change));
            if !is_kept {
                continue;
            }
        }
        if let Err(refused) = director.apply(&change.command, BEFORE) {
            log::warn!("not kept: {}: {refused}", describe::describe(&change));
        }
    }
    if is_replacement { before } else { configured }
}

/// What is there or gone already is refused, and that is well.
fn carry_out<'a>(director: &mut Director, commands: impl IntoIterator<Item = &'a Command>) {
    commands.into_iter().for_each(|command| _ = director.apply(command, BEFORE));
}

fn restore_counters(director: &mut Director, state: &State, left: &Left) {
    let Some((_, slots)) = left.slots.last() else { return };
    let (of_service, of_dest, total) = state.counters();
    let services = slots.services.iter().map(|(slot, key)| (*key, of_service(*slot)));
    let dests =
        slots.dests.iter().filter_map(|(slot, (key, real))| Some((dest_of(director, key, *real)?, of_dest(*slot))));
    let (services, dests): (Vec<_>, Vec<_>) = (services.collect(), dests.collect());
    director.flows.services.restore_counters(services, dests, total);
}

#[cfg(test)]
mod tests {
    use argh::FromArgs;

    use super::*;
    use crate::config::RunArgs;
    use crate::ipvsadm::{Names, dest_line, service_line};
    use crate::state::facts::Fact;

    fn plan(weights: &[u32]) -> Plan {
        let mut args: Vec<String> =
            "--bridge br0 --address 10.0.0.2/24 --service tcp/10.0.0.100:80".split(' ').map(str::to_owned).collect();
        for (number, weight) in weights.iter().enumerate() {
            args.extend(["--server".to_owned(), format!("10.0.0.{}:80,nat,weight={weight}", 21 + number)]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Plan::from_args(&RunArgs::from_args(&["run"], &args).unwrap()).unwrap()
    }

    fn rules_with(weights: &[u32]) -> Vec<Command> {
        rules_of(&plan(weights).rehearse().unwrap())
    }

    fn lines(rules: &[Command]) -> Vec<String> {
        let line = |rule: &Command| match rule {
            Command::AddService(key, options) => Some(service_line(*key, options, &Names::default())),
            Command::AddDest(key, real, options) => Some(dest_line(*key, *real, options, &Names::default())),
            _ => None,
        };
        rules.iter().filter_map(line).collect()
    }

    /// The director's rules and the configuration's, after a start with a file of these weights over what was left.
    fn merged(entries: Vec<Entry>, weights: &[u32], is_replacement: bool) -> [Vec<String>; 2] {
        let plan = plan(weights);
        let mut director = plan.rehearse().unwrap();
        let configured = rules_of(&director);
        let configured = merge_rules(&mut director, &plan, &Left::of(entries), configured, is_replacement);
        [lines(&rules_of(&director)), lines(&configured)]
    }

    fn commands(rules: Vec<Command>) -> impl Iterator<Item = Entry> {
        rules.into_iter().map(Entry::Command)
    }

    /// The journal of a run that began with weight 1, and in which someone has deleted the only server and added another.
    fn by_hand() -> Vec<Entry> {
        let (before, after) = (rules_with(&[1]), rules_with(&[1, 5]));
        let changes = diff(&before, &after).into_iter().map(|change| change.command).collect();
        let start = [Entry::Configured(before.clone())].into_iter().chain(commands(before));
        start.chain([Entry::Generation(1)]).chain(commands(changes)).collect()
    }

    #[test]
    fn a_start_keeps_what_was_done_by_hand_and_does_what_the_file_has_changed() {
        let [rules, configured] = merged(by_hand(), &[1], false);
        assert_eq!((rules, configured), (lines(&rules_with(&[1, 5])), lines(&rules_with(&[1]))));
        let [rules, configured] = merged(by_hand(), &[3], false);
        assert_eq!((rules, configured), (lines(&rules_with(&[3, 5])), lines(&rules_with(&[3]))));
    }

    #[test]
    fn a_file_may_be_all_that_there_is() {
        let mut plan = plan(&[1]);
        plan.by_hand = ByHand::Dropped;
        for (is_replacement, wanted) in [(false, rules_with(&[1])), (true, rules_with(&[1, 5]))] {
            let mut director = plan.rehearse().unwrap();
            let configured = rules_of(&director);
            merge_rules(&mut director, &plan, &Left::of(by_hand()), configured, is_replacement);
            assert_eq!(lines(&rules_of(&director)), lines(&wanted), "{is_replacement}");
        }
    }

    #[test]
    fn settings_and_marks_by_hand_are_heeded_unless_the_file_has_changed_them() {
        let plan = plan(&[1]);
        let mark = "7=tcp/10.0.0.100/32:81-81";
        let facts = |configured: &str| {
            let setting = |value: &str| Fact::Setting {
                name: "sloppy_tcp".into(),
                value: value.into(),
                configured: configured.into(),
            };
            vec![setting("1"), Fact::Marks { rules: vec![mark.into()], configured: vec![] }, Fact::Standby(true)]
        };
        for (configured, is_replacement, value) in [("0", false, "1"), ("1", false, "0"), ("1", true, "1")] {
            let mut director = plan.rehearse().unwrap();
            let heeded = heed(&mut director, facts(configured), is_replacement, BEFORE);
            assert_eq!(director.flows.settings.get("sloppy_tcp").unwrap(), value);
            assert_eq!(heeded.len(), if is_replacement { 3 } else { 1 + usize::from(value == "1") });
            assert_eq!(director.flows.services.marks().texts(), [mark]);
            assert_eq!(director.standby.in_words().is_some(), is_replacement);
        }
    }

    #[test]
    fn a_replacement_leaves_a_file_alone_that_was_edited_and_not_read_again() {
        let [rules, configured] = merged(by_hand(), &[3], true);
        assert_eq!((rules, configured), (lines(&rules_with(&[1, 5])), lines(&rules_with(&[1]))));
    }

    #[test]
    fn a_reload_counts_as_the_configuration_and_one_cut_short_is_finished() {
        let change: Vec<_> = diff(&rules_with(&[1, 5]), &rules_with(&[3])).into_iter().collect();
        let mut entries = by_hand();
        entries.push(Entry::Reloading);
        entries.extend(commands(vec![change[0].command.clone()]));
        for is_replacement in [true, false] {
            let [rules, configured] = merged(entries.clone(), &[3], is_replacement);
            assert_eq!((rules, configured), (lines(&rules_with(&[3])), lines(&rules_with(&[3]))));
        }
        entries.extend(commands(change[1..].iter().map(|change| change.command.clone()).collect()));
        entries.push(Entry::Reloaded);
        for is_replacement in [true, false] {
            let [rules, configured] = merged(entries.clone(), &[3], is_replacement);
            assert_eq!((rules, configured), (lines(&rules_with(&[3])), lines(&rules_with(&[3]))));
        }
    }
}
