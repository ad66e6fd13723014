//! What a director has to say of its addresses, asked over one connection while that holds.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use super::routes::Facts;
use super::tell::Hop;
use crate::base::{self, Family, Prefix};
use crate::control::protocol::{HealthEntry, LinkEntry, Reply, Request, ServiceEntry, VirtualRouterEntry};
use crate::control::{Client, strange};
use crate::health::Verdict;
use crate::service::command::ServiceKey;

/// A director that works answers within this time, also one whose worker is being replaced.
const PATIENCE: Duration = Duration::from_secs(3);

/// After so many seconds a director that routers do not send to yet is not waited for any more.
const SETTLED: u64 = 30;

/// Asks a director, wherever it is.
pub(super) struct Asker {
    path: Option<PathBuf>,
    client: Option<Client>,
}

/// What it has said.
pub(super) struct Said {
    pub facts: Facts,
    links: Vec<LinkEntry>,
}

impl Said {
    /// Where packets of this family come to the director: its first address, or the TUN.
    pub(super) fn hop(&self, family: Family) -> Option<Hop> {
        self.links.iter().find_map(|link| {
            let own = link.addresses.iter().filter_map(|text| text.parse::<Prefix>().ok());
            let own = own.map(|own| own.addr).find(|addr| Family::of(*addr) == family)?;
            // Only a TUN has no MAC.
            let is_tun = link.mac.bytes().all(|byte| matches!(byte, b'0' | b':'));
            Some(if is_tun { Hop::Through(link.name.clone()) } else { Hop::At(own) })
        })
    }
}

impl Asker {
    pub(super) fn new(path: Option<PathBuf>) -> Asker {
        Asker { path, client: None }
    }

    /// Becomes readable when the director goes.
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.client.as_ref().map(Client::socket)
    }

    /// What it says; an error is a sentence. `is_announced`: routers send to it already.
    pub(super) fn ask(&mut self, is_announced: bool) -> Result<Said, String> {
        if let Some(mut client) = self.client.take()
            && let Ok(said) = ask(&mut client, is_announced)
        {
            self.client = Some(client);
            return Ok(said);
        }
        // A worker that has died is replaced, and the next one answers at the same place.
        let mut client = Client::find(self.path.as_deref())?;
        client.be_patient(PATIENCE).map_err(|error| error.to_string())?;
        // From now on this one and no other.
        self.path = Some(client.path().to_owned());
        let said = ask(&mut client, is_announced)?;
        self.client = Some(client);
        Ok(said)
    }
}

fn ask(client: &mut Client, is_announced: bool) -> Result<Said, String> {
    let Reply::Status(status) = client.ask(&Request::Status)? else { return Err(strange()) };
    let Reply::Settings(settings) = client.ask(&Request::Settings)? else { return Err(strange()) };
    let Reply::Vrrp(routers) = client.ask(&Request::Vrrp)? else { return Err(strange()) };
    let Reply::Sync(_, sync) = client.ask(&Request::Sync)? else { return Err(strange()) };
    let Reply::Marks(marks) = client.ask(&Request::Marks)? else { return Err(strange()) };
    let is_off = settings.iter().any(|(name, value)| name == "announce" && value == "0");
    let off = is_off.then(|| "the setting announce is off".to_owned());
    let stands_by = status.standby.map(|how| format!("stands by: {how}"));
    // One that begins has the conns before it has the packets.
    let is_new = !is_announced && status.uptime < SETTLED;
    let asks = (sync.asking && is_new).then(|| "is being told of conns".to_owned());
    let health = client.health()?;
    let facts = Facts {
        away: stands_by.or(off).or(asks),
        elsewhere: elsewhere(&routers),
        services: services(&client.services()?, &health, is_new),
        marks: marks.iter().map(|rule| rule.parse()).collect::<Result<_, String>>()?,
    };
    Ok(Said { facts, links: status.links })
}

fn elsewhere(routers: &[VirtualRouterEntry]) -> Vec<std::net::IpAddr> {
    let away = routers.iter().filter(|router| router.report.state != "active");
    away.flat_map(|router| router.report.addresses.iter().copied()).collect()
}

fn services(
    services: &[ServiceEntry],
    health: &[HealthEntry],
    is_new: bool,
) -> Vec<(ServiceKey, Option<&'static str>)> {
    let mut checked: Vec<&HealthEntry> = health.iter().collect();
    base::sort_by(&mut checked, |one, other| one.service.cmp(&other.service));
    let failing = |service: &ServiceEntry| {
        let key = service.key.to_string();
        let checked = checked.binary_search_by(|entry| entry.service.cmp(&key)).ok().map(|at| checked[at]);
        if checked.is_some_and(|entry| !entry.quorum) {
            return Some("has no quorum");
        }
        // Conns that it meets the middle of go to the servers that other directors see.
        let is_unknown = |entry: &HealthEntry| {
            let mut checked = entry.servers.iter().filter(|server| !server.probes.is_empty());
            checked.any(|server| server.verdict == Verdict::Unknown)
        };
        if is_new && checked.is_some_and(is_unknown) {
            return Some("has servers that no check has spoken of yet");
        }
        service.dests.iter().all(|dest| dest.weight == 0).then_some("has no server")
    };
    services.iter().map(|service| (service.key, failing(service))).collect()
}
