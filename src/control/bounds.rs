//! What a command that came over the socket may say: the bounds that the grammar of ipvsadm keeps by itself.
//!
//! Never asks the director anything.

use crate::service::command::{
    Command, DestOptions, Method, Refused, ServiceKey, ServiceOptions, Tunnel, TunnelChecksum,
};

/// Seconds of the longest timeout: 31 days.
const LONGEST: u32 = 31 * 24 * 3600;

/// Refuses values that no command line could have.
pub(super) fn check(command: &Command) -> Result<(), Refused> {
    let possible = match command {
        Command::AddService(key, options) | Command::EditService(key, options) => {
            is_key(*key) && are_service_options(options)
        }
        Command::AddDest(key, _, options) | Command::EditDest(key, _, options) => {
            is_key(*key) && are_dest_options(options)
        }
        Command::SetTimeouts { tcp, tcp_fin, udp } => [tcp, tcp_fin, udp].iter().all(|seconds| **seconds <= LONGEST),
        Command::StartDaemon(_, options) => options.group.is_multicast() && options.port != 0 && options.ttl != 0,
        Command::DeleteService(_)
        | Command::Clear
        | Command::DeleteDest(..)
        | Command::Zero(_)
        | Command::StopDaemon(_)
        | Command::AddLocalAddress(..)
        | Command::DeleteLocalAddress(..) => true,
    };
    if possible { Ok(()) } else { Err(Refused::Invalid) }
}

fn is_key(key: ServiceKey) -> bool {
    match key {
        ServiceKey::Address(proto, _) => proto.has_ports(),
        ServiceKey::Mark(_, mark) => mark != 0,
    }
}

fn are_service_options(options: &ServiceOptions) -> bool {
    let persistence = options.persistence.is_none_or(|persistence| (1..=LONGEST).contains(&persistence.timeout));
    persistence && options.flags.0 <= 7
}

fn are_dest_options(options: &DestOptions) -> bool {
    let tunnel = match options.method {
        Method::Tunnel(Tunnel::Gue { port, .. }) => port != 0,
        Method::Tunnel(Tunnel::Gre { checksum }) => checksum != TunnelChecksum::Remote,
        Method::Tunnel(Tunnel::Ipip) | Method::Nat | Method::Direct | Method::FullNat => true,
    };
    tunnel && [options.weight, options.upper, options.lower].iter().all(|number| *number <= i32::MAX as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::Request;

    fn checked(json: &str) -> Result<(), Refused> {
        let Ok(Request::Apply(command)) = serde_json::from_str(json) else { panic!("not a command: {json}") };
        check(&command)
    }

    #[test]
    fn what_no_command_line_could_say_is_refused() {
        let dest = |method: &str, weight: u64| {
            format!(
                r#"{{"apply":{{"add_dest":[{{"mark":["v4",7]}},{{"addr":"10.0.0.1","port":80}},
                {{"method":{method},"weight":{weight},"upper":0,"lower":0}}]}}}}"#
            )
        };
        let service = |proto: u8, seconds: u64| {
            format!(
                r#"{{"apply":{{"add_service":[{{"address":[{proto},{{"addr":"10.0.0.1","port":80}}]}},{{"scheduler":"rr",
                "flags":0,"persistence":{{"timeout":{seconds}}},"engine":null,"netmask":32,"one_packet":false}}]}}}}"#
            )
        };
        let timeouts = |udp: u64| format!(r#"{{"apply":{{"set_timeouts":{{"tcp":0,"tcp_fin":0,"udp":{udp}}}}}}}"#);
        let gue = |port: u16| format!(r#"{{"tunnel":{{"gue":{{"port":{port},"checksum":"none"}}}}}}"#);
        for good in [dest(r#""nat""#, 1), dest(&gue(6080), 0), service(6, 360), timeouts(300)] {
            assert_eq!(checked(&good), Ok(()), "{good}");
        }
        for bad in [
            dest(r#""nat""#, 1 << 31),
            dest(&gue(0), 1),
            dest(r#"{"tunnel":{"gre":{"checksum":"remote"}}}"#, 1),
            service(1, 360),
            service(6, 0),
            service(6, 2_678_401),
            timeouts(4_294_967_295),
        ] {
            assert_eq!(checked(&bad), Err(Refused::Invalid), "{bad}");
        }
    }
}
