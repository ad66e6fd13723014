//! Links that virtual routers track: whether frames can pass them, and if not, why.
//!
//! A TAP on a bridge always has carrier while its director runs. It counts as a way to others while the bridge is up and
//! another of its ports has carrier. Pure: others ask the kernel.

use std::io;

use crate::io::{LinkInfo, LinkKind};

/// A worker that was taken over must not make the keeper keep more.
const MOST: usize = 64;

/// What is tracked, with what the worker was told last.
#[derive(Default)]
pub(super) struct Carriers {
    tracked: Vec<(String, Option<Option<String>>)>,
}

impl Carriers {
    /// Tracks these from now on, of which nothing was told yet.
    pub(super) fn track(&mut self, names: Vec<String>) {
        self.tracked = names.into_iter().take(MOST).map(|name| (name, None)).collect();
    }

    /// Those of which something else is true than was told; `links` lists all of the host.
    pub(super) fn changed(
        &mut self,
        links: impl FnOnce() -> io::Result<Vec<LinkInfo>>,
    ) -> Vec<(String, Option<String>)> {
        if self.tracked.is_empty() {
            return Vec::new();
        }
        let links = match links() {
            Ok(links) => links,
            Err(error) => {
                log::warn!("the host's links cannot be listed: {error}");
                return Vec::new();
            }
        };
        let mut changed = Vec::new();
        for (name, told) in &mut self.tracked {
            let now = fault(name, &links);
            if told.as_ref() != Some(&now) {
                *told = Some(now.clone());
                changed.push((name.clone(), now));
            }
        }
        changed
    }
}

/// Why frames cannot pass a link.
fn fault(name: &str, links: &[LinkInfo]) -> Option<String> {
    let Some(link) = links.iter().find(|link| link.name == name) else { return Some("does not exist".into()) };
    if !link.up {
        return Some("is down".into());
    }
    if !link.carrier {
        return Some("has no carrier".into());
    }
    let bridge = links.iter().find(|other| Some(other.index) == link.master && other.kind == LinkKind::Bridge)?;
    if !matches!(link.kind, LinkKind::Tap | LinkKind::MultiQueue) {
        return None;
    }
    if !bridge.up {
        return Some(format!("is on {}, which is down", bridge.name));
    }
    let is_way = |port: &LinkInfo| port.master == link.master && port.index != link.index && port.up && port.carrier;
    (!links.iter().any(is_way)).then(|| format!("is on {}, of which no other port has carrier", bridge.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Mac;

    fn link(index: u32, name: &str, kind: LinkKind, master: Option<u32>) -> LinkInfo {
        LinkInfo { index, name: name.into(), kind, up: true, carrier: true, mtu: 1500, mac: Mac::ZERO, master }
    }

    #[test]
    fn a_tap_needs_another_port_of_its_bridge_and_any_other_link_its_carrier() {
        let host = || {
            vec![
                link(1, "br0", LinkKind::Bridge, None),
                link(2, "tap0", LinkKind::Tap, Some(1)),
                link(3, "eth0", LinkKind::Other(String::new()), Some(1)),
                link(4, "eth1", LinkKind::Other(String::new()), None),
            ]
        };
        let faults = |links: &[LinkInfo]| ["tap0", "eth0", "eth1", "eth2"].map(|name| fault(name, links));
        let gone = || Some("does not exist".to_owned());
        let said = |words: &str| Some(words.to_owned());
        assert_eq!(faults(&host()), [None, None, None, gone()]);
        let changed = |change: fn(&mut Vec<LinkInfo>)| {
            let mut links = host();
            change(&mut links);
            faults(&links)
        };
        let alone = said("is on br0, of which no other port has carrier");
        assert_eq!(changed(|links| links[2].carrier = false), [alone.clone(), said("has no carrier"), None, gone()]);
        assert_eq!(changed(|links| links[2].up = false), [alone.clone(), said("is down"), None, gone()]);
        assert_eq!(changed(|links| links[0].up = false), [said("is on br0, which is down"), None, None, gone()]);
        assert_eq!(changed(|links| links[2].master = None), [alone, None, None, gone()]);
        assert_eq!(changed(|links| links[1].master = None), [None, None, None, gone()]);
        assert_eq!(changed(|links| links[3].carrier = false), [None, None, said("has no carrier"), gone()]);
    }

    #[test]
    fn each_change_is_told_once() {
        let mut carriers = Carriers::default();
        carriers.track(vec!["eth1".into()]);
        let mut eth1 = link(4, "eth1", LinkKind::Other(String::new()), None);
        let told = |carriers: &mut Carriers, eth1: &LinkInfo| carriers.changed(|| Ok(vec![eth1.clone()]));
        assert_eq!(told(&mut carriers, &eth1), [("eth1".into(), None)]);
        assert_eq!(told(&mut carriers, &eth1), []);
        eth1.carrier = false;
        assert_eq!(told(&mut carriers, &eth1), [("eth1".into(), Some("has no carrier".into()))]);
        assert_eq!(carriers.changed(|| Err(io::ErrorKind::Other.into())), [], "nothing is known");
        assert_eq!(told(&mut carriers, &eth1), []);
        carriers.track(vec!["eth1".into()]);
        assert_eq!(told(&mut carriers, &eth1).len(), 1, "another worker is told again");
    }
}
