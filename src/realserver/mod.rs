//! Makes this host a real server for direct routing or tunnel (ipvsadm -g, -i), and undoes it.
//!
//! Runs on the real server, not on the director. Never leaves a change that is not on record.

mod args;
mod decap;
mod error;
mod host;
mod inner;
mod process;
mod state;

use std::net::{IpAddr, Ipv4Addr};

use log::{info, warn};

pub use args::{DownArgs, RealserverArgs, RealserverCommand, UpArgs};
pub use error::Error;

use decap::Decapsulator;
use host::{Host, vips_v4};
use process::Process;
use state::State;

/// How the director sends packets here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// As frames to our MAC (ipvsadm -g).
    Direct,
    /// In IP-in-IP (ipvsadm -i); frames to our MAC work too.
    Tunnel,
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
///                       IP-in-IP  ->  its answer goes straight to the client
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
    let unicast =
        |vip: Ipv4Addr| !vip.is_loopback() && !vip.is_multicast() && vip.octets()[0] != 0 && vip.octets()[0] < 240;
    match config.vips.iter().find(|vip| !matches!(vip, IpAddr::V4(vip) if unicast(*vip))) {
        Some(bad) => Err(Error::BadVip(*bad)),
        None => Ok(()),
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
    if config.method == Method::Direct || host.use_kernel_tunnel()? {
        return Ok(None);
    }
    let decapsulator = Decapsulator::open(vips_v4(host.state.entries()))?;
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
    fn only_ipv4_unicast_can_be_a_vip_yet() {
        let config =
            |vip: &str| UpConfig { vips: vec![vip.parse().unwrap()], method: Method::Direct, interfaces: vec![] };
        for bad in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "2001:db8::1"] {
            assert!(matches!(check(&config(bad)), Err(Error::BadVip(_))), "{bad}");
        }
        assert!(check(&config("198.51.100.1")).is_ok());
        assert!(matches!(check(&UpConfig { vips: vec![], ..config("10.0.0.1") }), Err(Error::NoVip)));
    }
}
