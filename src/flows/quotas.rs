//! Limits of new conns and of conns at once, for services and for each of their clients.
//!
//! A rate is a token bucket, kept as the moment at which it is full again. Bounded: a client that has no conn and a full bucket
//! is forgotten, and while too many have not, those that are not known yet are let in.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::Flows;
use crate::base::{ConnId, DestId, DropReason, Instant, ServiceId, Tuple};
use crate::conn::Conn;
use crate::service::Service;
use crate::service::command::ServiceKey;
use crate::service::quota::Bounds;
use crate::settings::Settings;

/// Clients without a conn that are remembered.
const CLIENTS: usize = 1 << 16;

/// What a service has taken, and what of one client.
type Owner = (ServiceKey, Option<IpAddr>);

#[derive(Clone, Copy, Default)]
struct Taken {
    /// When the bucket is full again, in microseconds.
    full: u64,
    /// Conns of a client.
    conns: u32,
}

/// All that is counted.
#[derive(Default)]
pub(super) struct Quotas {
    taken: HashMap<Owner, Taken>,
    /// Conns that count at their clients.
    counted: HashSet<ConnId>,
    with_conns: usize,
    /// Until then nobody is looked for that can be forgotten.
    crowded: Instant,
}

impl Quotas {
    fn of(&self, owner: &Owner) -> Taken {
        self.taken.get(owner).copied().unwrap_or_default()
    }

    /// The moment at which a bucket is full again after one more, if there is one in it now.
    fn after_one(full: u64, bounds: Bounds, now: u64) -> Option<u64> {
        let burst = if bounds.burst == 0 { bounds.new } else { bounds.burst };
        let each = 1_000_000_f64 / f64::from(bounds.new);
        let full = full.max(now);
        let is_left = (full - now) as f64 <= each * f64::from(burst - 1) + 0.5;
        is_left.then_some(full + each.round() as u64)
    }

    fn take(&mut self, owner: Owner, full: u64, now: Instant) {
        if self.taken.len() - self.with_conns >= CLIENTS && !self.taken.contains_key(&owner) {
            if now < self.crowded {
                return;
            }
            self.crowded = now + std::time::Duration::from_secs(1);
            self.taken.retain(|_, taken| taken.conns > 0 || taken.full > micros(now));
        }
        self.taken.entry(owner).or_default().full = full;
    }

    fn add_conn(&mut self, id: ConnId, owner: Owner) {
        self.counted.insert(id);
        let taken = self.taken.entry(owner).or_default();
        taken.conns += 1;
        self.with_conns += usize::from(taken.conns == 1);
    }

    fn remove_conn(&mut self, owner: &Owner) {
        let Some(taken) = self.taken.get_mut(owner) else { return };
        self.with_conns -= usize::from(taken.conns == 1);
        taken.conns = taken.conns.saturating_sub(1);
    }
}

impl Flows {
    /// Whether the service takes one more conn, and one of this client.
    pub fn check_quota(&mut self, service: ServiceId, tuple: &Tuple, now: Instant) -> Result<(), DropReason> {
        let Some(configured) = self.services.get(service).filter(|service| service.options.quota.is_some()) else {
            return Ok(());
        };
        let (key, quota) = (configured.key, configured.options.quota);
        let clients = (key, Some(client_net(tuple.src.addr, &self.settings)));
        let at_once = |dest: &DestId| {
            let server = self.services.server(*dest);
            server.active + server.inactive
        };
        if quota.all.conns != 0 && configured.dests.iter().map(at_once).sum::<u32>() >= quota.all.conns {
            return Err(DropReason::ServiceLimit);
        }
        if quota.client.conns != 0 && self.quotas.of(&clients).conns >= quota.client.conns {
            return Err(DropReason::ClientLimit);
        }
        let owners =
            [(clients, quota.client, DropReason::ClientLimit), ((key, None), quota.all, DropReason::ServiceLimit)];
        let mut full = [None; 2];
        for (full, (owner, bounds, reason)) in full.iter_mut().zip(&owners) {
            if bounds.new != 0 {
                let moment = Quotas::after_one(self.quotas.of(owner).full, *bounds, micros(now)).ok_or(*reason)?;
                *full = Some((*owner, moment));
            }
        }
        for (owner, moment) in full.into_iter().flatten() {
            self.quotas.take(owner, moment, now);
        }
        Ok(())
    }

    /// A conn was opened, or an earlier process has left it: where its service has a limit for each client, it counts until
    /// its end.
    pub(super) fn count_at_client(&mut self, id: ConnId, conn: &Conn) {
        let service = self.services.by_key(&self.services.dest(conn.dest).service);
        if service.is_some_and(Service::limits_conns_of_clients) {
            let owner = self.owner_of(conn);
            self.quotas.add_conn(id, owner);
        }
    }

    /// The end of a conn, which may be such a one.
    pub(super) fn forget_at_client(&mut self, id: ConnId, conn: &Conn) {
        if !self.quotas.counted.is_empty() && self.quotas.counted.remove(&id) {
            let owner = self.owner_of(conn);
            self.quotas.remove_conn(&owner);
        }
    }

    fn owner_of(&self, conn: &Conn) -> Owner {
        (self.services.dest(conn.dest).service, Some(client_net(conn.client().addr, &self.settings)))
    }
}

/// The net that counts as one client.
fn client_net(addr: IpAddr, settings: &Settings) -> IpAddr {
    match addr {
        IpAddr::V4(addr) => IpAddr::from((addr.to_bits() & u32::MAX << (32 - settings.client_net)).to_be_bytes()),
        IpAddr::V6(addr) => {
            IpAddr::from((addr.to_bits() & u128::MAX << (128 - settings.client_net_ipv6)).to_be_bytes())
        }
    }
}

fn micros(now: Instant) -> u64 {
    now.0 * 1000
}
