//! What a director answers to a request.
//!
//! Bounded work a request, whatever its size: long lists come in pages.

use super::protocol::{
    ConnEntry, DestEntry, FastEntry, LinkEntry, NeighbourEntry, PortsEntry, Reply, Request, ServiceEntry, Status,
    VirtualRouterEntry, WorkerEntry,
};
use crate::base::{self, ConnId, DestId, Instant, Ledger, LinkId, version};
use crate::conn::Conn;
use crate::director::Director;
use crate::fastpath::abi::Passed;
use crate::forward::local_ports::Key;
use crate::service::command::{Refused, SharedKey, SyncOptions, SyncRole};
use crate::service::{MarkRule, Service};
use crate::settings::{self, Effect};
use crate::vrrp::Report;

/// A page ends with the service that brings it to so many dests and services.
const SERVICES_A_PAGE: usize = 256;
const CONNS_A_PAGE: usize = 256;
/// So many pools of local ports are shown.
const POOLS_SHOWN: usize = 16;
/// Places of the flow table looked at for a page of conns.
const PLACES_A_PAGE: usize = 16_384;

/// Carries a request out. Checks and the configuration are not the director's: `Health` and its kind and `Reload` are
/// answered by the daemon.
pub fn answer(director: &mut Director, ledger: &Ledger, request: &Request, now: Instant) -> Reply {
    director.flows.services.read_meters(now);
    match request {
        Request::Apply(command) => match director.apply(command, now) {
            Ok(()) => Reply::Done,
            Err(refused) => Reply::Refused(refused),
        },
        Request::ApplyAll(commands) => {
            let done = commands.iter().zip(0..).map(|(command, number)| (number, director.apply(command, now)));
            Reply::Applied(done.filter_map(|(number, done)| Some((number, done.err()?))).collect())
        }
        Request::Service(key) => match director.flows.services.by_key(key) {
            Some(service) => Reply::Services { services: vec![service_entry(director, service)], next: None },
            None => Reply::Refused(Refused::NoSuchService),
        },
        Request::Services(from) => services(director, *from),
        Request::Conns(from) => conns(director, *from, now),
        Request::Timeouts => Reply::Timeouts(director.flows.timeouts),
        Request::Daemons => Reply::Daemons(daemons(director)),
        Request::Sync => Reply::Sync(daemons(director), director.sync.report(now)),
        Request::Status => Reply::Status(Box::new(status(director, ledger, now))),
        Request::Settings => {
            Reply::Settings(settings::ROWS.iter().filter_map(|row| value(director, row.name)).collect())
        }
        Request::Set(name, value) => set(director, name, value).map_or_else(Reply::Error, Reply::Set),
        Request::Marks => Reply::Marks(director.flows.services.marks().texts()),
        Request::AddMark(rule) => change_marks(director, rule, now, |rules, rule| {
            rules.push(rule);
            true
        }),
        Request::DeleteMark(rule) => change_marks(director, rule, now, |rules, rule| {
            let place = rules.iter().position(|other| *other == rule);
            place.map(|place| rules.remove(place)).is_some()
        }),
        Request::Standby(on) => {
            director.presence().stand_by(*on, now);
            Reply::Done
        }
        Request::Vrrp => Reply::Vrrp(virtual_routers(director, now)),
        Request::FailOver => match director.vrrp.give_up() {
            0 => Reply::Error("no virtual router is active here; there is nothing to give up".into()),
            _ => Reply::Done,
        },
        Request::Health(_) | Request::CheckNow | Request::Steer(..) => {
            Reply::Error("nobody here checks servers".into())
        }
        Request::Listed(..) => Reply::Error("nobody here speaks netlink".into()),
        Request::Reload => Reply::Error("nobody here can read the configuration again".into()),
        Request::Upgrade => Reply::Error("nobody here can start another program".into()),
    }
}

