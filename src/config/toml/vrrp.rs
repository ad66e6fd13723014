//! `[[vrrp]]` and `--vrrp`: a virtual router.

use std::time::Duration;

use super::super::draft::VrrpDraft;
use super::super::place::{At, Problems};
use super::super::spec;
use super::check::command;
use super::kind::Kind;
use super::reader::Section;
use super::{ip_address, shared_key, word};
use crate::vrrp::{Track, Tracked};
use crate::wire::vrrp::{Covers, Version};

pub(super) const VRRP: Kind = Kind {
    name: "[[vrrp]]",
    keys: &[
        "link",
        "id",
        "priority",
        "address",
        "version",
        "interval",
        "preempt",
        "auth",
        "peers",
        "from",
        "accept",
        "virtual_mac",
        "checksum",
        "sync",
        "sync_peers",
        "sync_key",
        "preempt_delay",
        "track",
        "group",
        "notify",
        "user",
    ],
};
const TRACK: Kind = Kind { name: "track", keys: &["service", "link", "neighbour", "script", "interval", "weight"] };
/// As in keepalived.
const LONGEST_DELAY: Duration = Duration::from_secs(1000);
const PASSWORD_LEN: usize = 8;

/// A virtual router in one word, as a flag gives it: `id=51,priority=150`.
pub fn vrrp_of_word(text: &str) -> Result<VrrpDraft, Problems> {
    let words: Vec<&str> = text.split(',').collect();
    word::read(&format!("--vrrp {text}"), (&VRRP, Vec::new()), &words, vrrp)
}

pub(super) fn vrrp(section: &mut Section) -> Option<VrrpDraft> {
    let place = section.place.clone();
    section.require("id", "give the virtual router's number, 1 to 255; its peers have the same");
    let id = section.number("id", 1..=255);
    let auth = section.parsed("auth", password);
    let number = section.number("version", 2..=3);
    let is_v2 = number.as_ref().is_some_and(|version: &At<u8>| version.value == 2);
    if let Some(At { place, .. }) = auth.as_ref().filter(|_| !is_v2) {
        section.report(place, "only version 2 has a password; say version = 2, or leave it out");
    }
    let range = match is_v2 {
        true => Duration::from_secs(1)..=Duration::from_secs(255),
        false => Duration::from_millis(10)..=Duration::from_millis(40_950),
    };
    let interval = section.duration("interval", range);
    if let Some(At { place, .. }) = interval.as_ref().filter(|interval| is_v2 && interval.value.subsec_millis() > 0) {
        section.report(place, "version 2 counts in whole seconds");
    }
    let covers = section.parsed("checksum", |word| match word {
        "pseudo" => Ok(Covers::PseudoHeader),
        "rfc9568" => Ok(Covers::Message),
        _ => Err("use pseudo (as keepalived) or rfc9568".into()),
    });
    let user = section.text("user").map(|user| user.value);
    let mut tracks = section.one_or_more("track", &TRACK);
    Some(VrrpDraft {
        place,
        link: section.text("link"),
        priority: section.number("priority", 1..=255).map_or(100, |priority| priority.value),
        addresses: section.list("address", ip_address),
        version: if is_v2 { Version::V2(auth.map(|auth| auth.value)) } else { Version::V3 },
        interval: interval.map_or(Duration::from_secs(1), |interval| interval.value),
        preempt: section.truth("preempt").is_some_and(|said| said.value),
        peers: section.list("peers", ip_address),
        from: section.list("from", ip_address),
        accept: section.truth("accept").is_none_or(|said| said.value),
        virtual_mac: section.truth("virtual_mac").is_none_or(|said| said.value),
        covers: covers.map_or(Covers::default(), |covers| covers.value),
        preempt_delay: section
            .duration("preempt_delay", Duration::ZERO..=LONGEST_DELAY)
            .map_or(Duration::ZERO, |delay| delay.value),
        tracks: tracks.iter_mut().filter_map(|section| track(section, user.as_ref())).collect(),
        group: section.text("group").map(|group| group.value),
        notify: command(section, "notify"),
        user,
        sync: section.truth("sync").filter(|said| said.value),
        sync_peers: section.list("sync_peers", ip_address).into_iter().map(|peer| peer.value).collect(),
        sync_key: shared_key(section, "sync_key"),
        id: id?.value,
    })
}

fn track(section: &mut Section, user: Option<&String>) -> Option<Track> {
    let place = section.place.clone();
    let service = section.parsed("service", spec::service_key).map(|key| Tracked::Service(key.value));
    let interval = section.duration("interval", Duration::from_millis(100)..=Duration::from_secs(3600));
    let interval = interval.map_or(Duration::from_secs(1), |interval| interval.value);
    let link = section.parsed("link", link_name).map(|name| Tracked::Link(name.value));
    let neighbour =
        section.parsed("neighbour", ip_address).map(|addr| Tracked::Neighbour { addr: addr.value, interval });
    let command = command(section, "script");
    let script = (!command.is_empty()).then_some(Tracked::Script { command, interval, user: user.cloned() });
    let weight = section.signed("weight", -253..=253).map_or(0, |weight| weight.value as i16);
    let mut said = [service, link, neighbour, script].into_iter().flatten();
    let (Some(what), None) = (said.next(), said.next()) else {
        section.report(&place, "say what is tracked, one in each table: a service, a link, a neighbour, or a script");
        return None;
    };
    Some(Track { what, weight })
}

/// A name that the kernel takes for a network device.
fn link_name(text: &str) -> Result<String, String> {
    let is_name = (1..16).contains(&text.len()) && !text.contains(|c: char| c == '/' || c.is_whitespace());
    if is_name { Ok(text.to_owned()) } else { Err("no name of a network device; it has 1 to 15 characters".into()) }
}

fn password(text: &str) -> Result<[u8; PASSWORD_LEN], String> {
    if text.is_empty() || text.len() > PASSWORD_LEN {
        return Err("a password has 1 to 8 bytes".into());
    }
    let mut bytes = [0; PASSWORD_LEN];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Ok(bytes)
}
