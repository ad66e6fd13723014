//! Path MTUs towards tunnel servers, learnt from "fragmentation needed" about our own packets.
//!
//! A path is forgotten ten minutes after its last packet, what was learnt of it after ten (the kernel's `mtu_expires`).
//! Never raises what a link takes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::{FastHash, Instant};

const REMEMBERED: Duration = Duration::from_secs(600);
/// So many paths, or twice as many as were in use, are searched for those that are not in use any more.
const SWEPT_FROM: usize = 256;
/// Smaller claims are not believed (`min_pmtu`, RFC 8200 section 5); they would only serve to slow us down.
fn least(to: IpAddr) -> u16 {
    if to.is_ipv4() { 552 } else { 1280 }
}

#[derive(Default)]
struct Path {
    mtu: Option<(u16, Instant)>,
    /// What the last packet on this path was measured with.
    used: u16,
    /// When that was.
    at: Instant,
}

/// Paths to tunnel servers.
#[derive(Default)]
pub struct PathMtus {
    /// `pmtu_disc`: tunnel packets carry the inner DF, and clients are told what does not fit.
    pub discovery: bool,
    /// By servers, which the operator names: no client chooses a key.
    paths: HashMap<IpAddr, Path, FastHash>,
    swept_from: usize,
    /// How often a size was learnt.
    changes: u64,
}

impl PathMtus {
    /// The learnt size for a path, if it is fresh.
    pub fn get(&self, to: IpAddr, now: Instant) -> Option<u16> {
        let (mtu, until) = self.paths.get(&to)?.mtu?;
        (now < until).then_some(mtu)
    }

    /// How often a size was learnt.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Remembers a reported size.
    pub fn learn(&mut self, to: IpAddr, mtu: u16, now: Instant) {
        if let Some(path) = self.paths.get_mut(&to) {
            path.mtu = Some((mtu.max(least(to)), now + REMEMBERED));
            self.changes += 1;
        }
    }

    /// A packet on this path was measured with `mtu`; only paths in use are learnt about.
    pub fn used(&mut self, to: IpAddr, mtu: u16, now: Instant) {
        if let Some(path) = self.paths.get_mut(&to) {
            (path.used, path.at) = (mtu, now);
            return;
        }
        if self.paths.len() >= self.swept_from.max(SWEPT_FROM) {
            self.paths.retain(|_, path| now.since(path.at) < REMEMBERED);
            self.swept_from = 2 * self.paths.len();
        }
        self.paths.insert(to, Path { mtu: None, used: mtu, at: now });
    }

    /// What the last packet on this path was measured with.
    pub fn last_used(&self, to: IpAddr) -> Option<u16> {
        self.paths.get(&to).map(|path| path.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    #[test]
    fn every_path_in_use_is_learnt_about_and_others_are_forgotten() {
        let mut paths = PathMtus::default();
        let mut now = Instant(1000);
        for number in 0..100_000 {
            now = now + Duration::from_millis(100);
            paths.used(addr(number), 1500, now);
            paths.used(addr(0), 1500, now);
            paths.learn(addr(number), 1400, now);
            assert_eq!(paths.get(addr(number), now), Some(1400));
        }
        assert!(paths.paths.len() < 20_000, "{}", paths.paths.len());
        assert_eq!(paths.last_used(addr(0)), Some(1500));
        for number in 0..10_000 {
            paths.used(addr(number), 1500, now);
        }
        assert!((0..10_000).all(|number| paths.last_used(addr(number)).is_some()));
    }
}
