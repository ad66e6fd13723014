//! Services, destinations, daemons and timeouts as the attributes in which the kernel lists them.

use std::net::IpAddr;

use super::numbers::{CONN_TABLE, IPVS_VERSION};
use super::numbers::{daemon, dest, family, info, method, svc, top, tunnel};
use super::question::flags_of;
use crate::base::{Family, Proto, Tunnel, TunnelChecksum};
use crate::conn::Timeouts;
use crate::control::protocol::{DestEntry, FullNat, ServiceEntry};
use crate::service::command::{Method, ServiceKey, SyncOptions, SyncRole};
use crate::service::{Rates, Stats};
use crate::wire::netlink::Writer;

/// A service.
pub fn service(writer: &mut Writer, entry: &ServiceEntry) {
    writer.nest(top::SERVICE, |writer| {
        writer.put_half(svc::FAMILY, family_number(entry.key.family()));
        match entry.key {
            ServiceKey::Mark(_, mark) => writer.put_word(svc::FWMARK, mark),
            ServiceKey::Address(Proto(proto), vip) => {
                writer.put_half(svc::PROTOCOL, proto.into());
                writer.put(svc::ADDR, &address_bytes(vip.addr));
                writer.put_port(svc::PORT, vip.port);
            }
        }
        let options = &entry.options;
        writer.put_text(svc::SCHEDULER, &options.scheduler);
        if let Some(engine) = &options.engine {
            writer.put_text(svc::ENGINE, engine);
        }
        let flags = [flags_of(options).to_ne_bytes(), u32::MAX.to_ne_bytes()];
        writer.put(svc::FLAGS, flags.as_flattened());
        writer.put_word(svc::TIMEOUT, options.persistence.map_or(0, |persistence| persistence.timeout));
        let netmask = match entry.key.family() {
            Family::V4 => options.netmask.to_be_bytes(),
            Family::V6 => options.netmask.to_ne_bytes(),
        };
        writer.put(svc::NETMASK, &netmask);
        stats(writer, (svc::STATS, svc::STATS64), &entry.stats, &entry.rates);
    });
}

/// A destination.
pub fn dest(writer: &mut Writer, entry: &DestEntry, full_nat: FullNat) {
    let options = &entry.options;
    let (number, tunnel) = match options.method {
        Method::Nat => (method::NAT, None),
        Method::Direct => (method::DIRECT, None),
        Method::Tunnel(tunnel) => (method::TUNNEL, Some(tunnel)),
        Method::FullNat if full_nat == FullNat::Known => (method::FULL_NAT, None),
        Method::FullNat => (method::NAT, None),
        // No server has it.
        Method::Bypass => (method::DIRECT, None),
    };
    let (kind, port, flags) = tunnel_numbers(tunnel.unwrap_or_default());
    writer.nest(top::DEST, |writer| {
        writer.put(dest::ADDR, &address_bytes(entry.real.addr));
        writer.put_port(dest::PORT, entry.real.port);
        writer.put_word(dest::METHOD, number);
        writer.put_word(dest::WEIGHT, options.weight);
        writer.put_byte(dest::TUNNEL, kind);
        writer.put_port(dest::TUNNEL_PORT, port);
        writer.put_half(dest::TUNNEL_FLAGS, flags);
        writer.put_word(dest::UPPER, options.upper);
        writer.put_word(dest::LOWER, options.lower);
        writer.put_word(dest::ACTIVE, entry.active);
        writer.put_word(dest::INACTIVE, entry.inactive);
        writer.put_word(dest::PERSISTENT, entry.persistent);
        writer.put_half(dest::FAMILY, family_number(Family::of(entry.real.addr)));
        stats(writer, (dest::STATS, dest::STATS64), &entry.stats, &entry.rates);
    });
}

fn tunnel_numbers(tunnel: Tunnel) -> (u8, u16, u16) {
    let flags = |checksum| match checksum {
        TunnelChecksum::None => 0,
        TunnelChecksum::Full => tunnel::CHECKSUM,
        TunnelChecksum::Remote => tunnel::REMOTE_CHECKSUM,
    };
    match tunnel {
        Tunnel::Ipip => (tunnel::IPIP, 0, 0),
        Tunnel::Gue { port, checksum } => (tunnel::GUE, port, flags(checksum)),
        Tunnel::Gre { checksum } => (tunnel::GRE, 0, flags(checksum)),
    }
}

/// Counters and rates twice: numbers of 32 bits (bytes of 64) for old programs, and all of 64 bits.
fn stats(writer: &mut Writer, (narrow, wide): (u16, u16), stats: &Stats, rates: &Rates) {
    let counts = [stats.conns, stats.in_pkts, stats.out_pkts];
    let bytes = [stats.in_bytes, stats.out_bytes];
    let speeds = [rates.conns, rates.in_pkts, rates.out_pkts, rates.in_bytes, rates.out_bytes];
    let numbered = || (1..).zip(counts.into_iter().chain(bytes).chain(speeds));
    writer.nest(narrow, |writer| {
        for (kind, number) in numbered() {
            match kind {
                4 | 5 => writer.put(kind, &number.to_ne_bytes()),
                // Cut off, as the kernel does it.
                _ => writer.put_word(kind, number as u32),
            }
        }
    });
    writer.nest(wide, |writer| numbered().for_each(|(kind, number)| writer.put(kind, &number.to_ne_bytes())));
}

/// A synchronisation daemon.
pub fn sync_daemon(writer: &mut Writer, role: SyncRole, options: &SyncOptions) {
    writer.nest(top::DAEMON, |writer| {
        let state = match role {
            SyncRole::Master => daemon::MASTER,
            SyncRole::Backup => daemon::BACKUP,
        };
        writer.put_word(daemon::STATE, state);
        writer.put_text(daemon::INTERFACE, &options.interface);
        writer.put_word(daemon::SYNC_ID, options.syncid.into());
        writer.put_half(daemon::MAX_LENGTH, options.maxlen);
        match options.group {
            IpAddr::V4(group) => writer.put(daemon::GROUP, &group.octets()),
            IpAddr::V6(group) => writer.put(daemon::GROUP6, &group.octets()),
        }
        writer.put_half(daemon::PORT, options.port);
        writer.put_byte(daemon::TTL, options.ttl);
    });
}

/// Timeouts of conns.
pub fn timeouts(writer: &mut Writer, timeouts: &Timeouts) {
    writer.put_word(top::TIMEOUT_TCP, timeouts.tcp);
    writer.put_word(top::TIMEOUT_TCP_FIN, timeouts.tcp_fin);
    writer.put_word(top::TIMEOUT_UDP, timeouts.udp);
}

/// What there is to know of this IPVS.
pub fn information(writer: &mut Writer) {
    writer.put_word(info::VERSION, IPVS_VERSION);
    writer.put_word(info::CONN_TABLE, CONN_TABLE);
}

fn family_number(family: Family) -> u16 {
    match family {
        Family::V4 => family::V4,
        Family::V6 => family::V6,
    }
}

/// Sixteen bytes, of which an IPv4 address has the first four.
fn address_bytes(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(addr) => {
            let [a, b, c, d] = addr.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(addr) => addr.octets(),
    }
}
