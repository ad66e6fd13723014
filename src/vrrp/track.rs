//! What virtual routers depend on besides other routers: services, links, neighbours, and programs that look at anything else.
//!
//! ```text
//! priority   the configured one, and of each weight:  positive: while it is well     negative: while it has failed
//! fault      something of weight 0 has failed
//! ```
//! As in keepalived, 1 to 254, and the owner's 255 never moves. Nothing is asked here: others say what has failed.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::machine::OWNER;
use crate::service::command::ServiceKey;

/// Something that can fail.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Tracked {
    /// A service fails without its quorum.
    Service(ServiceKey),
    /// A link of the host fails without carrier; one of the director's own, when nothing beyond its bridge can be reached.
    Link(String),
    /// A neighbour, or the gateway that leads to an address, fails when it does not say its MAC any more.
    Neighbour {
        /// Where packets would go.
        addr: IpAddr,
        /// From one solicitation to the next.
        interval: Duration,
    },
    /// A program fails with another exit code than 0.
    Script {
        /// Path and arguments.
        command: Vec<String>,
        /// From one start to the next; it may run as long.
        interval: Duration,
        /// Who it runs as, where that was said.
        user: Option<String>,
    },
}

impl fmt::Display for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tracked::Service(key) => write!(f, "service {key}"),
            Tracked::Link(name) => write!(f, "link {name}"),
            Tracked::Neighbour { addr, .. } => write!(f, "neighbour {addr}"),
            Tracked::Script { command, .. } => write!(f, "script {}", command.join(" ")),
        }
    }
}

/// What follows from something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Track {
    /// What.
    pub what: Tracked,
    /// What it adds to the priority; 0: the virtual router takes no part while it has failed.
    pub weight: i16,
}

/// Something that has failed, and why.
pub(super) type Failed = (Tracked, String);

/// What follows from all that is tracked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Standing {
    pub(super) priority: u8,
    /// What has failed, if that is a fault.
    pub(super) fault: Option<String>,
    /// All that has failed, for people.
    pub(super) why: String,
}

impl Standing {
    pub(super) fn of<'a>(priority: u8, tracks: impl Iterator<Item = &'a Track>, failed: &[Failed]) -> Standing {
        let (mut sum, mut fault, mut reasons) = (i32::from(priority), None, Vec::new());
        for Track { what, weight } in tracks {
            let reason = failed.iter().find(|(other, _)| other == what).map(|(_, why)| format!("{what} {why}"));
            match (*weight, &reason) {
                (0, Some(reason)) => fault = fault.or_else(|| Some(reason.clone())),
                (weight, reason) if (weight > 0) != reason.is_some() => sum += i32::from(weight),
                _ => {}
            }
            reasons.extend(reason);
        }
        let priority = if priority == OWNER { OWNER } else { sum.clamp(1, i32::from(OWNER) - 1) as u8 };
        let why = if reasons.is_empty() { "all that it tracks is well".into() } else { reasons.join(", ") };
        Standing { priority, fault, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_as_in_keepalived() {
        let script = |name: &str| Tracked::Script { command: vec![name.into()], interval: Duration::ZERO, user: None };
        let tracks = [("a", -60), ("b", 20), ("c", 0)].map(|(name, weight)| Track { what: script(name), weight });
        for (priority, failed, wanted, fault) in [
            (100, &[][..], 120, None),
            (100, &["a"], 60, None),
            (100, &["b"], 100, None),
            (100, &["a", "b"], 40, None),
            (30, &["a", "b"], 1, None),
            (250, &[], 254, None),
            (255, &["a", "c"], 255, Some("script c has failed")),
        ] {
            let failed: Vec<Failed> = failed.iter().map(|name| (script(name), "has failed".into())).collect();
            let standing = Standing::of(priority, tracks.iter(), &failed);
            // The one of weight 20 is well unless it is named.
            assert_eq!((standing.priority, standing.fault.as_deref()), (wanted, fault), "{priority} {failed:?}");
            let why = failed.iter().map(|(what, _)| format!("{what} has failed")).collect::<Vec<_>>().join(", ");
            assert_eq!(standing.why, if failed.is_empty() { "all that it tracks is well" } else { &why });
        }
    }
}
