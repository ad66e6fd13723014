//! What services, servers and their numbers can be, written once for flags, files, rules, the control socket and netlink.
//!
//! Looks at a command alone; what it meets in the director is for `apply` to refuse.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::command::{
    ClientAddress, Command, DestOptions, Method, Refused, ServiceKey, ServiceOptions, Tunnel, TunnelChecksum,
};
use crate::base::Proto;
use crate::sched::Flags;

/// Seconds of the longest persistence and of the longest timeout: 31 days, as in ipvsadm.
pub const LONGEST: u32 = 31 * 24 * 3600;
/// Seconds that persistence may last.
pub const PERSISTENCE: RangeInclusive<u32> = 1..=LONGEST;
/// Weights and thresholds: the kernel keeps them in an `int`.
pub const COUNT: RangeInclusive<u32> = 0..=i32::MAX as u32;

/// Refuses what no director can do, whoever asks for it.
pub fn check(command: &Command) -> Result<(), Refused> {
    match command {
        Command::AddService(key, options) | Command::EditService(key, options) => {
            check_key(*key)?;
            if options.flags.0 > Flags::ALL || options.quota.check().is_err() {
                return Err(Refused::Invalid);
            }
            let fits = options.persistence.is_none_or(|persistence| PERSISTENCE.contains(&persistence.timeout));
            if fits { Ok(()) } else { Err(Refused::NotATime) }
        }
        Command::AddDest(key, _, options) | Command::EditDest(key, _, options) => {
            check_key(*key)?;
            check_dest(*key, options)
        }
        Command::SetTimeouts { tcp, tcp_fin, udp } => {
            let fit = [tcp, tcp_fin, udp].iter().all(|seconds| **seconds <= LONGEST);
            if fit { Ok(()) } else { Err(Refused::NotATime) }
        }
        Command::StartDaemon(_, options) => {
            let fits = options.group.is_multicast() && options.port != 0 && options.ttl != 0;
            if fits { Ok(()) } else { Err(Refused::Invalid) }
        }
        Command::DeleteService(_)
        | Command::Clear
        | Command::DeleteDest(..)
        | Command::Zero(_)
        | Command::StopDaemon(_)
        | Command::AddLocalAddress(..)
        | Command::DeleteLocalAddress(..) => Ok(()),
    }
}

/// Refuses what a kernel would take and never serve, as ipvsadm does before it asks one.
pub fn check_use(key: ServiceKey, options: &ServiceOptions) -> Result<(), Refused> {
    match key {
        ServiceKey::Address(_, vip) if vip.port == 0 && options.persistence.is_none() => Err(Refused::ZeroPort),
        ServiceKey::Address(proto, _) if options.one_packet && proto != Proto::UDP => Err(Refused::OnePacketNotUdp),
        ServiceKey::Address(..) | ServiceKey::Mark(..) => Ok(()),
    }
}

/// True for an address that one host can have.
pub fn is_host(addr: IpAddr) -> bool {
    let broadcast = addr == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    !(addr.is_multicast() || addr.is_unspecified() || addr.is_loopback() || broadcast)
}

fn check_key(key: ServiceKey) -> Result<(), Refused> {
    let fits = match key {
        ServiceKey::Address(proto, _) => proto.has_ports(),
        ServiceKey::Mark(_, mark) => mark != 0,
    };
    if fits { Ok(()) } else { Err(Refused::Invalid) }
}

fn check_dest(key: ServiceKey, options: &DestOptions) -> Result<(), Refused> {
    let can_be_asked_for = match options.method {
        Method::Tunnel(Tunnel::Gue { port, .. }) => port != 0,
        Method::Tunnel(Tunnel::Gre { checksum }) => checksum != TunnelChecksum::Remote,
        Method::Tunnel(Tunnel::Ipip) | Method::Nat | Method::Direct | Method::FullNat => true,
        Method::Bypass => false,
    };
    if !can_be_asked_for {
        return Err(Refused::Invalid);
    }
    let is_of_udp = key.proto() == Proto::UDP && options.client_address == ClientAddress::ProxyV2;
    let has_way = is_of_udp || matches!(key.proto(), Proto::TCP | Proto::IP);
    let can_be_told = options.method == Method::FullNat && has_way;
    if options.client_address != ClientAddress::None && !can_be_told {
        return Err(Refused::ClientAddress);
    }
    let numbers = [options.weight, options.upper, options.lower];
    if numbers.iter().all(|number| COUNT.contains(number)) { Ok(()) } else { Err(Refused::NotACount) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(json: &str) -> Result<(), Refused> {
        check(&serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}")))
    }

    #[test]
    fn what_no_command_line_could_say_is_refused_by_the_director_too() {
        let dest = |method: &str, weight: u64| {
            format!(
                r#"{{"add_dest":[{{"mark":["v4",7]}},{{"addr":"10.0.0.1","port":80}},
                {{"method":{method},"weight":{weight},"upper":0,"lower":0}}]}}"#
            )
        };
        let service = |proto: u8, seconds: u64| {
            format!(
                r#"{{"add_service":[{{"address":[{proto},{{"addr":"10.0.0.1","port":80}}]}},{{"scheduler":"rr",
                "flags":0,"persistence":{{"timeout":{seconds}}},"engine":null,"netmask":32,"one_packet":false}}]}}"#
            )
        };
        let timeouts = |udp: u64| format!(r#"{{"set_timeouts":{{"tcp":0,"tcp_fin":0,"udp":{udp}}}}}"#);
        let gue = |port: u16| format!(r#"{{"tunnel":{{"gue":{{"port":{port},"checksum":"none"}}}}}}"#);
        for (json, wanted) in [
            (dest(r#""nat""#, 1), Ok(())),
            (dest(r#""nat""#, (1 << 31) - 1), Ok(())),
            (dest(&gue(6080), 0), Ok(())),
            (service(6, 2_678_400), Ok(())),
            (timeouts(300), Ok(())),
            (dest(r#""nat""#, 1 << 31), Err(Refused::NotACount)),
            (dest(&gue(0), 1), Err(Refused::Invalid)),
            (dest(r#""bypass""#, 1), Err(Refused::Invalid)),
            (dest(r#"{"tunnel":{"gre":{"checksum":"remote"}}}"#, 1), Err(Refused::Invalid)),
            (service(1, 360), Err(Refused::Invalid)),
            (service(6, 360).replace(r#""flags":0"#, r#""flags":8"#), Err(Refused::Invalid)),
            (service(6, 0), Err(Refused::NotATime)),
            (service(6, 2_678_401), Err(Refused::NotATime)),
            (timeouts(4_294_967_295), Err(Refused::NotATime)),
        ] {
            assert_eq!(checked(&json), wanted, "{json}");
        }
    }
}
