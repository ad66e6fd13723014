//! What is opened and checked before a worker exists: devices, sockets, the memory of a flow table.
//!
//! Never decides in which order: `run` does.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use super::messages::Given;
use super::state_file::StateFile;
use crate::base::{Endpoint, version};
use crate::config::{Plan, run_on_processor};
use crate::io::{BYTES_A_CONN, Device, FastProgram, LinkError, LinkFacts, Listener, Processors, let_inherit, own_uid};
use crate::settings::Fast;

/// How long something that another process holds is waited for.
const PATIENCE: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(10);

/// The worker of a keeper that was killed ends a moment after it, and holds device and socket until then.
pub(super) fn once_free<T, E>(open: impl Fn() -> Result<T, E>, is_held: impl Fn(&E) -> bool) -> Result<T, E> {
    for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
        match open() {
            Err(error) if is_held(&error) => std::thread::sleep(STEP),
            other => return other,
        }
    }
    open()
}

pub(super) fn is_busy(error: &LinkError) -> bool {
    matches!(error, LinkError::Busy { .. })
}

/// A worker may have no right to a port below 1024.
pub(super) fn open_metrics(at: Endpoint) -> Result<TcpListener, String> {
    let open = || TcpListener::bind(SocketAddr::new(at.addr, at.port));
    let is_held = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    once_free(open, is_held)
        .map_err(|error| format!("metrics {at}: {error}; name an address of this host and a free port"))
}

/// A processor that cannot be had is said before anything on the host is touched.
pub(super) fn check_processor(plan: &Plan) -> Result<(), String> {
    let usual = Processors::allowed();
    run_on_processor(plan.cpu.as_ref(), &usual).map_err(|problems| problems.to_string())?;
    usual.run_on(None)
}

/// Asks for the memory of a worker's flow table, for a process that does not get it ends. What is got is given back.
pub(super) fn check_memory(max_flows: usize) -> Result<(), String> {
    let bytes = max_flows.saturating_mul(BYTES_A_CONN as usize);
    let mut memory: Vec<u8> = Vec::new();
    memory.try_reserve_exact(bytes).map_err(|_| {
        let mebibytes = bytes >> 20;
        format!(
            "--max-flows {max_flows}: a table of so many conns takes {mebibytes} MiB, which this process cannot have; \
             lower --max-flows (in a file max_flows), or raise the limit of memory"
        )
    })
}

/// The fast path's program, where the kernel takes it and the configuration wants it. An error is a sentence.
pub(super) fn open_fast(plan: &Plan, devices: &[Device]) -> Result<Option<FastProgram>, String> {
    if plan.settings.fast == Fast::Off {
        return Ok(None);
    }
    let links: Vec<LinkFacts> = devices.iter().map(Device::facts).collect();
    match FastProgram::open(&links, plan.settings.fast_flows, plan.has_syn_proxy()) {
        Ok(program) => {
            log::info!("fast path: established flows are forwarded in the kernel, by {}", program.words());
            Ok(Some(program))
        }
        Err(why) if plan.settings.fast == Fast::On => {
            Err(format!("setting fast: {why}; it takes CAP_BPF and CAP_NET_ADMIN, or set fast to auto or off"))
        }
        Err(why) => {
            log::info!("fast path: none, all packets are forwarded here: {why}");
            Ok(None)
        }
    }
}

/// Descriptors that every worker inherits.
pub(super) fn give(
    devices: &[Device],
    listener: Option<&Listener>,
    state: Option<&StateFile>,
    metrics: Option<&TcpListener>,
) -> io::Result<Given> {
    for device in devices {
        let_inherit(device.as_fd())?;
    }
    if let Some(listener) = listener {
        let_inherit(listener.as_fd())?;
    }
    if let Some(state) = state {
        let_inherit(state.as_fd())?;
    }
    if let Some(metrics) = metrics {
        let_inherit(metrics.as_fd())?;
    }
    Ok(Given {
        links: devices.iter().map(|device| (device.as_raw_fd(), device.facts())).collect(),
        listener: listener.map(|listener| (listener.as_fd().as_raw_fd(), listener.path().to_owned())),
        metrics: metrics.map(AsRawFd::as_raw_fd),
        state: state.map(|state| state.as_fd().as_raw_fd()),
        owner: own_uid(),
        channel: -1,
        files: -1,
        restarts: 0,
        reason: None,
        active: Vec::new(),
        beside: false,
        keeper: version().to_owned(),
        upgrades: 0,
        sandbox: None,
        fast: None,
        lifeline: None,
    })
}
