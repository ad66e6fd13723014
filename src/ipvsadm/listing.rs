//! Listings as ipvsadm prints them, column by column.
//!
//! Pure: entries in, text out. What is longer than its column moves the rest to the right, as there.

use std::fmt::Write;

use super::names::Names;
use super::options::Opt;
use super::save::{Extent, dest_line, local_line, netmask_text, service_line, thresholds_text};
use crate::base::Family;
use crate::conn::Timeouts;
use crate::control::protocol::{ConnEntry, DestEntry, ServiceEntry};
use crate::sched::{self, Flags};
use crate::service::command::{ClientAddress, DestOptions, ServiceKey, SyncOptions, SyncRole};

/// Which columns a listing of services has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Weight and conns.
    Plain,
    /// `--stats`
    Stats,
    /// `--rate`
    Rate,
    /// `--thresholds`
    Thresholds,
    /// `--persistent-conn`
    Persistent,
    /// `--tun-info`
    Tunnels,
}

impl Format {
    /// Of several that are asked for, ipvsadm takes the first in this order.
    pub fn of(options: &[Opt]) -> Format {
        let choices = [
            (Opt::Stats, Format::Stats),
            (Opt::Rate, Format::Rate),
            (Opt::Thresholds, Format::Thresholds),
            (Opt::PersistentConn, Format::Persistent),
            (Opt::TunnelInfo, Format::Tunnels),
        ];
        choices.into_iter().find(|(opt, _)| options.contains(opt)).map_or(Format::Plain, |(_, format)| format)
    }

    fn titles(self) -> &'static str {
        match self {
            Format::Plain => {
                "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
            }
            Format::Stats => {
                "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port\n"
            }
            Format::Rate => {
                "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  -> RemoteAddress:Port\n"
            }
            Format::Thresholds => {
                "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  -> RemoteAddress:Port\n"
            }
            Format::Persistent => {
                "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  -> RemoteAddress:Port\n"
            }
            Format::Tunnels => {
                "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"
            }
        }
    }
}

/// The first line of `-L`; a kernel tells the size of its hash table, this is its default.
pub const VERSION_LINE: &str = "IP Virtual Server version 1.2.1 (size=4096)\n";

/// Title lines, services and their dests.
pub fn services_text(services: &[ServiceEntry], options: &[Opt], names: &Names) -> String {
    let (format, exact) = (Format::of(options), options.contains(&Opt::Exact));
    let mut text = format.titles().to_owned();
    for service in services {
        text += &service_row(service, format, exact, names);
        for dest in &service.dests {
            text += &dest_row(service.key, dest, format, exact, names);
        }
    }
    text
}

fn service_row(service: &ServiceEntry, format: Format, exact: bool, names: &Names) -> String {
    let mut label = match service.key {
        // As ipvsadm, which takes marks for signed when it lists them.
        ServiceKey::Mark(Family::V4, mark) => format!("FWM  {}", mark.cast_signed()),
        ServiceKey::Mark(Family::V6, mark) => format!("FWM  {} IPv6", mark.cast_signed()),
        ServiceKey::Address(proto, vip) => format!("{:<4} {}", proto.to_string(), names.endpoint(vip, proto)),
    };
    if matches!(service.key, ServiceKey::Address(_, vip) if vip.addr.is_ipv4()) {
        cut(&mut label, 33);
    }
    match format {
        Format::Stats => {
            let stats = &service.stats;
            let figures = [stats.conns, stats.in_pkts, stats.out_pkts, stats.in_bytes, stats.out_bytes];
            format!("{label:<33}{}\n", figures.map(|figure| large(figure, exact)).concat())
        }
        Format::Rate => {
            let rates = &service.rates;
            let figures = [rates.conns, rates.in_pkts, rates.out_pkts, rates.in_bytes, rates.out_bytes];
            format!("{label:<33}{}\n", figures.map(|figure| large(figure, exact)).concat())
        }
        Format::Plain | Format::Thresholds | Format::Persistent | Format::Tunnels => {
            format!("{label} {}\n", scheduling(service))
        }
    }
}

/// Scheduler, flags, persistence.
fn scheduling(service: &ServiceEntry) -> String {
    let options = &service.options;
    let mut text = options.scheduler.clone();
    if options.flags != Flags(0) {
        let _ = write!(text, " ({})", sched::flags_text(&options.scheduler, options.flags));
    }
    if let Some(persistence) = &options.persistence {
        let _ = write!(text, " persistent {}", persistence.timeout);
        text += &netmask_text(service.key, options.netmask).map_or(String::new(), |mask| format!(" mask {mask}"));
        text += &options.engine.as_ref().map_or(String::new(), |engine| format!(" pe {engine}"));
    }
    if options.one_packet {
        text += " ops";
    }
    text
}

