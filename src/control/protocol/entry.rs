//! Services, dests and conns as lists have them.
//!
//! Types only.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::base::{Endpoint, Proto};
use crate::service::command::{DestOptions, ServiceKey, ServiceOptions};
use crate::service::{Rates, Stats};

/// A service with its dests, the one added last first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceEntry {
    /// What it takes.
    pub key: ServiceKey,
    /// How it is configured.
    pub options: ServiceOptions,
    /// Its local addresses for FULL-NAT.
    pub locals: Vec<IpAddr>,
    /// Counters.
    pub stats: Stats,
    /// Rates.
    pub rates: Rates,
    /// Dests.
    pub dests: Vec<DestEntry>,
}

/// A dest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DestEntry {
    /// Address and port of the real server.
    pub real: Endpoint,
    /// How it is configured.
    pub options: DestOptions,
    /// Its present weight: what checks say is in it, where `options` has the administrator's.
    pub weight: u32,
    /// Active conns.
    pub active: u32,
    /// Inactive conns.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
    /// Counters.
    pub stats: Stats,
    /// Rates.
    pub rates: Rates,
}

/// A conn or a persistence template.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConnEntry {
    /// Protocol.
    pub proto: Proto,
    /// Name of the state.
    pub state: String,
    /// Whole seconds until it expires.
    pub expires: u64,
    /// Client; port 0 in a template.
    pub client: Endpoint,
    /// Virtual endpoint.
    pub virt: Endpoint,
    /// FULL-NAT: the local endpoint.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub local: Option<Endpoint>,
    /// Real server.
    pub real: Endpoint,
    /// Persistence engine and its data.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub engine: Option<(String, String)>,
    /// A segment had no room for the option that tells the server of its client.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub toa_missing: bool,
}
