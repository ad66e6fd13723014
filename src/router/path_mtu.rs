//! Path MTUs towards tunnel servers, learnt from "fragmentation needed" about our own packets.
//!
//! Bounded and forgetful (10 minutes, as the kernel's `mtu_expires`). Never raises what a link takes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::Instant;

const REMEMBERED: Duration = Duration::from_secs(600);
const LIMIT: usize = 4096;
/// Smaller claims are not believed (`min_pmtu`, RFC 8200 section 5); they would only serve to slow us down.
fn least(to: IpAddr) -> u16 {
    if to.is_ipv4() { 552 } else { 1280 }
}

#[derive(Default)]
struct Path {
    mtu: Option<(u16, Instant)>,
    /// What the last packet on this path was measured with.
    used: u16,
}

/// Paths to tunnel servers.
#[derive(Default)]
pub struct PathMtus {
    /// `pmtu_disc`: tunnel packets carry the inner DF, and clients are told what does not fit.
    pub discovery: bool,
    paths: HashMap<IpAddr, Path>,
}

impl PathMtus {
    /// The learnt size for a path, if it is fresh.
    pub fn get(&self, to: IpAddr, now: Instant) -> Option<u16> {
        let (mtu, until) = self.paths.get(&to)?.mtu?;
        (now < until).then_some(mtu)
    }

    /// Remembers a reported size.
    pub fn learn(&mut self, to: IpAddr, mtu: u16, now: Instant) {
        if let Some(path) = self.paths.get_mut(&to) {
            path.mtu = Some((mtu.max(least(to)), now + REMEMBERED));
        }
    }

    /// A packet on this path was measured with `mtu`; only paths in use are learnt about.
    pub fn used(&mut self, to: IpAddr, mtu: u16) {
        if let Some(path) = self.paths.get_mut(&to) {
            path.used = mtu;
        } else if self.paths.len() < LIMIT {
            self.paths.insert(to, Path { mtu: None, used: mtu });
        }
    }

    /// What the last packet on this path was measured with.
    pub fn last_used(&self, to: IpAddr) -> Option<u16> {
        self.paths.get(&to).map(|path| path.used)
    }
}