fn dest_row(key: ServiceKey, dest: &DestEntry, format: Format, exact: bool, names: &Names) -> String {
    let mut name = names.endpoint(dest.real, key.proto());
    if dest.real.addr.is_ipv4() {
        cut(&mut name, 28);
    }
    let (options, conns) = (&dest.options, format!("{:<10} {:<10}", dest.active, dest.inactive));
    let rest = match format {
        Format::Stats => {
            let stats = &dest.stats;
            let figures = [stats.conns, stats.in_pkts, stats.out_pkts, stats.in_bytes, stats.out_bytes];
            return format!("  -> {name:<28}{}\n", figures.map(|figure| large(figure, exact)).concat());
        }
        Format::Rate => {
            let rates = &dest.rates;
            let counts = format!(" {:>8} {:>8} {:>8}", rates.conns, rates.in_pkts, rates.out_pkts);
            let bytes = [rates.in_bytes, rates.out_bytes].map(|figure| large(figure, exact)).concat();
            return format!("  -> {name:<28}{counts}{bytes}\n");
        }
        Format::Thresholds => format!("{:<10} {:<10} {conns}", options.upper, options.lower),
        Format::Persistent => format!("{:<9} {:<11} {conns}", dest.weight, dest.persistent),
        Format::Tunnels => {
            let tunnel = extra_text(options);
            format!("{:<7} {tunnel:<13} {:<6} {conns}", options.method.words().listed, dest.weight)
        }
        Format::Plain => format!("{:<7} {:<6} {conns}", options.method.words().listed, dest.weight),
    };
    format!("  -> {name:<28} {rest}\n")
}

/// `gue:6080:-c`, or how a server behind FULL-NAT learns who its clients are.
fn extra_text(options: &DestOptions) -> String {
    let method = options.method;
    let Some(kind) = method.words().tunnel else {
        let told = options.client_address;
        return if told == ClientAddress::None { "n/a".into() } else { told.name().into() };
    };
    let (port, checksum) = method.tunnel_options();
    let port = port.map(|port| port.to_string());
    let parts = [Some(kind.to_owned()), port, checksum.map(|words| words.listed.to_owned())];
    parts.into_iter().flatten().collect::<Vec<_>>().join(":")
}

/// A column of nine; what is too large is divided, not rounded.
fn large(number: u64, exact: bool) -> String {
    if number < 100_000_000 {
        return format!("{number:>9}");
    }
    if exact {
        return format!(" {number}");
    }
    let (divisor, unit) = match number {
        ..1_000_000_000 => (1_000, 'K'),
        1_000_000_000..100_000_000_000 => (1_000_000, 'M'),
        100_000_000_000..100_000_000_000_000 => (1_000_000_000, 'G'),
        _ => (1_000_000_000_000, 'T'),
    };
    format!("{:>8}{unit}", number / divisor)
}

fn cut(text: &mut String, length: usize) {
    if let Some((at, _)) = text.char_indices().nth(length) {
        text.truncate(at);
    }
}

/// Rules that make these services again.
pub fn saved_text(services: &[ServiceEntry], extent: Extent, names: &Names) -> String {
    let mut text = String::new();
    for service in services {
        text += &(service_line(service.key, &service.options, names) + "\n");
        for local in &service.locals {
            text += &(local_line(service.key, *local, names) + "\n");
        }
        for dest in &service.dests {
            text += &dest_line(service.key, dest.real, &dest.options, names);
            if extent == Extent::Whole {
                text += &thresholds_text(&dest.options);
            }
            text.push('\n');
        }
    }
    text
}

/// Conns as `-L -c` shows them; `options` may ask for the data of persistence engines.
pub fn conns_text(conns: &[ConnEntry], options: &[Opt], names: &Names) -> String {
    let with_engines = options.contains(&Opt::PersistentConn);
    conns.iter().map(|conn| conn_row(conn, with_engines, names)).collect()
}

/// The title lines of `-L -c`.
pub fn conns_titles(options: &[Opt]) -> &'static str {
    if options.contains(&Opt::PersistentConn) {
        return "IPVS connection entries\npro expire state       source             virtual            destination        pe name          pe_data\n";
    }
    "IPVS connection entries\npro expire state       source             virtual            destination\n"
}

fn conn_row(conn: &ConnEntry, with_engines: bool, names: &Names) -> String {
    let expires = format!("{:02}:{:02}", conn.expires / 60, conn.expires % 60);
    let [client, virt, real] = [conn.client, conn.virt, conn.real].map(|end| names.endpoint(end, conn.proto));
    let row = format!("{:<3} {expires:<6} {:<11} {client:<18} {virt:<18} ", conn.proto.to_string(), conn.state);
    match &conn.engine {
        Some((name, data)) if with_engines => format!("{row}{real:<16} {name:<18} {data}\n"),
        Some(_) | None if conn.toa_missing => format!("{row}{real:<18} no-toa\n"),
        Some(_) | None => format!("{row}{real}\n"),
    }
}

/// `-L --timeout`
pub fn timeouts_text(timeouts: &Timeouts) -> String {
    format!("Timeout (tcp tcpfin udp): {} {} {}\n", timeouts.tcp, timeouts.tcp_fin, timeouts.udp)
}

/// `-L --daemon`
pub fn daemons_text(daemons: &[(SyncRole, SyncOptions)]) -> String {
    let line = |(role, options): &(SyncRole, SyncOptions)| {
        let SyncOptions { interface, syncid, maxlen, group, port, ttl, .. } = options;
        format!(
            "{} sync daemon (mcast={interface}, syncid={syncid}, maxlen={maxlen}, group={group}, port={port}, ttl={ttl})\n",
            role.name()
        )
    };
    daemons.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_divided() {
        for (number, shown, exact) in [
            (0, "        0", "        0"),
            (99_999_999, " 99999999", " 99999999"),
            (100_000_000, "  100000K", " 100000000"),
            (999_999_999, "  999999K", " 999999999"),
            (8_334_999_999, "    8334M", " 8334999999"),
            (99_999_999_999_999, "   99999G", " 99999999999999"),
            (100_000_000_000_000, "     100T", " 100000000000000"),
        ] {
            assert_eq!((large(number, false).as_str(), large(number, true).as_str()), (shown, exact), "{number}");
        }
    }
}