fn daemons(director: &Director) -> Vec<(SyncRole, SyncOptions)> {
    let shown = |options: &SyncOptions| SyncOptions {
        key: options.key.as_ref().map(|_| SharedKey::hidden()),
        ..options.clone()
    };
    director.sync.daemons().map(|(role, options)| (role, shown(options))).collect()
}

fn virtual_routers(director: &Director, now: Instant) -> Vec<VirtualRouterEntry> {
    let told = |report: Report| {
        let link = director.router.link(LinkId(report.link)).name.clone();
        VirtualRouterEntry { link, for_s: now.since(report.since).as_secs(), report }
    };
    director.vrrp.reports().map(told).collect()
}

fn value(director: &Director, name: &str) -> Option<(String, String)> {
    Some((name.to_owned(), director.flows.settings.get(name)?))
}

/// Changes a setting, and tells if it has no effect; an error is a sentence.
fn set(director: &mut Director, name: &str, value: &str) -> Result<Vec<String>, String> {
    let row = settings::ROWS.iter().find(|row| row.name == name);
    if row.is_some_and(|row| row.effect == Effect::AtStart) {
        return Err(format!(
            "{name}: cannot change while tapvs runs; write it into its configuration, and start it again"
        ));
    }
    let mut wanted = director.flows.settings.clone();
    wanted.set(name, value)?;
    wanted.check()?;
    let in_vain = wanted.without_effect(&director.flows.settings);
    director.set(name, value).map(|()| in_vain)
}

/// Changes the mark rules by one, if there is such a one to change.
fn change_marks(
    director: &mut Director,
    rule: &str,
    now: Instant,
    change: impl FnOnce(&mut Vec<MarkRule>, MarkRule) -> bool,
) -> Reply {
    let rule: MarkRule = match rule.parse() {
        Ok(rule) => rule,
        Err(sentence) => return Reply::Error(sentence),
    };
    let (mut rules, text) = (director.flows.services.marks().rules().to_vec(), rule.to_string());
    if !change(&mut rules, rule) {
        return Reply::Error(format!("there is no mark rule {text}; 'tapvs mark list' shows those there are"));
    }
    director.set_marks(rules.into_iter().collect(), now);
    Reply::Done
}

fn services(director: &Director, from: u32) -> Reply {
    let mut services = Vec::new();
    let mut size = 0;
    for (place, service) in director.flows.services.slots_from(from) {
        if size >= SERVICES_A_PAGE {
            return Reply::Services { services, next: Some(place) };
        }
        size += 1 + service.dests.len();
        services.push(service_entry(director, service));
    }
    Reply::Services { services, next: None }
}

fn service_entry(director: &Director, service: &Service) -> ServiceEntry {
    ServiceEntry {
        key: service.key,
        options: service.options.clone(),
        locals: service.locals.clone(),
        stats: service.stats,
        rates: director.flows.services.rates(&service.meter),
        dests: service.dests.iter().map(|id| dest_entry(director, *id)).collect(),
    }
}

fn dest_entry(director: &Director, id: DestId) -> DestEntry {
    let (server, dest) = (director.flows.services.server(id), director.flows.services.dest(id));
    DestEntry {
        real: server.endpoint,
        options: director.flows.services.dest_options(id),
        weight: server.present_weight(),
        active: server.active,
        inactive: server.inactive,
        persistent: dest.persistent,
        stats: dest.stats,
        rates: director.flows.services.rates(&dest.meter),
    }
}

fn conns(director: &Director, from: u32, now: Instant) -> Reply {
    // A template that is found by its call, or that binds nobody any more, is listed all the same.
    let listed = |conn: &Conn| conn.is_template() || !conn.is_hidden();
    let mut conns = Vec::new();
    let (mut place, until) = (from as usize, from as usize + PLACES_A_PAGE);
    while place < until && conns.len() < CONNS_A_PAGE {
        let (found, next) = director.flows.conns.scan(place, until - place, listed);
        conns.extend(found.map(|id| conn_entry(director, id, now)));
        match next {
            Some(next) => place = next,
            None => return Reply::Conns { conns, next: None },
        }
    }
    Reply::Conns { conns, next: Some(place as u32) }
}

