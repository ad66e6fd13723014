//! Services and their servers.

use super::*;

#[test]
fn what_does_not_make_a_service_is_named_where_it_stands() {
    let known = "rr wrr lc wlc sed nq fo ovf dh sh mh lblc lblcr twos none";
    for (lines, wanted) in [
        ("scheduler = \"foo\"", format!("/t.toml:6:13: scheduler \"foo\": unknown scheduler 'foo'; known are {known}")),
        ("flags = [\"sh-port\"]", "/t.toml:6:10: flags \"sh-port\": 'sh-port' is not a flag of wlc".into()),
        ("persistent = 0", "/t.toml:6:14: persistent 0: not a time that persistence can have (1 to 2678400 seconds)".into()),
        ("pe = \"sip\"", "/t.toml:6:6: pe \"sip\": needs a persistent service; say for how many seconds".into()),
        ("netmask = \"x\"", "/t.toml:6:11: netmask \"x\": not a netmask, like \"255.255.255.0\"".into()),
        ("syn_proxy = \"maybe\"", "/t.toml:6:13: syn_proxy \"maybe\": 'maybe' is no way of a SYN proxy; use one of off, on, auto".into()),
        ("one_packet = true", "/t.toml:6:14: one_packet true: one-packet scheduling is only for UDP services".into()),
        ("family = \"ipv6\"", "/t.toml:6:10: family \"ipv6\": only a service by mark has a family; other services have their address's".into()),
        ("udp = \"10.0.0.100:80\"", "/t.toml:4:1: [[service]]: needs exactly one of tcp, udp, sctp (= \"ADDRESS:PORT\") and mark (= NUMBER)".into()),
        ("[[service]]\ntcp = \"10.0.0.101\"", "/t.toml:7:7: tcp \"10.0.0.101\": write ADDRESS:PORT, like 10.0.0.100:80".into()),
        ("[[service]]\ntcp = \"10.0.0.101:0\"", "/t.toml:7:7: service tcp \"10.0.0.101:0\": port 0 (any port) needs a persistent service; add --persistent (-p in rules, persistent in a file), or name a port".into()),
        ("[[service]]\ntcp = \"224.0.0.1:80\"", "/t.toml:7:7: service tcp \"224.0.0.1:80\": 224.0.0.1 is not an address that a service can have; use a unicast address".into()),
        ("[[service]]\ntcp = \"10.0.0.100:80\"", "/t.toml:7:7: service tcp \"10.0.0.100:80\": service tcp/10.0.0.100:80 is given twice; name it once".into()),
        ("local_address = [\"10.0.0.3\", \"10.0.0.3\"]", "/t.toml:6:30: local_address \"10.0.0.3\": local address 10.0.0.3 is given twice; name it once".into()),
    ] {
        assert_eq!(service(&format!("{lines}\n")), wanted);
    }
}

#[test]
fn what_does_not_make_a_server_is_named_where_it_stands() {
    let at = |address: &str, lines: &str| server(&format!("address = \"{address}\"\n{lines}\n"));
    for (address, lines, wanted) in [
        (
            "10.0.0.21:8080",
            "method = \"direct\"",
            "/t.toml:7:11: server \"10.0.0.21:8080\": direct cannot change the port (the service's is 80); leave it out, or use nat",
        ),
        (
            "10.0.0.2",
            "method = \"nat\"",
            "/t.toml:7:11: server \"10.0.0.2\": 10.0.0.2 is the director's own address; a real server needs another one",
        ),
        (
            "10.9.0.2",
            "method = \"nat\"",
            "/t.toml:7:11: server \"10.9.0.2\": real server 10.9.0.2 is outside every route; add a gateway, or an address in its net",
        ),
        (
            "web1",
            "method = \"nat\"",
            "/t.toml:7:11: address \"web1\": write ADDRESS or ADDRESS:PORT, like 10.0.0.21:8080",
        ),
        (
            "10.0.0.21",
            "",
            "/t.toml:6:1: [[service.server]]: no method; use one of nat, direct, tunnel, gre, gue, fullnat",
        ),
        (
            "10.0.0.21",
            "method = \"natt\"",
            "/t.toml:8:10: method \"natt\": use one of nat, direct, tunnel, gre, gue, fullnat",
        ),
        (
            "10.0.0.21",
            "method = \"nat\"\nweight = 2147483648",
            "/t.toml:9:10: weight 2147483648: must be a number from 0 to 2147483647",
        ),
        (
            "10.0.0.21",
            "method = \"nat\"\nupper = 3\nlower = 4",
            "/t.toml:10:9: lower 4: the lower threshold (4) is above the upper one (3); lower it",
        ),
        (
            "10.0.0.21",
            "method = \"nat\"\ntunnel_checksum = \"full\"",
            "/t.toml:9:19: tunnel_checksum \"full\": a checksum is for gre and gue tunnels; leave it out",
        ),
        (
            "10.0.0.21",
            "method = \"gre\"\ntunnel_checksum = \"remote\"",
            "/t.toml:9:19: tunnel_checksum \"remote\": the remote checksum is for gue only; use the full one",
        ),
        (
            "10.0.0.21",
            "method = \"tunnel\"\ntunnel_port = 6080",
            "/t.toml:9:15: tunnel_port 6080: a port is for gue tunnels only; leave it out",
        ),
        (
            "10.0.0.21",
            "method = \"nat\"\n[[service.server]]\naddress = \"10.0.0.21:80\"\nmethod = \"nat\"",
            "/t.toml:10:11: server \"10.0.0.21:80\": real server 10.0.0.21:80 is given twice; name it once",
        ),
        (
            "2001:db8::21",
            "method = \"nat\"",
            "/t.toml:7:11: server \"2001:db8::21\": real server 2001:db8::21 is outside every route; add a gateway, or an address in its net",
        ),
    ] {
        assert_eq!(at(address, lines), wanted);
    }
}
