//! What a keeper and its worker say to each other.
//!
//! Types only: a fixed set. A worker names a program or a file in it, but gets only what the configuration names; the program
//! of an upgrade is named by whom `Upgrade` brings.

use std::net::IpAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::base::Endpoint;
use crate::health::Verdict;
use crate::io::{Ended, FastFacts, LinkFacts, Sandbox};
use crate::service::command::ServiceKey;

/// The variable that tells a worker what it was given.
pub const VARIABLE: &str = "TAPVS_WORKER";

/// What a worker is given: descriptors that are open in it, and what is true of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Given {
    /// The devices, in the order of the configuration.
    pub links: Vec<(RawFd, LinkFacts)>,
    /// The control socket with its path, if there is one.
    pub listener: Option<(RawFd, PathBuf)>,
    /// The socket at which metrics are asked for, if there is one.
    #[serde(default)]
    pub metrics: Option<RawFd>,
    /// The file of the state, if there is one.
    pub state: Option<RawFd>,
    /// The user besides root who may ask at the control socket.
    pub owner: u32,
    /// For the messages below.
    pub channel: RawFd,
    /// For files that only the keeper may read.
    pub files: RawFd,
    /// How often a worker was started before this one.
    pub restarts: u32,
    /// Why the last one ended.
    pub reason: Option<String>,
    /// Virtual routers that were active when the last one ended, a moment ago.
    pub active: Vec<VirtualRouter>,
    /// Another worker is at work: this one prepares itself, says so, and begins when it is told to.
    #[serde(default)]
    pub beside: bool,
    /// The keeper's version.
    #[serde(default)]
    pub keeper: String,
    /// How often another program took over.
    #[serde(default)]
    pub upgrades: u32,
    /// It is to give up all rights.
    #[serde(default)]
    pub sandbox: Option<Sandbox>,
    /// The fast path, if the kernel has it.
    #[serde(default)]
    pub fast: Option<FastFacts>,
    /// A pipe that nothing is written to; its other end closes when the keeper ends.
    #[serde(default)]
    pub lifeline: Option<RawFd>,
}

/// Names a virtual router.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VirtualRouter {
    /// The place of its link.
    pub link: u8,
    /// Its number.
    pub id: u8,
    /// Its family is IPv6.
    pub six: bool,
}

/// From a worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToKeeper {
    /// It handles frames from now on.
    Ready,
    /// What it has read of the configuration since is in force.
    Reloaded,
    /// The state cannot be used, and why: it is to be set aside, and the answer is `ToWorker::State`.
    SetAside(String),
    /// Addresses that are the director's from now on (true), or no more: hosts of TUNs route them there.
    Addresses(Vec<(IpAddr, bool)>),
    /// The virtual routers that are active.
    Active(Vec<VirtualRouter>),
    /// A client, which comes with it, asks for an upgrade.
    Upgrade,
    /// It can do the work of the one beside it, and is of this version.
    Prepared(String),
    /// It cannot, and why.
    Unable(String),
    /// A reload has begun.
    Reloading,
    /// A reload has ended, and has changed nothing.
    NotReloaded,
    /// The answer to `ToWorker::Ping`, from the loop that handles frames.
    Pong,
    /// It handles no more frames, and all that the next one reads is written.
    Stopped,
    /// A program of the configuration is to be run; the answer is `ToWorker::Ended`.
    Run(Run),
    /// Links that virtual routers track, in place of those before; the answer is `ToWorker::Carrier` for each, again when
    /// it changes.
    Watch(Vec<String>),
}

/// A program to run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The worker's number for it.
    pub tag: u64,
    /// Path and arguments, as the configuration has them.
    pub command: Vec<String>,
    /// How long it may run.
    pub timeout: Duration,
    /// The server that it is about.
    pub server: Option<Endpoint>,
    /// The service that it is about.
    pub service: Option<ServiceKey>,
    /// What is held of the server.
    pub verdict: Option<Verdict>,
    /// Whose program it is, where the configuration says so.
    pub user: Option<String>,
}

/// To a worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// The link of that place takes packets of so many bytes.
    Mtu(u8, u16),
    /// Frames pass the link of that place again.
    Back(u8),
    /// Another file for the state, which comes with it; there is none if it does not.
    State,
    /// To answer, if the loop turns.
    Ping,
    /// Another worker is prepared: to handle no more frames, and to say so.
    Stop,
    /// The worker that was beside it has stopped: to begin. These virtual routers were active.
    Begin(Vec<VirtualRouter>),
    /// The program with this number is no more.
    Ended(u64, Ended),
    /// Frames can pass the link of this name, or cannot for that reason.
    Carrier(String, Option<String>),
}

/// A message as bytes; empty, which no receiver understands, if it cannot be said.
pub fn encode(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

/// A message from bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}