fn conn_entry(director: &Director, id: ConnId, now: Instant) -> ConnEntry {
    let conn = director.flows.conns.get(id);
    let engine = director.flows.calls.engine_data(id).filter(|_| conn.is_template());
    ConnEntry {
        proto: conn.proto(),
        state: director.flows.state_name(conn).to_owned(),
        expires: director.flows.conns.deadline(conn).since(now).as_secs(),
        client: conn.client(),
        virt: conn.virt(),
        local: director.flows.conns.local(conn),
        real: director.flows.conns.real(conn),
        toa_missing: director.toa.is_missing(id),
        engine: engine.map(|(name, data)| (name.to_owned(), printable(data))),
    }
}

/// Bytes that clients chose, for a terminal: only printable ASCII stands for itself, so that no Call-ID moves a cursor.
fn printable(bytes: &[u8]) -> String {
    let text = |byte: &u8| match byte {
        b'\\' => "\\\\".to_owned(),
        b' '..=b'~' => char::from(*byte).to_string(),
        other => format!("\\x{other:02x}"),
    };
    bytes.iter().map(text).collect()
}

fn status(director: &Director, ledger: &Ledger, now: Instant) -> Status {
    let router = &director.router;
    let links = router.links().map(|(_, link)| LinkEntry {
        name: link.name.clone(),
        mac: link.mac.to_string(),
        mtu: link.mtu,
        addresses: link.addresses.iter().map(ToString::to_string).collect(),
    });
    let mut neighbours: Vec<NeighbourEntry> = router
        .neighbours
        .iter()
        .map(|(link, addr, mac)| NeighbourEntry {
            link: router.link(link).name.clone(),
            addr,
            mac: mac.map(|mac| mac.to_string()),
        })
        .collect();
    base::sort_by(&mut neighbours, |a: &NeighbourEntry, b| (&a.link, a.addr).cmp(&(&b.link, b.addr)));
    Status {
        version: version().into(),
        uptime: now.secs(),
        services: director.flows.services.len(),
        conns: director.flows.conns.len(),
        max_flows: director.flows.settings.max_flows,
        standby: director.standby.in_words().map(str::to_owned),
        vrrp: virtual_routers(director, now),
        worker: WorkerEntry::default(),
        toa_missing: director.toa.missing(),
        local_ports: director.flows.ports.scarcest(POOLS_SHOWN).into_iter().map(ports).collect(),
        evicted: director.flows.evicted().map(|(worth, count)| (worth.name().into(), count)).collect(),
        total: director.flows.services.total,
        rates: director.flows.services.rates(&director.flows.services.total_meter),
        links: links.collect(),
        neighbours,
        ledger: ledger.entries(),
        fast: fast(director),
    }
}

fn ports(((local, proto, server), left, last_s): (Key, usize, Option<u64>)) -> PortsEntry {
    PortsEntry { local, proto, server, left, last_s }
}

fn fast(director: &Director) -> Option<FastEntry> {
    let fast = &director.fast;
    let words = fast.words()?;
    let passed = Passed::ALL.into_iter().zip(fast.totals().unwrap_or_default());
    Some(FastEntry {
        by: words.to_owned(),
        conns: fast.len(),
        added: fast.report.added,
        frames: fast.report.frames,
        answered: fast.report.answered,
        refused: fast.report.refused.iter().map(|(why, count)| ((*why).to_owned(), *count)).collect(),
        passed: passed.filter(|(_, count)| *count > 0).map(|(why, count)| (why.name().to_owned(), count)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_cannot_speak_to_a_terminal() {
        assert_eq!(printable(b"7f\"x'@b.example"), "7f\"x'@b.example");
        assert_eq!(printable(b"\x1b[2J\x07\\\x9b\xc3\xa9\n"), r"\x1b[2J\x07\\\x9b\xc3\xa9\x0a");
    }
}
