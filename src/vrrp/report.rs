//! A virtual router as it stands, for people.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::virtual_router::VirtualRouter;
use crate::base::{Instant, map_of};

/// A virtual router as it stands, for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Its number.
    pub id: u8,
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// The link's place among the director's; people are told its name.
    #[serde(skip)]
    pub link: u8,
    /// Its state.
    pub state: String,
    /// Since when, by the director's clock; people are told for how long.
    #[serde(skip)]
    pub since: Instant,
    /// How often it has become active, and how often it has given the addresses up.
    pub transitions: (u64, u64),
    /// Why.
    pub reason: String,
    /// Its priority, with what it tracks.
    pub priority: u8,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whom the last advertisement was from, and its priority.
    pub heard: Option<(IpAddr, u8)>,
    /// Advertisements that were sent.
    pub sent: u64,
    /// Advertisements of others that were heeded.
    pub received: u64,
    /// Those that were not heeded, by reason.
    pub refused: BTreeMap<String, u64>,
}

impl VirtualRouter {
    pub(super) fn report(&self) -> Report {
        Report {
            id: self.options.id,
            family: self.family_name().into(),
            link: self.options.link.0,
            state: self.machine.state().name().into(),
            since: self.since,
            transitions: self.transitions,
            reason: self.reason.clone(),
            priority: self.priority,
            addresses: self.options.addresses.clone(),
            heard: self.heard,
            sent: self.sent,
            received: self.received,
            refused: map_of(self.refused.iter().map(|(why, count)| ((*why).to_owned(), *count))),
        }
    }
}
