//! The manual page against the keys that are read.

use super::super::service::{SERVER, SERVICE};
use super::super::{LINK, MARK, ROUTE, SETTINGS, SYNC, TIMEOUTS, TOP, check, vrrp};

#[test]
fn the_manual_explains_every_key_and_no_other() {
    let manual = include_str!("../../../../docs/tapvs.toml.5");
    let kinds =
        [&TOP, &LINK, &ROUTE, &MARK, &SYNC, &vrrp::VRRP, &TIMEOUTS, &SETTINGS, &SERVICE, &SERVER, &check::CHECK];
    let headings = ["link", "route", "mark", "service", "sync", "vrrp", "timeouts", "settings"];
    for kind in kinds {
        let heading = if kind.name.is_empty() { "top" } else { kind.name };
        let section = manual.split("\n.S").find(|section| section.starts_with(&format!("s {heading}\n")));
        let section = section.unwrap_or_else(|| panic!("docs/tapvs.toml.5 has no '.Ss {heading}'"));
        let mut explained: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix(".It Ic ")).collect();
        // Sections at the top have headings of their own.
        let mut known: Vec<&str> =
            kind.keys.iter().copied().filter(|key| heading != "top" || !headings.contains(key)).collect();
        explained.sort();
        known.sort();
        assert_eq!(explained, known, "{heading}: the manual against the keys");
    }
}
