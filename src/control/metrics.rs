//! What a director counts, in the text format of Prometheus (version 0.0.4), a page at a time.
//!
//! Bounded work a page: a scrape of many servers takes many turns of the loop.

use std::fmt::Write;

use super::families::{FAMILIES, FamilyOf, Of};
use super::told::{self, Shown};

/// One scrape, as far as it has come.
#[derive(Debug, Default)]
pub struct Scrape {
    family: usize,
    /// The service to go on with; 0 at the beginning of a family.
    place: u32,
}

impl Scrape {
    /// The next page; `None` after the last.
    pub fn page(&mut self, shown: &Shown) -> Option<String> {
        let Shown { director, monitor, now, .. } = *shown;
        let services = &director.flows.services;
        let family = FAMILIES.get(self.family)?;
        let mut out = String::new();
        if self.place == 0 {
            let FamilyOf { name, kind, help, .. } = family;
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
        let next = match &family.of {
            Of::Total(value) => {
                let _ = writeln!(out, "{} {}", family.name, value(shown));
                None
            }
            Of::Director(tell) => {
                tell(shown, &mut out);
                None
            }
            Of::Dests(value) => told::dests(services, self.place, |_, service, dest| {
                let labels = told::backend(service, dest, services);
                let _ = writeln!(out, "{}{{{labels}}} {}", family.name, value(services.server(dest)));
            }),
            Of::Ports(value) => told::dests(services, self.place, |place, service, dest| {
                told::ports_left(director, (place, service, dest), (family.name, *value), &mut out);
            }),
            Of::Services(value) => told::reports(monitor, self.place, now, |report| {
                let _ = writeln!(out, "{}{{service=\"{}\"}} {}", family.name, report.key, value(report));
            }),
            Of::Servers(tell) => told::reports(monitor, self.place, now, |report| {
                let service = report.key.to_string();
                report.servers.iter().for_each(|server| tell(&service, server, &mut out));
            }),
        };
        match next {
            Some(place) => self.place = place,
            None => (self.family, self.place) = (self.family + 1, 0),
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::IpAddr;

    use super::*;
    use crate::base::{Chance, Endpoint, Family, Instant, Ledger, Method, Proto};
    use crate::control::protocol::WorkerEntry;
    use crate::director::Director;
    use crate::health::Monitor;
    use crate::service::command::{Command, DestOptions, ServiceKey, ServiceOptions};
    use crate::settings::Settings;

    /// A whole scrape.
    fn pages_of(director: &Director, worker: &WorkerEntry) -> Vec<String> {
        let (monitor, ledger, mut scrape) = (Monitor::new(1), Ledger::default(), Scrape::default());
        let shown = Shown { director, ledger: &ledger, monitor: &monitor, worker, now: Instant::START };
        let pages: Vec<String> = std::iter::from_fn(|| scrape.page(&shown)).collect();
        pages.iter().for_each(|page| assert!(page.len() < 100_000, "{} bytes in one page", page.len()));
        pages
    }

    #[test]
    fn every_family_is_told_once_and_every_dest_in_its_pages() {
        let mut director = Director::new(Settings { max_flows: 1, ..Settings::default() }, Chance::KNOWN);
        for port in 1..=300u16 {
            let key = ServiceKey::Address(Proto::TCP, Endpoint::new(IpAddr::from([10, 0, 0, 100]), port));
            let add = Command::AddService(key, ServiceOptions::defaults(Family::V4));
            let dest = |last| {
                Command::AddDest(key, Endpoint::new(IpAddr::from([10, 0, 0, last]), port), DestOptions::default())
            };
            for command in [add, dest(21), dest(22)] {
                director.apply(&command, Instant::START).unwrap();
            }
        }
        let pages = pages_of(&director, &WorkerEntry::default());
        let text = pages.concat();
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        assert_eq!(heads.len(), FAMILIES.len());
        assert_eq!(heads.iter().collect::<HashSet<_>>().len(), FAMILIES.len());
        let weights: HashSet<&str> =
            text.lines().filter(|line| line.starts_with("node_ipvs_backend_weight{")).collect();
        assert_eq!(weights.len(), 600);
        let line = "node_ipvs_backend_weight{local_address=\"10.0.0.100\",local_port=\"7\",remote_address=\"10.0.0.21\",\
                    remote_port=\"7\",proto=\"TCP\",local_mark=\"\"} 1";
        assert!(weights.contains(line));
    }

    #[test]
    fn ports_left_and_restarts_are_told_of_each() {
        let mut director = Director::new(Settings { max_flows: 1, ..Settings::default() }, Chance::KNOWN);
        let key = ServiceKey::Address(Proto::TCP, Endpoint::new(IpAddr::from([10, 0, 0, 100]), 80));
        let (local, other) = (IpAddr::from([10, 0, 0, 31]), IpAddr::from([10, 0, 0, 32]));
        let real = |last| Endpoint::new(IpAddr::from([10, 0, 0, last]), 80);
        let fullnat = DestOptions { method: Method::FullNat, ..DestOptions::default() };
        for command in [
            Command::AddService(key, ServiceOptions::defaults(Family::V4)),
            Command::AddLocalAddress(key, local),
            Command::AddLocalAddress(key, other),
            Command::AddDest(key, real(21), fullnat),
            Command::AddDest(key, real(22), DestOptions::default()),
        ] {
            director.apply(&command, Instant::START).unwrap();
        }
        for _ in 0..3 {
            director.flows.ports.take(other, Proto::TCP, real(21));
        }
        let reason = Some("killed by SIGKILL".to_owned());
        let worker = WorkerEntry { restarts: 3, reason, upgrades: 1, ..WorkerEntry::default() };
        let text = pages_of(&director, &worker).concat();
        let lines = |name: &str| text.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
        let left = |local, count| {
            format!(
                "tapvs_local_ports_left{{service=\"tcp/10.0.0.100:80\",server=\"10.0.0.21:80\",local=\"{local}\",proto=\"TCP\"}} {count}"
            )
        };
        assert_eq!(lines("tapvs_local_ports_left{"), [left(local, 60_536), left(other, 60_533)]);
        let last = left(other, 60_533 / 3).replace("_left", "_last_seconds");
        assert_eq!(lines("tapvs_local_ports_last_seconds{"), [last], "three in the first second");
        assert_eq!(
            [lines("tapvs_worker_restart"), lines("tapvs_upgrades")].concat(),
            [
                "tapvs_worker_restarts_total 3",
                "tapvs_worker_restart_info{reason=\"killed by SIGKILL\"} 1",
                "tapvs_upgrades_total 1"
            ]
        );
    }
}
