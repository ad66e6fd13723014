//! Makes this host a real server for direct routing or tunnel (ipvsadm -g, -i), and undoes it.
//!
//! Runs on the real server, not on the director. Never leaves a change that is not on record.

mod args;
mod decap;
mod error;
mod host;
mod inner;
mod process;
mod sockets;
mod state;

use std::net::IpAddr;

use log::{info, warn};

pub use args::RealserverArgs;
pub use error::Error;

use decap::Decapsulator;
use host::{Host, vips};
use process::Process;
use state::State;

/// Kinds of tunnels, either family in either.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// IP in IP.
    Ipip,
    /// GRE, with a checksum or without.
    Gre,
    /// GUE, with the checksum that UDP has, with the remote one, or without.
    Gue,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 3] = [Kind::Ipip, Kind::Gre, Kind::Gue];
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Kind, String> {
        match word {
            "ipip" => Ok(Kind::Ipip),
            "gre" => Ok(Kind::Gre),
            "gue" => Ok(Kind::Gue),
            _ => Err(format!("'{word}' is not a kind of tunnel; use ipip, gre or gue")),
        }
    }
}

/// How the director sends packets here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Method {
    /// As frames to our MAC (ipvsadm -g).
    Direct,
    /// In tunnel packets (ipvsadm -i); frames to our MAC work too.
    Tunnel {
        /// Of these kinds.
        kinds: Vec<Kind>,
        /// UDP port for GUE.
        gue_port: u16,
    },
}

/// What the operator wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpConfig {
    /// Addresses of the virtual services.
    pub vips: Vec<IpAddr>,
    /// How packets arrive.
    pub method: Method,
    /// Where to be quiet about the VIPs; empty means everywhere.
    pub interfaces: Vec<String>,
}

/// Takes the VIPs, and decapsulates if asked to.
///
/// ```text
/// client -> VIP:80      director      real server
///                       frame or      VIP on lo, quiet about it on every other wire;
///                       tunnel    ->  its answer goes straight to the client
/// ```
///
/// Returns at once, unless tapvs itself has to decapsulate: then at SIGTERM, SIGINT or `down`, and as `down`
/// does, with everything put back. Run again it adds VIPs, to a decapsulator that runs already as well.
pub fn up(config: &UpConfig) -> Result<(), Error> {
    check(config)?;
    let mut host = Host::create()?;
    let before = host.state.entries().len();
    match prepare(&mut host, config) {
        Ok(None) => Ok(()),
        Ok(Some(decapsulator)) => {
            // `down` and another `up` need the record while we run.
            drop(host);
            serve(decapsulator)
        }
        Err(error) => {
            if let Err(left) = host.restore(before) {
                warn!("{left}");
            }
            Err(error)
        }
    }
}

/// Puts back everything that `up` changed, from whichever process.
pub fn down() -> Result<(), Error> {
    let entries = State::peek()?.ok_or(Error::NothingToUndo)?;
    if let Some(process) = Process::recorded(&entries) {
        process.stop()?;
    }
    // A decapsulator that was asked to end has put everything back itself.
    restore()
}

fn check(config: &UpConfig) -> Result<(), Error> {
    if config.vips.is_empty() {
        return Err(Error::NoVip);
    }
    match config.vips.iter().find(|vip| !can_be_a_vip(**vip)) {
        Some(bad) => Err(Error::BadVip(*bad)),
        None => Ok(()),
    }
}

/// A unicast address that means the same on every link.
fn can_be_a_vip(addr: IpAddr) -> bool {
    let special = addr.is_loopback() || addr.is_multicast() || addr.is_unspecified();
    match addr {
        IpAddr::V4(addr) => !special && addr.octets()[0] != 0 && addr.octets()[0] < 240,
        IpAddr::V6(addr) => !special && !addr.is_unicast_link_local() && addr.to_ipv4_mapped().is_none(),
    }
}

/// Makes every change; returns the decapsulator if one is to run in this process.
fn prepare(host: &mut Host, config: &UpConfig) -> Result<Option<Decapsulator>, Error> {
    let running = Process::recorded(host.state.entries());
    host.take_vips(config)?;
    info!("takes {:?}", config.vips);
    if let Some(process) = running {
        info!("the decapsulator that runs already takes them too");
        return process.reload().map(|()| None);
    }
    let Method::Tunnel { kinds, gue_port } = &config.method else { return Ok(None) };
    let by_kernel = host.use_kernel_tunnels(kinds)?;
    let sockets = sockets::open(kinds, *gue_port, &by_kernel)?;
    if sockets.is_empty() {
        return Ok(None);
    }
    let decapsulator = Decapsulator::open(vips(host.state.entries()), sockets)?;
    host.state.record(Process::this()?.entry())?;
    Ok(Some(decapsulator))
}

fn serve(mut decapsulator: Decapsulator) -> Result<(), Error> {
    let result = decapsulator.run();
    drop(decapsulator);
    result.and(restore())
}

/// Puts everything on record back; nothing to do if another process did.
fn restore() -> Result<(), Error> {
    Host::existing()?.map_or(Ok(()), |mut host| host.restore(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unicast_can_be_a_vip() {
        let config =
            |vip: &str| UpConfig { vips: vec![vip.parse().unwrap()], method: Method::Direct, interfaces: vec![] };
        for bad in
            ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::1", "ff02::1", "fe80::1", "::"]
        {
            assert!(matches!(check(&config(bad)), Err(Error::BadVip(_))), "{bad}");
        }
        assert!(check(&config("198.51.100.1")).is_ok());
        assert!(check(&config("2001:db8::1")).is_ok());
        assert!(matches!(check(&UpConfig { vips: vec![], ..config("10.0.0.1") }), Err(Error::NoVip)));
    }
}
