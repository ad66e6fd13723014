//! `quorum`, `sorry_server`, `on_down` and what else follows from the checks of a service.
//!
//! Words only: whether a sorry server can be is the plan's to try.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::draft::SorryDraft;
use super::super::spec;
use super::check::command;
use super::kind::Kind;
use super::reader::Section;
use crate::health::{AllDown, OnDown, Policy, Quorum};
use crate::service::command::Method;
use crate::service::words::method_names;

const SORRY: Kind = Kind { name: "sorry_server", keys: &["address", "method"] };
const ANY_TIME: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(31 * 24 * 3600);

/// The keys of a service that say it.
pub(super) const KEYS: [&str; 11] = [
    "quorum",
    "hysteresis",
    "sorry_server",
    "slow_start",
    "on_down",
    "down_grace",
    "if_all_down",
    "passive",
    "quorum_up",
    "quorum_down",
    "quorum_user",
];

/// What follows from checks, if anything is said of it; and the sorry server, which the service has to be asked about.
/// Without checks clients mask no server unless that is asked for.
pub(super) fn policy(section: &mut Section, has_checks: bool) -> (Option<Policy>, Option<SorryDraft>) {
    let said = KEYS.iter().any(|key| section.has(key));
    let usual = Policy::default();
    let on_down = section.parsed("on_down", |word| match word {
        "keep" => Ok(OnDown::Keep),
        "drop" => Ok(OnDown::Drop),
        "reset" => Ok(OnDown::Reset),
        _ => Err("use keep, drop or reset".into()),
    });
    let if_all_down = section.parsed("if_all_down", |word| match word {
        "sorry" => Ok(AllDown::Sorry),
        "drop" => Ok(AllDown::Drop),
        "last" => Ok(AllDown::Last),
        _ => Err("use sorry, drop or last".into()),
    });
    let least = section.number("quorum", 1..=u64::from(u32::MAX)).map_or(usual.quorum.least, |weight| weight.value);
    let hysteresis = section.number::<u32>("hysteresis", 0..=u64::from(u32::MAX));
    if let Some(hysteresis) = hysteresis.as_ref().filter(|hysteresis| hysteresis.value >= least) {
        section.report(&hysteresis.place, format!("must be less than the quorum, which is {least}"));
    }
    let policy = Policy {
        quorum: Quorum { least, hysteresis: hysteresis.map_or(0, |weight| weight.value) },
        sorry: None,
        slow_start: section.duration("slow_start", ANY_TIME).map_or(usual.slow_start, |time| time.value),
        on_down: on_down.map_or(usual.on_down, |how| how.value),
        grace: section.duration("down_grace", ANY_TIME).map_or(usual.grace, |time| time.value),
        if_all_down: if_all_down.map_or(usual.if_all_down, |what| what.value),
        passive: section.truth("passive").map_or(has_checks, |on| on.value),
        quorum_up: command(section, "quorum_up"),
        quorum_down: command(section, "quorum_down"),
        quorum_user: section.text("quorum_user").map(|name| name.value),
    };
    let sorry = section.section("sorry_server", &SORRY).and_then(sorry);
    (said.then_some(policy), sorry)
}

fn sorry(mut section: Section) -> Option<SorryDraft> {
    section.require("address", "give the sorry server's");
    section.require("method", &format!("use one of {}", method_names()));
    let address = section.parsed("address", |text| {
        spec::address(text).ok_or_else(|| "write ADDRESS or ADDRESS:PORT, like 10.0.0.99:80".to_owned())
    });
    let method =
        section.parsed("method", |word| Method::named(word).ok_or_else(|| format!("use one of {}", method_names())));
    let (address, method) = (address?, method?);
    let place = address.place.named("sorry_server".to_owned());
    Some(SorryDraft { place, addr: address.value.0, port: address.value.1, method: method.value })
}
